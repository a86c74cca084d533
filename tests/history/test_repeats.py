"""A second collection of a commit confirms a level of one commit, and one that disagrees does not."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from history_samples import TIME, branch, find_changes, history, noisy, numbers, series, steps

from nbbench.history.confirmed import repeated, repeats_of, settled
from nbbench.history.telemetry import collected_again
from nbbench.model import Point, ProcessRecord, Series


def record(commit, mark, *, benchmark=TIME[0], kind="run", exit_code=0):
    return ProcessRecord(
        commit=commit, environment="py-torch", benchmark=benchmark, param_index=0, kind=kind,
        started_at=datetime(2025, 10, 1, tzinfo=UTC), wall_s=1.0, exit_code=exit_code, machine="runner",
        extra=() if mark is None else (("collection", mark),),
    )  # fmt: skip


def with_samples(one, commit, samples):
    points = tuple(
        Point(p.position, p.commit, p.value, p.status, samples) if p.commit == commit else p
        for p in one.points
    )
    return Series(one.key, one.unit, one.kind, points)


def test_rounds_are_one_collection_and_two_runs_are_two():
    records = [
        record("a", "1"), record("a", "1"), record("b", "1"), record("b", "2"),
        record("c", None), record("c", "2"), record("d", "1"), record("d", "2", exit_code=1),
        record("e", "1"), record("e", "2", kind="setup_cache"),
        record("f", "1"), record("f", "2", benchmark="x"),
    ]  # fmt: skip
    assert collected_again(records) == {("b", "runner", "py-torch", TIME[0])}


def test_the_ends_of_appended_samples_are_different_collections():
    one = with_samples(series(TIME, [1.0, 1.0]), branch(2)[0].hash, (1.0, 1.1, 1.0, 1.2, 3.0, 3.1, 3.0, 3.2))
    again = frozenset({(branch(2)[0].hash, "runner", "py-torch", TIME[0])})
    assert repeats_of([one], again) == {one.key: {branch(2)[0].hash: (1.05, 3.1)}}
    assert repeats_of([one], frozenset()) == {}
    few = with_samples(one, branch(2)[0].hash, (1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0))
    assert repeats_of([few], again) == {}


@pytest.mark.parametrize(("second", "expected"), [(1.6, [21, 22]), (1.0, [])])
def test_a_level_of_one_commit_needs_both_collections(second, expected):
    values = noisy(steps(40, 1.0), 0.01, seed=2)
    values[20] = 1.6
    one = series(TIME, values)
    again = {one.key: {branch(40)[20].hash: (1.6, second)}}
    assert find_changes(history(one)) == []
    assert [numbers(c)[0] for c in find_changes(history(one, repeats=again))] == expected


def test_what_was_collected_once_is_never_confirmed():
    values = noisy(steps(40, 1.0), 0.01, seed=2)
    values[20] = 1.6
    one = series(TIME, values)
    elsewhere = {branch(40)[3].hash: (1.0, 1.0)}
    commits, measured = [p.commit for p in one.points], np.array(values)
    assert not repeated(commits, measured, elsewhere).any()
    assert repeated([], np.zeros(0), elsewhere).shape == (0,)
    told = repeated(commits, measured, {branch(40)[20].hash: (1.6, 1.6)})
    np.testing.assert_array_equal(np.flatnonzero(told), [20])


def test_where_two_collections_disagree_the_faster_one_counts():
    quiet = noisy(steps(40, 1.0), 0.01, seed=2)
    busy = [1.6 * value if 10 <= i < 18 else value for i, value in enumerate(quiet)]
    one = series(TIME, [0.5 * (a + b) for a, b in zip(quiet, busy, strict=True)])
    again = dict(zip((c.hash for c in branch(40)), zip(busy, quiet, strict=True), strict=True))
    assert [numbers(c)[0] for c in find_changes(history(one))] == [11, 19]
    assert find_changes(history(one, repeats={one.key: again})) == []
    values, agreed = settled([c.hash for c in branch(40)], np.array(busy), again)
    assert values == pytest.approx(quiet)
    assert len(agreed) == 32
