"""Work on many series shared by several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

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
