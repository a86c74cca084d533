"""Values as arrays: what the series' points say, for many series at once."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from store_trees import START, benchmark, commit_hash, put_parsed, rows_of, unpacked

from nbbench.model import Result, SeriesKey, Status
from nbbench.record.asv_results import ParsedFile
from nbbench.record.columns import SKIPPED, read_columns
from nbbench.record.result_arrays import PACKED_BYTES

KEYS = [SeriesKey("suite.time_run", "v1", (("size", str(n)),), "box", "py3.11") for n in range(4)]


def put(store, number, values, name=None, started=None):
    """Results of commit `number` by series; a Status stands for a result without a value."""
    results = [
        Result(KEYS[place], commit_hash(number), *told(value), started_at=started)
        for place, value in values.items()
    ]
    parsed = ParsedFile(
        machine="box",
        commit=commit_hash(number),
        environment="py3.11",
        date=START + timedelta(days=number),
        **rows_of(results, benchmark()),
    )
    put_parsed(store, parsed, name or f"box/{number}.json")


def told(value):
    return (value, None) if isinstance(value, Status) else (Status.OK, value)


def read(store, places=(0, 1, 2, 3), known=None):
    """(commit numbers, values) by the series' place; `known` limits the commits."""
    numbers = range(1, 10) if known is None else known
    ranks = store.ranks({commit_hash(number): number for number in numbers})
    names = {number: KEYS.index(key) for number, key, _, _ in store.series_keys()}
    wanted = [number for number, place in names.items() if place in places]
    return {
        names[number]: (column.ranks[kept].tolist(), column.values[kept].tolist())
        for number, column in read_columns(store, wanted, ranks)
        if (kept := column.states != SKIPPED) is not None
    }


def test_values_come_in_the_order_of_the_ranks_as_the_points_do(store):
    for number in (3, 1, 2):
        put(store, number, {0: number / 3, 1: 10.0 * number})
    assert read(store) == {0: ([1, 2, 3], [1 / 3, 2 / 3, 1.0]), 1: ([1, 2, 3], [10.0, 20.0, 30.0])}
    assert [[p.value for p in s.points] for s in store.iter_series()] == [v for _, v in read(store).values()]


def test_failures_are_missing_values_and_what_was_skipped_is_left_out(store):
    put(store, 1, {0: 1.0, 1: Status.SKIPPED})
    put(store, 2, {0: Status.FAILED, 1: Status.SKIPPED})
    put(store, 3, {0: Status.SKIPPED, 1: Status.SKIPPED})
    put(store, 4, {0: math.inf})
    put(store, 5, {0: 0.0})
    found = read(store)
    assert found[0][0] == [1, 2, 4, 5]
    np.testing.assert_array_equal(found[0][1], [1.0, math.nan, math.inf, 0.0])
    assert found[1] == ([], [])


@pytest.mark.parametrize("last", [7.0, Status.SKIPPED])
def test_the_last_measured_wins(store, last):
    put(store, 1, {0: last}, "b", started=START + timedelta(hours=1))
    put(store, 1, {0: 1.0}, "a", started=START)
    put(store, 1, {0: 2.0}, "c")  # nobody knows when
    put(store, 2, {0: 3.0, 1: 5.0})
    expected = ([2], [3.0]) if last is Status.SKIPPED else ([1, 2], [7.0, 3.0])
    assert read(store) == {0: expected, 1: ([2], [5.0])}
    assert store.size() == (2, 5)


def test_only_the_series_that_were_asked_for(store):
    put(store, 1, {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0})
    assert read(store, places=(0, 2)) == {0: ([1], [0.0]), 2: ([1], [2.0])}
    assert read(store, places=(3,)) == {3: ([1], [3.0])}
    assert read(store, places=()) == {}


def test_results_of_commits_that_came_meanwhile_are_left_out(store):
    for number in (1, 2, 3):
        put(store, number, {0: float(number)})
    put(store, 3, {1: 9.0}, "other")
    assert read(store, known={1, 2}) == {0: ([1, 2], [1.0, 2.0])}
    some = read_columns(store, [number for number, *_ in store.series_keys()], np.zeros(1, dtype=np.int64))
    assert list(some) == []


def test_keys_come_by_name_and_only_those_with_results(store):
    put(store, 1, {2: 1.0, 0: 1.0})
    put(store, 2, {1: 1.0})
    store.forget_files(["box/2.json"])
    assert [key for _, key, _, _ in store.series_keys()] == [KEYS[0], KEYS[2]]
    assert [(unit, kind) for _, _, unit, kind in store.series_keys()] == [("seconds", "time")] * 2
    assert store.size() == (2, 2)


def test_the_columns_of_a_file_say_what_its_rows_do(store):
    """Series in another order than that of their numbers, one twice, and all that can become of one."""
    put(store, 1, {2: 1.0, 0: Status.FAILED, 1: Status.SKIPPED})
    put(store, 2, {1: 5.0, 2: math.inf, 0: -0.5})
    results = [Result(KEYS[place], commit_hash(3), Status.OK, value) for place, value in ((1, 7.0), (0, 8.0))]
    results.append(Result(KEYS[1], commit_hash(3), Status.OK, 9.0))
    put_parsed(store, ParsedFile("box", commit_hash(3), "py3.11", START, **rows_of(results)), "box/3.json")
    put(store, 4, {})
    states = {"ok": 0, "failed": 1, "skipped": 2}
    with store.reading() as connection:
        said = connection.cursor(
            "SELECT file_id, series_id, value, status FROM results ORDER BY 1, 2"
        ).fetchall()
        files = connection.cursor("SELECT file_id, packed FROM columns ORDER BY 1").fetchall()
    rows = [(file, series, value or 0.0, states[status]) for file, series, value, status in said]
    held = [(file, {one[0]: one for one in unpacked(packed)}) for file, packed in files]
    assert rows == [(file, *one) for file, found in held for _, one in sorted(found.items())]
    assert [len(packed) for _, packed in files] == [3 * PACKED_BYTES] * 3  # the last of two counts
    assert read(store)[1] == ([2, 3], [5.0, 9.0])
