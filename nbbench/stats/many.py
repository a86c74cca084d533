"""Change points of many series at once, on several processors."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.changepoint import Step, detect_steps

CHUNK_SERIES = 64
"""Series sent to a process at once: 64 of 1,200 points take it half a second and 0.6 MB."""

ALARMS_PER_POINT = 1e-3
"""False alarms that short series may raise: one in a thousand points."""

LEAST_POINTS = 1_000_000
"""Below this many points (a few seconds) one process is done before others have started."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Arguments of `detect_steps` that are the same for every series; ``alpha`` is lowered for short ones."""

    min_segment: int = 3
    alpha: float = 0.01
    min_effect: float = 0.0


Values = tuple[NDArray[np.float64], NDArray[np.int64] | None]
"""One series: its values and what is confirmed, as `detect_steps` takes them."""


def detect_many(series: Iterable[Values], rules: Rules, *, jobs: int = 1) -> Iterator[tuple[Step, ...]]:
    """`detect_steps` of each of ``series``, in their order.

    With ``jobs`` > 1 that many processes share the work. The result does not depend on ``jobs``, since a
    series is judged by itself; at most two chunks a process are in memory.
    """
    if jobs <= 1:
        for values, confirmed in series:
            yield _detect(values, confirmed, rules)
        return
    waiting: deque[Future[list[tuple[Step, ...]]]] = deque()
    # spawned, because the caller may hold threads and database connections that a fork would copy
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for chunk in _batched(series):
            waiting.append(pool.submit(_detect_chunk, chunk, rules))
            if len(waiting) > 2 * jobs:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def series_alpha(alpha: float, n: int) -> float:
    """Error rate of a series of ``n`` points: ``alpha``, but no more than ALARMS_PER_POINT allow."""
    return min(alpha, ALARMS_PER_POINT * max(n, 1))


def useful_jobs(points: int) -> int:
    """Processes worth starting for ``points`` values in all: one for few, else as many as there are cores to
    use."""
    if points < LEAST_POINTS:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _batched(series: Iterable[Values]) -> Iterator[tuple[Values, ...]]:
    iterator = iter(series)
    while chunk := tuple(itertools.islice(iterator, CHUNK_SERIES)):
        yield chunk


def _detect_chunk(chunk: tuple[Values, ...], rules: Rules) -> list[tuple[Step, ...]]:
    return [_detect(values, confirmed, rules) for values, confirmed in chunk]


def _detect(
    values: NDArray[np.float64], confirmed: NDArray[np.int64] | None, rules: Rules
) -> tuple[Step, ...]:
    return detect_steps(
        values,
        confirmed=confirmed,
        min_segment=rules.min_segment,
        alpha=series_alpha(rules.alpha, values.size),
        min_effect=rules.min_effect,
    )
