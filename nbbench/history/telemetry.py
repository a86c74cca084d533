"""What telemetry says of single results: whether they were disturbed, collected again, what canaries took.

Canaries are fixed programs of ours, timed beside each benchmark in its own process. They never change, so
what moves them is the machine or its other users, never the subject.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from nbbench.disturbance import Disturbance, disturbance_of, mean_disturbance, typical_kept_waiting
from nbbench.model import ProcessRecord, SeriesKey

SLOWED = ("hardware slowdown", "thermal, by software", "thermal, by hardware", "power brake")

if TYPE_CHECKING:  # numpy, which reading telemetry does without
    import numpy as np
    from numpy.typing import NDArray

PROGRAMS = ("frames_s", "arithmetic_s")
"""What `probe.canary` times: elementwise operations over frames of memory, and arithmetic in the cache."""

ResultPlace = tuple[str, str, str, str]
"""A result: commit, machine, environment, benchmark."""

Collected = tuple[ResultPlace, str]
"""One collection of a result: its mark, as a result may be collected again."""

Disturbed = frozenset[ResultPlace]
"""Results whose processes were kept waiting: they are left out of detection."""


def by_result(records: Iterable[ProcessRecord]) -> dict[ResultPlace, list[ProcessRecord]]:
    """Telemetry by the result that its processes gave."""
    found: dict[ResultPlace, list[ProcessRecord]] = defaultdict(list)
    for record in records:
        found[result_place(record)].append(record)
    return found


def result_place(record: ProcessRecord) -> ResultPlace:
    """The result that a process took part in."""
    return record.commit, record.machine, record.environment, record.benchmark


def disturbed_collections(records: Iterable[ProcessRecord]) -> frozenset[Collected]:
    """Collections of a result whose typical process waited longer than `disturbance.WAITED_SHARE` of its
    time, or after which the GPU was throttled in most processes.

    Processes without a run-queue delay (other systems than Linux) say nothing.
    """
    return frozenset(name for name, ones in _by_collection(records).items() if _was_disturbed(ones))


def disturbed_results(records: Iterable[ProcessRecord]) -> Disturbed:
    """Results of which every collection was disturbed, as `disturbed_collections` has it."""
    found = _by_collection(records)
    return frozenset(place for place, _ in found) - {
        place for (place, _), ones in found.items() if not _was_disturbed(ones)
    }


def _by_collection(records: Iterable[ProcessRecord]) -> dict[Collected, list[ProcessRecord]]:
    found: dict[Collected, list[ProcessRecord]] = defaultdict(list)
    for record in records:
        if record.kind == "run":
            found[collected(record)].append(record)
    return found


def collected(record: ProcessRecord) -> Collected:
    """The collection that a process took part in."""
    return result_place(record), str(dict(record.extra).get("collection"))


def _was_disturbed(ones: Sequence[ProcessRecord]) -> bool:
    waited = typical_kept_waiting(filter(None, map(disturbance_of, ones)))
    return waited or 2 * sum(map(_throttled, ones)) > len(ones)


def rested_on(records: Sequence[ProcessRecord], disturbed: Collection[Collected]) -> Disturbance:
    """How busy the machine was for the results that levels rest on: without the collections that are left
    out, unless these are half or more."""
    kept = [record for record in records if collected(record) not in disturbed]
    return mean_disturbance(kept if 2 * len(kept) > len(records) else records)


def _throttled(record: ProcessRecord) -> bool:
    """Whether heat or a fault slowed the GPU down right after the benchmark; a power cap is everyday work."""
    said = dict(record.extra).get("gpu")
    reasons = said.get("throttle") if isinstance(said, Mapping) else None
    after = reasons[-1] if isinstance(reasons, list | tuple) and reasons else ()
    return isinstance(after, list | tuple) and any(str(reason) in SLOWED for reason in after)


def is_left_out(disturbed: Disturbed, key: SeriesKey, commit: str) -> bool:
    """Whether the series' result at ``commit`` is one of ``disturbed``."""
    return (commit, key.machine, key.environment, key.benchmark) in disturbed


def collected_again(records: Iterable[ProcessRecord]) -> frozenset[ResultPlace]:
    """Results that were collected more than once; telemetry without the mark of a collection says nothing."""

    def marks(ones: Iterable[ProcessRecord]) -> set[str]:
        ran = (dict(one.extra).get("collection") for one in ones if one.kind == "run" and one.exit_code == 0)
        return {str(mark) for mark in ran if mark}

    return frozenset(place for place, ones in by_result(records).items() if len(marks(ones)) > 1)


@dataclass(frozen=True, slots=True)
class Canaries:
    """Seconds of the canaries by program, and when they were timed (seconds of the epoch), by result."""

    levels: Mapping[ResultPlace, Mapping[str, float]]
    times: Mapping[ResultPlace, float]

    def beside(self, key: SeriesKey, commits: Sequence[str]) -> "NDArray[np.float64]":
        """Seconds (programs, n) beside a series at each of `commits`; NaN where none was timed."""
        import numpy as np

        if not self.levels:
            return np.full((len(PROGRAMS), len(commits)), np.nan)
        rows = [self.levels.get(place, {}) for place in _places(key, commits)]
        return np.array([[row.get(name, math.nan) for row in rows] for name in PROGRAMS], dtype=np.float64)

    def at(self, key: SeriesKey, commits: Sequence[str]) -> "NDArray[np.float64]":
        """When (n,) they were timed; NaN where none was."""
        import numpy as np

        if not self.times:
            return np.full(len(commits), np.nan)
        return np.array([self.times.get(place, math.nan) for place in _places(key, commits)])


def _places(key: SeriesKey, commits: Sequence[str]) -> list[ResultPlace]:
    return [(commit, key.machine, key.environment, key.benchmark) for commit in commits]


def canary_levels(records: Iterable[ProcessRecord]) -> Canaries:
    """The canaries beside each result: the median over its processes of the geometric mean of the time
    before and after the benchmark, and when the last of them began."""
    levels: dict[ResultPlace, Mapping[str, float]] = {}
    times: dict[ResultPlace, float] = {}
    for place, ones in by_result(records).items():
        timed = [(one, seconds) for one in ones if (seconds := _seconds(one))]
        if timed:
            each = {name: [s[name] for _, s in timed if name in s] for name in PROGRAMS}
            levels[place] = {name: median(found) for name, found in each.items() if found}
            times[place] = max(one.started_at.timestamp() for one, _ in timed)
    return Canaries(levels, times)


def machine_jump(
    before: Iterable[ProcessRecord], after: Iterable[ProcessRecord], benchmarks: Collection[str]
) -> float:
    """Log ratio by which every canary beside these benchmarks moved: the least of them, and 0.0 where they
    disagree, where the jump is within their noise or where none was timed."""
    from nbbench.stats.canary import canary_jump

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
    pairs = {name: said.get(name) for name in PROGRAMS} if isinstance(said, Mapping) else {}
    return {
        name: math.sqrt(pair[0] * pair[1])
        for name, pair in pairs.items()
        if isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_time(seconds) for seconds in pair)
    }


def _is_time(seconds: object) -> bool:
    return isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0
