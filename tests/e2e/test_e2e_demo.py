"""What the demo is to show: exact work flags the planted regressions, and nothing else, on every machine."""

from __future__ import annotations

import pytest

from nbbench.cli.demo import BENCHMARKS, MAX_FRAME_MB
from nbbench.subject.subjects.nanobragg.demo import PLANTED

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

# Neither times nor page faults: the counts of dispatched operations have Traffic record its ledgers.
EXACT = [name.replace("minor_faults", "dispatched") for name in BENCHMARKS if "time_" not in name]


@pytest.fixture(scope="module", params=[(512, 1024), pytest.param((), marks=pytest.mark.thorough)])
def flags(new_project, request) -> list[dict]:
    """The flags of the whole history without times and page faults, as where nothing is mapped anew.

    Loops over fewer sources and points are of the same operations.
    """
    project = new_project("planted", smaller=request.param)
    asked = [word for name in EXACT for word in ("--bench", name)]
    for span in ("1-4", "5-9", "10-14"):
        project.run("nbbench", "run", span, *asked, NBBENCH_MAX_FRAME_MB=MAX_FRAME_MB, NBBENCH_CACHE_MB="300")
    return project.told("regressions")["flags"]


def test_exactly_the_planted_regressions_are_flagged_with_their_causes(flags: list[dict]) -> None:
    """A3: they do not hang on times, and an improvement of the same commit hides none."""
    found = {f["event"]["hi_commit"]: f["event"] for f in flags}
    planted = {one.hash: one.regression for one in PLANTED if one.regression}
    assert {commit: event["cause"] for commit, event in found.items()} == planted
    assert len(flags) == len(planted) == 6
    assert all(event["lo_commit"] == event["hi_commit"] for event in found.values())
