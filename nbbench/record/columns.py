"""The one way from stored results to values: arrays of many series, without an object for each result."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
from msgspec import msgpack
from numpy.typing import NDArray

from nbbench.model import SeriesKey
from nbbench.record.engine import Database
from nbbench.record.read import OF_FILES
from nbbench.record.result_arrays import PACKED_BYTES, series_in

# The place in STATES.
SKIPPED = 2
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
        found = _by_file(database, series, ranks, timed=True)
        last = _last(found)
    found = found[last]
    starts = np.flatnonzero(np.diff(found["series"], prepend=-1))
    for one in np.split(found, starts[1:]) if starts.size else ():
        values = np.where(one["state"] == 0, one["value"], np.nan)
        yield int(one["series"][0]), Column(one["commit"], values, one["state"], one["source"])


def _by_file(
    database: Database, series: Collection[int], ranks: NDArray[np.int64], *, timed: bool = False
) -> NDArray[np.void]:
    """Results by series and rank (in the field ``commit``); those of one place in the order of time, where it
    is asked for."""
    least, greatest = min(series), max(series)
    wanted = np.zeros(greatest + 1 - least, dtype=np.bool_)
    wanted[np.fromiter(series, dtype=np.int64) - least] = True
    query = f"SELECT file_id, commit_id, layout, packed{', runs' if timed else ''} FROM columns "
    query += f"WHERE {OF_FILES} ORDER BY file_id"
    layouts: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    parts: list[tuple[NDArray[np.generic], ...]] = []
    places: list[tuple[int, int, int]] = []  # how many results, their rank and file
    with database.reading() as connection:
        for source, commit, layout, packed, *runs in connection.cursor(query, [database.project_id]):
            rank = int(ranks[commit]) if commit < ranks.size else -1
            size = len(packed) // PACKED_BYTES
            if layout not in layouts:
                ids = np.frombuffer(packed, "<i8", size)
                at = np.flatnonzero((ids >= least) & (ids <= greatest))
                at = at[wanted[ids[at] - least]]
                layouts[layout] = at, ids[at]
            at, ids = layouts[layout]
            if rank < 0 or not at.size:
                continue
            values = np.frombuffer(packed, "<f8", size, 8 * size)[at]
            states = np.frombuffer(packed, "i1", size, 16 * size)[at]
            parts.append((ids, values, states, *(_began(one)[at] for one in runs)))
            places.append((at.size, rank, source))
    found = np.empty(sum(size for size, _, _ in places), dtype=_ROW)
    if not places:
        return found
    sizes, *rest = np.array(places).T
    found["commit"], found["source"] = (np.repeat(one, sizes) for one in rest)
    found["series"], found["value"], found["state"], *began = map(np.concatenate, zip(*parts, strict=True))
    # stable, and files come in the order of their numbers
    return np.take(found, np.lexsort((*began, found["series"] * ranks.size + found["commit"])))


def _began(runs: bytes) -> NDArray[np.datetime64]:
    """When each result (n,) of a file was measured; before all others where nobody knows."""
    began, _, sizes = zip(*msgpack.decode(runs), strict=True)
    times = [datetime.min if one is None else one.replace(tzinfo=None) for one in began]
    return np.repeat(np.array(times, dtype="M8[us]"), sizes)


def _last(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows (n,) are the last of their series and commit."""
    same = (rows["series"][1:] == rows["series"][:-1]) & (rows["commit"][1:] == rows["commit"][:-1])
    return np.append(~same, True)[: rows.size]


class Samplings:
    """How asv sampled a series at each commit: calls a sample (`number`), samples a result (`repeat`). The
    first question reads those of all ``series``, which are known by their ids."""

    def __init__(self, database: Database, series: Mapping[SeriesKey, int]) -> None:
        self._database, self._series = database, series

    def __call__(self, key: SeriesKey) -> dict[str, dict[str, str]]:
        """By commit what asv said of a series; of two files the one that was measured last."""
        found, number = {}, self._series.get(key, -1)
        for _, commit, ids, *figures in self._files.get((key.machine, key.environment), ()):
            for place in np.flatnonzero(ids == number).tolist():
                said = zip(("number", "repeat"), figures, strict=True)
                found[commit] = {name: str(one[place]) for name, one in said if one.size and one[place]}
        return found

    @cached_property
    def _files(self) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
        query = (
            "SELECT machine, environment, started_at, file_id, hash, layout, packed, details, sampled "
            f"FROM columns r JOIN commits c ON c.id = r.commit_id WHERE {OF_FILES}"
        )
        layouts: dict[str, NDArray[np.int64]] = {}
        found: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
        with self._database.reading() as connection:
            rows = connection.cursor(query, [self._database.project_id])
            for machine, environment, began, file, commit, layout, packed, details, sampled in rows:
                if layout not in layouts:
                    layouts[layout] = np.array(series_in(packed), dtype=np.int64)
                numbers = np.array([one or 0 for one in msgpack.decode(details)[0]], dtype=np.int64)
                repeats = np.array([len(one or b"") // 8 for one in msgpack.decode(sampled or b"\x90")])
                one = (began or "", file), commit, layouts[layout], numbers, repeats
                found[machine, environment].append(one)
        return {of: sorted(files, key=itemgetter(0)) for of, files in found.items()}
