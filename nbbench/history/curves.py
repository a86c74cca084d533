"""Series as detection takes them, in the order of the branch: of a database, or in memory; and the
processes that share the work on them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbbench.history.ledger_series import CommitOrder
from nbbench.model import Series, SeriesKey, Status
from nbbench.record.columns import SKIPPED, read_columns
from nbbench.record.store import Store

# What a process reads at a time: a few megabytes, and a third of a second of detection.
_PART_POINTS = 100_000
# Databases take no longer lists in a query than some thousands.
_PART_SERIES = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A series without what was skipped: the ``commits`` in order and their ``values`` (n,), NaN where the
    benchmark failed; ``skipped`` are the others."""

    key: SeriesKey
    unit: str
    kind: str
    commits: Sequence[str]
    values: NDArray[np.float64]
    skipped: Sequence[str] = ()


def curve(order: CommitOrder, series: Series) -> Curve:
    """A series in memory as a curve."""
    points = [p for p in order.sort(series.points) if p.status is not Status.SKIPPED]
    values = np.array([np.nan if p.value is None else p.value for p in points], dtype=np.float64)
    skipped = [p.commit for p in series.points if p.status is Status.SKIPPED]
    return Curve(series.key, series.unit, series.kind, [p.commit for p in points], values, skipped)


class StoredCurves:
    """The curves of an open database, counted by their ids.

    In another process it opens the database by its URL when it first reads. Each part is one state of the
    database; an import that goes on meanwhile may come between two parts, and the next detection sees all of
    it.
    """

    def __init__(self, store: Store, order: CommitOrder) -> None:
        self._store: Store | None = store
        self._url, self._project = store.url, store.project
        self._hashes = [commit.hash for commit in order.commits]
        self._ranks = store.ranks({commit.hash: place for place, commit in enumerate(order.commits)})
        # ids close together are read fastest; the place of each is that among all by name
        self._series: list[tuple[int, int, tuple[SeriesKey, str, str]]] = sorted(
            (number, place, (key, unit, kind))
            for place, (number, key, unit, kind) in enumerate(store.series_keys())
        )
        self.points = store.size()[1]

    @property
    def shared(self) -> bool:
        """Whether another process can open the database, too."""
        return self._url is not None

    def __len__(self) -> int:
        return len(self._series)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_store": None}

    def parts(self) -> list[range]:
        """What a process reads at a time."""
        size = min(max(_PART_POINTS * len(self) // max(self.points, 1), 1), _PART_SERIES)
        return [range(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def read(self, part: range) -> Iterator[tuple[int, Curve]]:
        """Some of the curves, each with its place among all by name. Raises StoreError."""
        if self._store is None:
            self._store = Store.open(str(self._url), create=False, project=self._project)
        known = {number: (place, named) for number, place, named in self._series[part.start : part.stop]}
        for number, column in read_columns(self._store, known, self._ranks):
            (place, named), measured = known[number], column.states != SKIPPED
            commits, skipped = (
                [self._hashes[rank] for rank in column.ranks[some].tolist()] for some in (measured, ~measured)
            )
            yield place, Curve(*named, commits, column.values[measured], skipped)


_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

MANY_POINTS = 1_000_000
"""Below this many points (a few seconds) one process is done before others have started."""

MOST_JOBS = 16
"""Processes that share work, however many cores there are. Each is a client of the database (PostgreSQL takes
100 by default) or holds a warm server of several hundred MiB."""


def share_work(
    work: Callable[[_Item], _Answer], items: Iterable[_Item], *, jobs: int = 1
) -> Iterator[_Answer]:
    """``work`` done on each of ``items``, answers in their order.

    With ``jobs`` > 1 that many processes share the items; ``work`` is sent to each of them once, so it may be
    large.
    """
    if jobs <= 1:
        yield from map(work, items)
        return
    # spawned, because the caller may hold threads and database connections that a fork would copy
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_take, initargs=(work,)
    ) as pool:
        yield from pool.map(_do, items)


_work: Callable[[Any], Any]
"""What this process, started by `share_work`, does."""


def _take(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work


def _do(item: Any) -> Any:
    return _work(item)


def useful_jobs(points: int) -> int:
    """Processes worth starting for ``points`` values in all: one for few, else as many as there are cores to
    use, MOST_JOBS at most."""
    if points < MANY_POINTS:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(cores, MOST_JOBS)
