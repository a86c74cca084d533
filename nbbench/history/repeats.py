"""Commits that were collected more than once: contention does not come back at the same commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from nbbench.model import ProcessRecord, Series, SeriesKey
from nbbench.stats.short_levels import confirmed_by_repeats

Repeats = Mapping[SeriesKey, Mapping[str, tuple[float, float]]]
"""By series and commit, the value of the first and of the last collection."""

SHARE = 4
"""asv appends the samples of a later collection to those of the earlier ones: the first and the last quarter
belong to different collections, unless one took three times the samples of the other."""

LEAST_SAMPLES = 2
"""Fewer samples of one collection than this are one lucky or unlucky run."""


def collected_again(records: Iterable[ProcessRecord]) -> frozenset[tuple[str, str, str, str]]:
    """Commit, machine, environment and benchmark of results that telemetry says were collected more than
    once. Telemetry older than the mark of a collection says nothing."""
    seen: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for record in records:
        mark = dict(record.extra).get("collection")
        if record.kind == "run" and record.exit_code == 0 and mark:
            seen[record.commit, record.machine, record.environment, record.benchmark].add(str(mark))
    return frozenset(place for place, marks in seen.items() if len(marks) > 1)


def repeats_of(series: Iterable[Series], again: frozenset[tuple[str, str, str, str]]) -> Repeats:
    """Values of the first and last collection of the results ``again``, by the samples of ``series``."""
    found: dict[SeriesKey, dict[str, tuple[float, float]]] = {}
    for one in series:
        key = one.key
        for point in one.points:
            if (point.commit, key.machine, key.environment, key.benchmark) in again and point.samples:
                share = len(point.samples) // SHARE
                if share >= LEAST_SAMPLES:
                    ends = median(point.samples[:share]), median(point.samples[-share:])
                    found.setdefault(key, {})[point.commit] = ends
    return found


def repeated(
    commits: Sequence[str],
    values: NDArray[np.float64],
    again: Mapping[str, tuple[float, float]],
    min_segment: int,
) -> NDArray[np.bool_]:
    """Which of the ``values`` (n,) at ``commits`` stand out of their neighbours in the same way in both of
    their collections.

    A point that was collected once is its own neighbour in both rows, and is never confirmed.
    """
    if values.size == 0:
        return np.zeros(0, dtype=np.bool_)
    pairs = zip(commits, values.tolist(), strict=True)
    rows = np.array([again.get(commit, (value, value)) for commit, value in pairs], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(rows.T)
    twice = np.array([commit in again for commit in commits], dtype=np.bool_)
    return confirmed_by_repeats(np.where(np.isfinite(logs), logs, np.nan), min_segment) & twice
