"""The one way from stored results to values: arrays of many series, without an object for each result."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench.model import Status
from nbbench.record.engine import Database

STATES = (Status.OK, Status.FAILED, Status.SKIPPED)
"""What the numbers of a column's ``states`` stand for."""

# The places of both in STATES.
_FAILED, SKIPPED = 1, 2
_ROW = np.dtype([("series", "i8"), ("commit", "i8"), ("source", "i8"), ("value", "f8"), ("state", "i1")])


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The results of one series: the ``ranks`` (n,) of their commits, ascending, their ``values`` (n,), NaN
    where there is none, their ``states`` (n,), and the ``sources`` (n,) that they come from."""

    ranks: NDArray[np.int64]
    values: NDArray[np.float64]
    states: NDArray[np.int8]
    sources: NDArray[np.int64]


def read_columns(
    database: Database, series: Collection[int], ranks: NDArray[np.int64]
) -> Iterator[tuple[int, Column]]:
    """The columns of the series with these ids, in the order of the ids; those without results are left out.

    ``ranks`` gives by its id where a commit stands; results of commits that it does not know, or whose rank
    is -1, are left out. Where two files give the same series and commit, the one that was measured last
    counts.
    """
    if not series:
        return
    rows = _rows(database, series, ranks, in_time=False)
    if not (last := _last(rows)).all():
        # Files hardly ever overlap, so it is only then that the order of time is asked for.
        rows = _rows(database, series, ranks, in_time=True)
        last = _last(rows)
    rows = rows[last]
    starts = np.flatnonzero(np.diff(rows["series"], prepend=-1))
    for one in np.split(rows, starts[1:]) if starts.size else ():
        values = np.where(one["state"] == 0, one["value"], np.nan)
        yield int(one["series"][0]), Column(one["commit"], values, one["state"], one["source"])


def _rows(
    database: Database, series: Collection[int], ranks: NDArray[np.int64], *, in_time: bool
) -> NDArray[np.void]:
    """Results by series and rank (in the field ``commit``), those of one place in order of time if asked."""
    least, greatest = min(series), max(series)
    failed = "status = 'failed' OR value IS NULL"
    state = f"CASE WHEN status = 'skipped' THEN {SKIPPED} WHEN {failed} THEN {_FAILED} ELSE 0 END"
    query = f"SELECT series_id, commit_id, file_id, coalesce(value, 0.0), {state} FROM results WHERE "
    listed = f"IN ({', '.join(map(str, series))})"
    if 4 * len(series) < greatest - least:
        query += f"series_id {listed}"
    else:
        # With the files named SQLite goes from file to file, whose rows lie side by side; by the index of
        # series it would fetch a page for each row, which takes six times as long.
        files = f"SELECT id FROM files WHERE project_id = {database.project_id}"
        query += f"file_id IN ({files}) AND series_id BETWEEN {least} AND {greatest}"
        if greatest - least >= len(series):  # the sum keeps the list away from the choice of an index
            query += f" AND series_id + 0 {listed}"
    if in_time:
        query += " ORDER BY started_at ASC NULLS FIRST, file_id"
    with database.reading() as connection:
        rows: NDArray[np.void] = np.fromiter(connection.cursor(query), dtype=_ROW)
    known = rows["commit"] < ranks.size
    rows["commit"] = np.where(known, ranks[np.where(known, rows["commit"], 0)], -1)
    rows = rows[rows["commit"] >= 0]
    order = np.argsort(rows["series"] * ranks.size + rows["commit"], kind="stable")
    return np.take(rows, order)


def _last(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows (n,) are the last of their series and commit."""
    same = (rows["series"][1:] == rows["series"][:-1]) & (rows["commit"][1:] == rows["commit"][:-1])
    return np.append(~same, True)[: rows.size]
