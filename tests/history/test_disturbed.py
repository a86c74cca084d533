"""Results of processes that were kept waiting do not take part in detection."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from history_samples import (
    MACHINE,
    TIME,
    branch,
    find_changes,
    history,
    ledger,
    ledgers,
    noisy,
    numbers,
    series,
    steps,
)

from nbbench.disturbance import WAITED_SHARE
from nbbench.history.changes import judge_history
from nbbench.history.telemetry import disturbed_results
from nbbench.model import ProcessRecord


def record(commit, delay_s, *, benchmark=TIME[0], environment="e", machine=MACHINE, **more):
    return ProcessRecord(
        commit=commit, environment=environment, benchmark=benchmark, param_index=0,
        started_at=datetime(2025, 10, 1, tzinfo=UTC), wall_s=more.get("wall_s", 1.0), exit_code=0,
        steal_s=more.get("steal_s", 0.0), machine=machine, kind=more.get("kind", "run"),
        extra=() if delay_s is None else (("run_delay_s", delay_s),),
    )  # fmt: skip


def test_a_result_is_disturbed_when_its_typical_process_waited():
    late = 2 * WAITED_SHARE
    records = [
        *[record("a", late)] * 3, record("b", late), record("b", 0.0), record("b", 0.0),
        record("c", 0.0, steal_s=late), record("d", None), record("e", 1.0, kind="setup_cache"),
        record("f", 1.0, wall_s=0.01), record("g", late, benchmark="other"),
        record("h", late, machine="n"), record("h", 0.0),
    ]  # fmt: skip
    assert disturbed_results(records) == {
        ("a", MACHINE, "e", TIME[0]), ("c", MACHINE, "e", TIME[0]), ("g", MACHINE, "e", "other"),
        ("h", "n", "e", TIME[0]),
    }  # fmt: skip


def test_of_several_collections_one_that_did_not_wait_is_enough():
    def marked(commit, delay_s, mark):
        waited = record(commit, delay_s)
        return replace(waited, extra=(*waited.extra, ("collection", mark)))

    records = [
        marked("a", 0.5, "1"), marked("a", 0.0, "2"), marked("b", 0.5, "1"), marked("b", 0.5, "2"),
        marked("c", 0.5, "1"), replace(marked("c", 0.5, "2"), kind="setup_cache"),
    ]  # fmt: skip
    assert {place[0] for place in disturbed_results(records)} == {"b", "c"}


def test_a_gpu_that_is_too_hot_disturbs_a_result():
    def watched(commit, *after):
        states = [["idle"], list(after)]
        return replace(record(commit, 0.0), extra=(("gpu", {"throttle": states}),))

    damaged = [replace(record("e", 0.0), extra=(("gpu", said),)) for said in (None, 3, {"throttle": "x"})]
    records = [
        watched("a", "thermal, by hardware"), watched("a", "power cap", "thermal, by software"), watched("a"),
        watched("b", "power brake"), watched("b"), watched("c", "power cap"), watched("d", "idle"), *damaged,
    ]  # fmt: skip
    assert disturbed_results(records) == {("a", MACHINE, "e", TIME[0])}


def test_a_burst_of_contention_is_no_change_and_a_change_beside_it_is():
    values = np.array(noisy(steps(40, 1.0), 0.02, seed=3))
    values[10:18] *= 1.8
    values[25:] *= 1.2
    one = series(TIME, values.tolist())
    commits = branch(40)
    waiting = [record(commits[i].hash, 0.5, environment=one.key.environment) for i in range(10, 18)]
    assert [numbers(c)[0] for c in find_changes(history(one))] == [11, 19, 26]
    told = find_changes(history(one, records=waiting))
    assert [numbers(c) for c in told] == [(26, 26)]


def test_a_series_that_was_disturbed_throughout_is_judged_as_it_is():
    values = np.array(noisy(steps(40, 1.0), 0.02, seed=3))
    values[20:] *= 1.5
    one = series(TIME, values.tolist())
    waiting = [record(c.hash, 0.5, environment=one.key.environment) for c in branch(40)]
    assert [numbers(c) for c in find_changes(history(one, records=waiting))] == [(21, 21)]


def test_what_lay_on_one_series_for_a_while_hides_no_change():
    """In the order of `nbbench run` a burst falls on commits all over the branch, and on nothing else."""
    commits = branch(80)
    turns = np.random.default_rng(0).permutation(80)
    values = [np.array(noisy(steps(80, 1.0), 0.02, seed=k)) for k in range(6)]
    for first in (10, 30, 55):
        values[0][(turns >= first) & (turns < first + 6)] *= 20.0
    values[0][40:] *= 1.3
    ours = history(*(series(TIME, one.tolist(), commits, size=str(k)) for k, one in enumerate(values)))
    at = {(c.hash, MACHINE, "py-torch"): float(turn) for c, turn in zip(commits, turns, strict=True)}
    found = judge_history(replace(ours, measured_at=at), min_effect=0.05).changes
    assert [numbers(c) for c in found] == [(41, 41)]
    assert judge_history(ours, min_effect=0.05).changes == []  # without the order it is noise


def test_what_was_disturbed_tells_of_a_level_of_other_work_that_has_nothing_else():
    """Two commits of other work, each measured while the machine was busy, as ten others were."""
    rng = np.random.default_rng(4)
    one = np.array(noisy(steps(60, 1.0, (31, 1.5), (33, 1 / 1.5)), 0.02, seed=5))
    busy = [*range(3, 28, 5), 30, 31, *range(36, 60, 5)]
    values = one.copy()
    values[busy] *= np.exp(rng.uniform(0.02, 0.1, len(busy)))
    commits = branch(60)
    time = series(TIME, values.tolist())
    waiting = [record(commits[i].hash, 0.5, environment=time.key.environment) for i in busy]
    known = {"ledgers": ledgers([ledger(ops=60 if i in (30, 31) else 50) for i in range(60)])}

    def times(one, records, **more):
        return [numbers(c) for c in find_changes(history(one, records=records, **more)) if c.kind != "exact"]

    assert times(time, waiting, **known) == [(31, 31), (33, 33)]
    # without a ledger there is no such level; where too few tell by how much others are off, no time
    assert times(time, waiting) == []
    few = [record(commits[i].hash, 0.5, environment=time.key.environment) for i in (3, 30, 31)]
    quiet = one.copy()
    quiet[[3, 30, 31]] = values[[3, 30, 31]]
    assert times(series(TIME, quiet.tolist()), few, **known) == []
