"""I5: events of results of which nobody declared what they run: a shared commit is not enough."""

from __future__ import annotations

import numpy as np
import pytest
from history_samples import MACHINE, branch, change, history, series

from nbbench.history.changes import History, judge_history
from nbbench.history.events import build_events
from nbbench.history.facts import Setups
from nbbench.history.flags import attach_flags
from nbbench.model import Cause, ChangePoint, Decision, Event, FlagState
from nbbench.workloads import Workloads, use_workloads

N = 20


@pytest.fixture(autouse=True)
def _nothing_declared():
    use_workloads(Workloads())
    yield
    use_workloads(None)


def step(name: str, effect: float, lo: int = 10, hi: int = 10) -> ChangePoint:
    return change(lo, hi, effect, (name, "seconds", "time"))


def told(*changes: ChangePoint, **more: object) -> dict[str, set[str]]:
    return {e.id: {c.key.benchmark for c in e.changes} for e in found(*changes, **more)}


def found(*changes: ChangePoint, **more: object) -> list[Event]:
    given: History = history(commits=branch(N), **more)
    return build_events(given, changes)


def test_modules_that_share_a_commit_are_events_of_their_own():
    assert told(
        step("linalg.Svd.time_svd", 0.4), step("linalg.Eig.time_eig", 0.2), step("io.Csv.time_read", 0.3)
    ) == {
        "0000000a-slower": {"linalg.Svd.time_svd", "linalg.Eig.time_eig"},
        "0000000a-slower-in-io": {"io.Csv.time_read"},
    }


def test_one_module_is_one_event_where_the_ranges_share_a_commit():
    assert told(step("io.Csv.time_read", 0.3, 8, 10), step("io.Csv.time_write", 0.4, 10, 12)) == {
        "0000000a-slower": {"io.Csv.time_read", "io.Csv.time_write"}
    }


def test_a_cause_that_modules_share_makes_one_event():
    files = {
        (c.hash, MACHINE, "py-torch"): {"python": "3.10" if i < 9 else "3.11"}
        for i, c in enumerate(branch(N))
    }
    (event,) = found(step("linalg.Svd.time_svd", 0.4), step("io.Csv.time_read", 0.3), setups=Setups(files))
    assert event.id == "0000000a-slower"
    assert event.cause is Cause.ENVIRONMENT
    assert len(event.changes) == 2


@pytest.mark.parametrize("name", ["memory", "import", "a/../b", "<b>", "é è", "slower-memory"])
def test_a_modules_name_is_no_other_part_of_an_id_and_decisions_find_it(name):
    events = found(step("big.Loop.time_run", 0.4), step(f"{name}.Loop.time_run", 0.3))
    ids = [event.id for event in events]
    assert len(set(ids)) == 2
    (mine,) = (one for one in ids if "-in-" in one)
    assert mine.removeprefix("0000000a-slower-in-").replace("_", "").isalnum()
    said = Decision(mine, "P", FlagState.CONFIRMED, "", "", branch(1)[0].date)
    states = {flag.event.id: flag.state for flag in attach_flags(events, [said], "P", branch(N))}
    assert states == {mine: FlagState.CONFIRMED, "0000000a-slower": FlagState.DETECTED}


def test_an_improvement_that_did_not_last_says_by_what_it_was_undone():
    gain, loss = found(step("io.Csv.time_read", -0.3, 5, 5), step("io.Csv.time_read", 0.3, 8, 8))
    assert (gain.recovered_by, loss.recovered_by) == (loss.hi_commit, None)
    assert (gain.undoes, loss.undoes) == (None, gain.id)


def test_several_later_events_may_undo_one():
    names = [f"io.Csv.time_{what}" for what in "abc"]
    first, *later = found(
        *(step(name, 0.3, 5, 5) for name in names),
        *(step(name, -0.3, 7 + i, 7 + i) for i, name in enumerate(names[:2])),
    )
    assert first.recovered_by == later[1].hi_commit
    assert [event.undoes for event in later] == [None, first.id]  # with the second half of it is undone


def test_what_all_undeclared_series_share_at_one_commit_is_the_machines():
    """A hosted runner gives each commit another machine."""
    rng = np.random.default_rng(1)
    values = np.exp(0.01 * rng.standard_normal((8, N)))
    values[:, 10] *= 0.7
    given = history(
        *(series((f"a.B.time_{i}", "seconds", "time"), row.tolist()) for i, row in enumerate(values))
    )
    assert judge_history(given).changes == []
