"""The one way from stored results to values: arrays of many series, without an object for each result."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench.model import Status
from nbbench.record.engine import Database
from nbbench.record.shapes import PACKED_BYTES

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
    found = _by_file(database, series, ranks)
    if not (last := _last(found)).all():
        # Files hardly ever overlap, so it is only then that the order of time is asked for.
        found = _in_time(database, series, ranks)
        last = _last(found)
    found = found[last]
    starts = np.flatnonzero(np.diff(found["series"], prepend=-1))
    for one in np.split(found, starts[1:]) if starts.size else ():
        values = np.where(one["state"] == 0, one["value"], np.nan)
        yield int(one["series"][0]), Column(one["commit"], values, one["state"], one["source"])


def _by_file(database: Database, series: Collection[int], ranks: NDArray[np.int64]) -> NDArray[np.void]:
    """Results by series and rank (in the field ``commit``)."""
    least, greatest = min(series), max(series)
    wanted = np.zeros(greatest + 1 - least, dtype=np.bool_)
    wanted[np.fromiter(series, dtype=np.int64) - least] = True
    query = "SELECT file_id, commit_id, packed FROM columns WHERE file_id IN "
    query += "(SELECT id FROM files WHERE project_id = ?)"
    parts = []
    with database.reading() as connection:
        for source, commit, packed in connection.cursor(query, [database.project_id]):
            rank = int(ranks[commit]) if commit < ranks.size else -1
            size = len(packed) // PACKED_BYTES
            ids = np.frombuffer(packed, "<i8", size)
            start, stop = ids.searchsorted((least, greatest + 1)).tolist()
            if rank < 0 or start == stop:
                continue
            part = np.empty(stop - start, dtype=_ROW)
            part["series"], part["commit"], part["source"] = ids[start:stop], rank, source
            part["value"] = np.frombuffer(packed, "<f8", stop - start, 8 * (size + start))
            part["state"] = np.frombuffer(packed, "i1", stop - start, 16 * size + start)
            parts.append(part[wanted[part["series"] - least]])
    return _in_order(np.concatenate(parts) if parts else np.empty(0, dtype=_ROW), ranks.size)


def _in_time(database: Database, series: Collection[int], ranks: NDArray[np.int64]) -> NDArray[np.void]:
    """The same, those of one place in the order of time."""
    failed = "status = 'failed' OR value IS NULL"
    state = f"CASE WHEN status = 'skipped' THEN {SKIPPED} WHEN {failed} THEN {_FAILED} ELSE 0 END"
    query = (
        f"SELECT series_id, commit_id, file_id, coalesce(value, 0.0), {state} FROM results "
        f"WHERE series_id IN ({', '.join(map(str, series))}) ORDER BY started_at ASC NULLS FIRST, file_id"
    )
    with database.reading() as connection:
        found: NDArray[np.void] = np.fromiter(connection.cursor(query), dtype=_ROW)
    known = found["commit"] < ranks.size
    found["commit"] = np.where(known, ranks[np.where(known, found["commit"], 0)], -1)
    return _in_order(found[found["commit"] >= 0], ranks.size)


def _in_order(found: NDArray[np.void], commits: int) -> NDArray[np.void]:
    return np.take(found, np.argsort(found["series"] * commits + found["commit"], kind="stable"))


def _last(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows (n,) are the last of their series and commit."""
    same = (rows["series"][1:] == rows["series"][:-1]) & (rows["commit"][1:] == rows["commit"][:-1])
    return np.append(~same, True)[: rows.size]
