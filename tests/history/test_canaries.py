"""Canaries beside benchmarks: what telemetry holds, what detection does with it, what an event says."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from history_samples import TIME, branch, find_changes, history, ledger, noisy, numbers, series, steps
from hypothesis import given
from hypothesis import strategies as st

from nbbench.history.events import build_events
from nbbench.history.telemetry import PROGRAMS, canary_levels, machine_jump
from nbbench.model import Cause, ProcessRecord
from nbbench.report.causes import evidence_sentences


def record(commit, frames, arithmetic=None, *, benchmark=TIME[0], machine="runner", told=None):
    kernels = {"frames_s": frames, "arithmetic_s": arithmetic or [0.001, 0.001]}
    return ProcessRecord(
        commit=commit, environment="py-torch", benchmark=benchmark, param_index=0, kind="run",
        started_at=datetime(2025, 10, 1, tzinfo=UTC), wall_s=1.0, exit_code=0, machine=machine,
        extra=(("canary", kernels if told is None else told),),
    )  # fmt: skip


def beside(commits, speeds):
    """Telemetry of a machine that takes `speeds` times as long."""
    return [
        record(c.hash, [0.01 * s, 0.01 * s], [0.001 * s, 0.001 * s])
        for c, s in zip(commits, speeds, strict=True)
    ]


def test_a_level_is_the_median_of_geometric_means():
    records = [
        record("a", [1.0, 4.0]),
        record("a", [3.0, 3.0]),
        record("a", [9.0, 9.0]),
        record("b", [1.0, 1.0]),
    ]
    one = series(TIME, [1.0, 1.0])
    found = canary_levels(records).beside(one.key, ["a", "b", "c"])
    np.testing.assert_allclose(found, [[3.0, 1.0, np.nan], [0.001, 0.001, np.nan]])
    at = canary_levels(records).at(one.key, ["a", "b", "c"])
    assert at[:2].tolist() == [records[0].started_at.timestamp()] * 2
    assert np.isnan(at[2])
    elsewhere = series(TIME, [1.0], machine="other")
    assert np.isnan(canary_levels(records).beside(elsewhere.key, ["a"])).all()


@pytest.mark.parametrize(
    "told",
    [{}, None, 7, [], {"frames_s": 1.0}, {"frames_s": [1.0]}, {"frames_s": [1.0, -1.0]},
     {"frames_s": [1.0, math.nan]}, {"frames_s": ["1", 2]}, {"other_s": [1.0, 1.0]}],
)  # fmt: skip
def test_damaged_telemetry_is_no_canary(told):
    damaged = record("a", None, told={} if told is None else told)
    assert np.isnan(canary_levels([damaged]).beside(series(TIME, [1.0]).key, ["a"])).all()


def test_the_machine_moved_as_far_as_the_canary_that_moved_least():
    before = [record("a", [1.0, 1.0])] * 3
    both = [record("b", [1.3, 1.3], [0.0011, 0.0011])] * 3
    assert machine_jump(before, both, {TIME[0]}) == pytest.approx(math.log(1.1))
    one = [record("b", [1.3, 1.3])] * 3
    assert machine_jump(before, one, {TIME[0]}) == 0.0
    against = [record("b", [1.3, 1.3], [0.0009, 0.0009])] * 3
    assert machine_jump(before, against, {TIME[0]}) == 0.0
    assert machine_jump(before, both, {"another"}) == 0.0
    assert machine_jump([], both, {TIME[0]}) == 0.0


def test_a_burst_that_the_canary_shows_is_no_change_and_a_change_beside_it_is():
    values = np.array(noisy(steps(40, 1.0), 0.02, seed=3))
    speeds = np.array(noisy(steps(40, 1.0), 0.002, seed=4))
    values[10:18] *= 1.5
    speeds[10:18] *= 1.1
    values[25:] *= 1.2
    one = series(TIME, values.tolist())
    assert [numbers(c)[0] for c in find_changes(history(one))] == [11, 19, 26]
    told = find_changes(history(one, records=beside(branch(40), speeds)))
    assert [numbers(c)[0] for c in told] == [26]


def test_a_wander_that_the_canary_shows_is_taken_out():
    n = 300
    wander = np.exp(0.06 * np.sin(np.arange(n) / 15.0))
    values = np.array(noisy(wander, 0.01, seed=5))
    values[150:] *= 1.08
    one = series(TIME, values.tolist())
    told = find_changes(history(one, records=beside(branch(n), wander)))
    assert [numbers(c) for c in told] == [(151, 151)]
    assert told[0].effect == pytest.approx(math.log(1.08), abs=0.015)


@given(level=st.floats(1e-3, 1e3), seed=st.integers(0, 5))
def test_a_canary_that_never_moves_changes_nothing(level, seed):
    values = np.array(noisy(steps(40, 1.0, (21, 1.3)), 0.02, seed=seed))
    one = series(TIME, values.tolist())
    assert find_changes(history(one, records=beside(branch(40), np.full(40, level)))) == find_changes(
        history(one)
    )


def test_a_slower_machine_is_the_cause_of_what_moved_with_its_canaries():
    n = 24
    speeds = steps(n, 1.0, (13, 1.15))
    one = series(TIME, noisy(speeds, 0.01))
    trees = {f"tree{i}": {"bandwidth-512-float32": ledger()} for i in range(1, n + 1)}
    given_history = history(one, ledgers=trees, records=beside(branch(n), speeds))
    (event,) = build_events(given_history, find_changes(given_history))
    assert event.cause is Cause.ENVIRONMENT
    assert "moved by +15.0 % with it" in evidence_sentences(event.evidence)[-1]
    quiet = history(one, ledgers=trees, records=beside(branch(n), np.ones(n)))
    (event,) = build_events(quiet, find_changes(quiet))
    assert event.cause is Cause.UNEXPLAINED


def test_programs_are_those_that_the_probe_times():
    from pathlib import Path

    import nbbench

    text = (Path(nbbench.__file__).parent / "probe" / "canary.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in PROGRAMS)
