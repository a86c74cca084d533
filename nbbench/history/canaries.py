"""What canaries say of the machine: fixed programs of ours, timed beside each benchmark in its own process.

They never change, so what moves them is the machine or its other users, never the subject.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from nbbench.model import ProcessRecord, SeriesKey
from nbbench.stats.canary import canary_jump

PROGRAMS = ("frames_s", "arithmetic_s")
"""What `probe.canary` times: elementwise operations over frames of memory, and arithmetic in the cache."""

CanaryLevels = Mapping[str, float]
"""Seconds by program."""

ResultPlace = tuple[str, str, str, str]
"""A result: commit, machine, environment, benchmark."""


@dataclass(frozen=True, slots=True)
class Canaries:
    """Levels of the canaries, and when they were timed (seconds of the epoch), by `ResultPlace`."""

    levels: Mapping[ResultPlace, CanaryLevels]
    times: Mapping[ResultPlace, float]

    def beside(self, key: SeriesKey, commits: Sequence[str]) -> NDArray[np.float64]:
        """Seconds (programs, n) beside a series at each of `commits`; NaN where none was timed."""
        nothing: CanaryLevels = {}
        rows = [self.levels.get(place, nothing) for place in _places(key, commits)]
        return np.array([[row.get(name, math.nan) for row in rows] for name in PROGRAMS], dtype=np.float64)

    def at(self, key: SeriesKey, commits: Sequence[str]) -> NDArray[np.float64]:
        """When (n,) they were timed; NaN where none was."""
        return np.array([self.times.get(place, math.nan) for place in _places(key, commits)])


def _places(key: SeriesKey, commits: Sequence[str]) -> list[ResultPlace]:
    return [(commit, key.machine, key.environment, key.benchmark) for commit in commits]


def canary_levels(records: Iterable[ProcessRecord]) -> Canaries:
    """The canaries beside each result: the median over its processes of the geometric mean of the time
    before and after the benchmark, and when the last of them began."""
    found: dict[ResultPlace, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    times: dict[ResultPlace, float] = {}
    for record in records:
        place = (record.commit, record.machine, record.environment, record.benchmark)
        for name, seconds in _seconds(record).items():
            found[place][name].append(seconds)
            times[place] = max(record.started_at.timestamp(), times.get(place, 0.0))
    levels = {place: {name: median(each) for name, each in timed.items()} for place, timed in found.items()}
    return Canaries(levels, times)


def machine_jump(
    before: Iterable[ProcessRecord], after: Iterable[ProcessRecord], benchmarks: Collection[str]
) -> float:
    """Log ratio by which every canary beside these benchmarks moved: the least of them, and 0.0 where they
    disagree, where the jump is within their noise or where none was timed."""
    sides = [[_seconds(r) for r in records if r.benchmark in benchmarks] for records in (before, after)]
    jumps = [
        canary_jump(*([timed[name] for timed in side if name in timed] for side in sides))
        for name in PROGRAMS
    ]
    least = min(jumps, key=abs)
    return least if all(jump * least > 0 for jump in jumps) else 0.0


def _seconds(record: ProcessRecord) -> dict[str, float]:
    """Geometric mean of both times of each program; empty where telemetry has none or is damaged."""
    said = dict(record.extra).get("canary")
    if not isinstance(said, Mapping):
        return {}
    means = {}
    for name in PROGRAMS:
        pair = said.get(name)
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(_is_time(seconds) for seconds in pair):
            means[name] = math.sqrt(pair[0] * pair[1])
    return means


def _is_time(seconds: object) -> bool:
    return isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds > 0
