"""Change points of many series at once, on several processors."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.changepoint import Step, detect_steps
from nbbench.stats.detector import Rules

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

ALARMS_PER_POINT = 1e-3
"""False alarms that short series may raise: one in a thousand points."""

LEAST_POINTS = 1_000_000
"""Below this many points (a few seconds) one process is done before others have started."""


MOST_JOBS = 16
"""Processes that share work, however many cores there are. Each is a client of the database (PostgreSQL takes
100 by default) or holds a warm server of several hundred MiB."""


def detect_one(
    values: NDArray[np.float64], confirmed: NDArray[np.int64] | None, rules: Rules
) -> tuple[Step, ...]:
    """`detect_steps` of a series by the rules of many, whose ``alpha`` is lowered for short ones."""
    return detect_steps(
        values,
        confirmed=confirmed,
        min_segment=rules.min_segment,
        alpha=series_alpha(rules.alpha, values.size),
        min_effect=rules.min_effect,
    )


def share_work(
    work: Callable[[_Item], _Answer], items: Iterable[_Item], *, jobs: int = 1
) -> Iterator[_Answer]:
    """``work`` done on each of ``items``, answers in their order.

    With ``jobs`` > 1 that many processes share the items; ``work`` is sent to each of them once, so it may be
    large. Answers wait for the slowest one before them; at most two items a process are under way.
    """
    if jobs <= 1:
        yield from map(work, items)
        return
    waiting: deque[Future[_Answer]] = deque()
    # spawned, because the caller may hold threads and database connections that a fork would copy
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_take, initargs=(work,)
    ) as pool:
        for item in items:
            waiting.append(pool.submit(_do, item))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_work: Callable[[Any], Any]
"""What this process, started by `share_work`, does."""


def _take(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work


def _do(item: Any) -> Any:
    return _work(item)


def series_alpha(alpha: float, n: int) -> float:
    """Error rate of a series of ``n`` points: ``alpha``, but no more than ALARMS_PER_POINT allow."""
    return min(alpha, ALARMS_PER_POINT * max(n, 1))


def useful_jobs(points: int) -> int:
    """Processes worth starting for ``points`` values in all: one for few, else as many as there are cores to
    use, MOST_JOBS at most."""
    if points < LEAST_POINTS:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(cores, MOST_JOBS)
