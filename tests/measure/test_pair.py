"""Slices, disturbances and reference kernels of an interleaved pair, without processes."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from random import Random

import pytest

from nbbench.disturbance import MACHINE_MOVED
from nbbench.measure.pair import Slices, disturbed_by, figure, pair_of, whole_pair
from nbbench.measure.paired import _series
from nbbench.measure.warm_client import JobOutcome
from nbbench.probe import slices as probe
from nbbench.probe.slices import MOST_SAMPLES, take_slice, waiting_s


def test_the_figure_is_the_mean_of_the_two_fastest() -> None:
    assert figure([4.0, 1.0, 9.0]) == pytest.approx(2.0)
    assert figure([3.0]) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ((1.0, 0.1, 0.0, 0.0), ""),
        ((1.0, 0.3, 0.0, 0.0), "other processes ran"),
        ((1.0, 0.0, 0.1, 0.0), "the hypervisor took time"),
        ((1.0, 0.0, 0.0, 2 * MACHINE_MOVED), "the reference kernel's time jumped"),
        ((0.01, 0.03, 0.0, 0.0), ""),  # the machine counts in steps of 10 ms
    ],
)
def test_what_disturbs(facts: tuple[float, float, float, float], told: str) -> None:
    assert disturbed_by(*facts) == told


STEADY = {"base": (1.0, 1.0), "head": (1.0, 1.0)}
JUMPED = {"base": (1.0, 2.0), "head": (1.0, 1.0)}


def test_canaries_tell_jumps_within_a_side() -> None:
    slow = {"base": (1.0, 1.0), "head": (1.21, 1.21)}
    assert pair_of(taken([1.0] * 5, [1.0] * 5, arithmetic_s=slow)).disturbed == ""
    jumped = pair_of(taken([1.0] * 5, [1.0] * 5, arithmetic_s=JUMPED))
    assert jumped.disturbed == "the reference kernel's time jumped"
    # the kernel that moves frames has no say
    assert pair_of(taken([1.0] * 5, [1.0] * 5, frames_s=JUMPED)).disturbed == ""


def test_a_slice_takes_at_least_one_sample_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def sample() -> float:
        calls.append(1)
        return 0.5

    take_slice(sample, 0.0)
    assert len(calls) == 1
    take_slice(sample, 600.0)
    assert len(calls) == 1 + MOST_SAMPLES
    waits = iter([0.0, 0.0, 0.1, 0.1])  # the second of three waited for a core
    monkeypatch.setattr(probe, "waiting_s", lambda: next(waits))
    monkeypatch.setattr(probe, "MOST_SAMPLES", 3)
    samples, own, _ = take_slice(sample, 600.0)
    assert samples == [0.5, 0.5] and 0.0 < own <= 0.5


def test_waiting_never_falls() -> None:
    before = waiting_s()
    assert 0.0 <= before <= waiting_s()


def taken(base: list[float], head: list[float], **canaries: dict[str, tuple[float, float]]) -> Slices:
    steady = {"frames_s": STEADY, "arithmetic_s": STEADY}
    return Slices({"base": base, "head": head}, steady | canaries, 1.0, 0.0, 0.0)


def test_slices_give_the_pair_s_log_ratio() -> None:
    found = pair_of(taken([1.0] * 5, [1.1] * 5))
    assert found.log_ratio == pytest.approx(math.log(1.1))
    assert found.disturbed == ""


def test_too_few_slices_are_a_disturbance() -> None:
    assert pair_of(taken([1.0] * 3, [1.1] * 3)).disturbed == "waited for a core"


def test_no_clean_slice_is_a_disturbance_and_no_failure() -> None:
    """Its figures are what the slices took without their waiting."""
    found = pair_of(dataclasses.replace(taken([1.0] * 5, [2.0] * 5), waited=True))
    assert found.disturbed == "waited for a core"
    assert not (found.base.error or found.head.error)
    assert found.log_ratio == pytest.approx(math.log(2.0))


class Asv:
    """Runs of asv's own command: what each side writes, prints and returns."""

    def __init__(
        self, result: Path, base: object, head: object, others_s: float = 0.0, waited_s: float = 0.0
    ) -> None:
        self.result, self.answers = result, {"base": base, "head": head}
        self.told = {"wall_s": 2.0, "others_cpu_s": others_s, "steal_s": 0.0, "run_delay_s": waited_s}

    def __call__(self, side: str) -> JobOutcome:
        answer = self.answers[side]
        if answer is None:
            return JobOutcome("Traceback\nNameError: phi\n", 1, {})
        self.result.write_text(json.dumps(answer))
        return JobOutcome("quiet\n", 0, self.told)


def test_what_cannot_be_sliced_is_run_whole(tmp_path: Path) -> None:
    """H3: cold starts (samples) and peak memory (one number)."""
    result = tmp_path / "result.json"
    cold = whole_pair(
        Asv(result, {"samples": [1.0, 9.0, 2.0]}, {"samples": [4.0]}), result, Random(1), spare=0
    )
    assert (cold.base.value, cold.head.value, cold.disturbed) == (2.0, 4.0, "")
    assert cold.log_ratio == pytest.approx(math.log(2))
    peak = whole_pair(Asv(result, 1e8, 2e8, others_s=2.0), result, Random(1))
    assert (peak.base.value, peak.disturbed) == (1e8, "")  # others cost memory nothing
    busy = Asv(result, {"samples": [1.0]}, {"samples": [1.0]}, others_s=2.0)
    assert whole_pair(busy, result, Random(1), spare=0).disturbed == "other processes ran"
    kept = Asv(result, {"samples": [1.0]}, {"samples": [1.0]}, others_s=2.0, waited_s=0.2)
    assert whole_pair(kept, result, Random(1), spare=9).disturbed == "waited for a core"
    assert not result.exists()


def test_a_whole_side_that_fails_or_skips_says_so(tmp_path: Path) -> None:
    """C2, C7: NaN is asv's answer of a benchmark that skips itself."""
    result = tmp_path / "result.json"
    found = whole_pair(Asv(result, math.nan, None), result, Random(1))
    assert (found.base.skipped, found.head.skipped) == (True, False)
    assert (found.base.error, found.head.error) == ("skipped: quiet", "NameError: phi")
    assert math.isnan(found.log_ratio)
    assert whole_pair(Asv(result, [1], 2.0), result, Random(1)).base.error.startswith("no figure: ")


def test_time_and_memory_are_judged_where_they_need_no_cache() -> None:
    """H3: the series that `--bench` can choose, and which of them are sliced."""
    entries = [
        {
            "name": "w.time_run",
            "type": "time",
            "params": [["1", "2"]],
            "param_names": ["n"],
            "unit": "seconds",
        },
        {"name": "c.ColdStart.timeraw_import", "type": "time", "params": [], "unit": "seconds"},
        {"name": "b.peakmem_run", "type": "peakmemory", "params": [], "unit": "bytes", "timeout": 5},
        {"name": "t.track_bytes", "type": "track", "params": [], "unit": "B/pixel"},
        {"name": "s.time_cached", "type": "time", "params": [], "setup_cache_key": "s:1"},
    ]
    found = [one for entry in entries for one in _series(entry)]
    assert [(one.label, one.unit, one.sliced) for one in found] == [
        ("w.time_run(1)", "seconds", True),
        ("w.time_run(2)", "seconds", True),
        ("c.ColdStart.timeraw_import", "seconds", False),
        ("b.peakmem_run", "bytes", False),
        ("t.track_bytes", "B/pixel", False),
    ]
    assert (found[1].id, found[1].params, found[3].timeout_s) == ("w.time_run-1", (("n", "2"),), 5.0)
