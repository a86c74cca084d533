"""The site's series: one compact index over all of them, and their points in shards of a few dozen."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.history.ledger_series import ANY_MACHINE
from nbbench.history.telemetry import PROGRAMS
from nbbench.metrics import Metric, Role, metric_of
from nbbench.model import ChangePoint, Flag, Series, SeriesKey, Status
from nbbench.plan.values import series_name
from nbbench.report import events
from nbbench.report.site_branch import BranchCurves
from nbbench.stats.arrays import FloatArray, IntArray
from nbbench.stats.noise import MAD_TO_SIGMA, median

if TYPE_CHECKING:
    from nbbench.report.site import SiteFacts

_SHARD_POINTS = 8_000  # about 100 kB: a series opens by one small file
_STATES = {Status.FAILED: 1, Status.SKIPPED: 2}
_DISTURBED, _KERNEL_POWER = 3, -8
_LARGEST = 2.0**63
_SAMPLED = 2  # samples of a point that have an extent
_FEWEST = 6  # points from whose differences a scatter is told


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A series as arrays: the ``places`` (n,) of its commits in the site; ``values`` (n,), NaN where it has
    none; ``states`` (n,), 1 where it failed and 2 where it was skipped, else 0; samples by point, or none."""

    key: SeriesKey
    unit: str
    kind: str
    places: IntArray
    values: FloatArray
    states: NDArray[np.int8]
    samples: Sequence[tuple[float, ...]] = ()

    @classmethod
    def of(cls, series: Series, places: Mapping[str, int]) -> Self:
        """A series in memory; ``places`` are those of commits by hash."""
        points = series.points
        values = [np.nan if p.value is None or p.status is not Status.OK else p.value for p in points]
        return cls(
            series.key,
            series.unit,
            series.kind,
            np.array([places[point.commit] for point in points], dtype=np.int64),
            np.array(values, dtype=np.float64),
            np.array([_STATES.get(point.status, 0) for point in points], dtype=np.int8),
            [point.samples for point in points] if any(point.samples for point in points) else (),
        )


class SeriesIndex:
    """Takes series one after the other, gives their documents, and remembers what the other pages need.

    `curves` are those of the branch's page; `scatter` tells by machine, for each timed series, the share by
    which neighbouring values differ by chance; `results` counts results, and those that were disturbed.
    """

    def __init__(self, flags: Sequence[Flag], places: Mapping[str, int], facts: "SiteFacts") -> None:
        """`places` are those of commits by hash; `flags` in the order of the events' numbers."""
        self.curves = BranchCurves()
        self.scatter: dict[str, list[tuple[str, float]]] = defaultdict(list)
        self.results: dict[str, Counter[str]] = defaultdict(Counter)
        self._places, self._facts = places, facts
        self._disturbed, self._accompanied = (
            {place[1:] for place in found} for found in (facts.disturbed, facts.canaries.levels)
        )
        self._numbers: dict[SeriesKey, int] = {}
        self._rows: list[tuple[int, ...]] = []
        self._words: dict[str, int] = {}
        self._changes: dict[SeriesKey, list[tuple[int, ChangePoint]]] = defaultdict(list)
        for number, flag in enumerate(flags):
            for change in flag.event.changes:
                self._changes[change.key].append((number, change))

    def __len__(self) -> int:
        return len(self._rows)

    def number(self, key: SeriesKey) -> int:
        """The row of a series; -1 where it has none."""
        return self._numbers.get(key, -1)

    def named(self, texts: Iterable[str], machine: str) -> list[int]:
        """The rows of series that a plan names, of one machine ("": of all); exact work belongs to each."""
        names = set(map(series_name, texts))
        return [
            number
            for key, number in self._numbers.items()
            if machine in ("", key.machine) or key.machine == ANY_MACHINE
            if (key.benchmark, tuple(value for _, value in key.params)) in names
        ]

    def document(self) -> dict[str, Any]:
        """The index: `words`, and a row a series: benchmark, parameters, machine, environment, unit, role,
        phase (numbers of words), changes, points, shard."""
        return {"words": list(self._words), "rows": self._rows}

    def shards(self, series: Iterable[Series | Drawn]) -> Iterator[tuple[str, Any]]:
        """The points of all series (`series/N`) and, apart, their samples (`samples/N`).

        Lists of commits stand once a shard. Figures are whole numbers, to be multiplied by 10 to the power
        `e`: half as long as decimal fractions, with at least five digits of the smallest.
        """
        shard, points = 0, 0
        kept: dict[int, Any] = {}
        samples: dict[int, Any] = {}
        lines: dict[tuple[int, ...], int] = {}
        for number, found in enumerate(series):
            one = found if isinstance(found, Drawn) else Drawn.of(found, self._places)
            if points >= _SHARD_POINTS:
                yield from _shard(shard, lines, kept, samples)
                shard, points, kept, samples, lines = shard + 1, 0, {}, {}, {}
            made = self._points(one, shard)
            kept[number] = made | {"at": lines.setdefault(tuple(made["at"]), len(lines))}
            points += one.places.size
            if "n" in made:
                samples[number] = [_packed(taken, made["e"]) for taken in one.samples]
        if kept:
            yield from _shard(shard, lines, kept, samples)

    def _points(self, one: Drawn, shard: int) -> dict[str, Any]:
        """Places, values, what is to be said of single points, changes, reference kernels beside it."""
        key, facts = one.key, self._facts
        metric = metric_of(key, one.unit, one.kind, facts.directions)
        place = key.machine, key.environment, key.benchmark
        at = one.places.tolist()
        states = {int(i): int(one.states[i]) for i in np.flatnonzero(one.states)}
        if place in self._disturbed:
            commits = enumerate(facts.commits[rank].hash for rank in at)
            left_out = (i for i, commit in commits if (commit, *place) in facts.disturbed)
            states |= {i: _DISTURBED for i in left_out if i not in states}
        power = _power(one.values, 6 if metric.exact else 5)
        made: dict[str, Any] = {
            "at": at,
            "e": power,
            "v": _packed(one.values, power),
            "s": states,
            "ev": [self._change(*change) for change in self._changes.get(key, ())],
        }
        if any(len(taken) >= _SAMPLED for taken in one.samples):
            made["lo"] = _packed([min(taken, default=np.nan) for taken in one.samples], power)
            made["hi"] = _packed([max(taken, default=np.nan) for taken in one.samples], power)
            made["n"] = [len(taken) for taken in one.samples]
        if metric.role is Role.TIME and place in self._accompanied:
            beside = [facts.canaries.levels.get((facts.commits[rank].hash, *place), {}) for rank in at]
            made["c"] = [
                _packed([one.get(name, np.nan) for one in beside], _KERNEL_POWER) for name in PROGRAMS
            ]
        self._remember(one, metric, shard, made)
        return made

    def _remember(self, one: Drawn, metric: Metric, shard: int, made: Mapping[str, Any]) -> None:
        key, number = one.key, len(self._rows)
        self._numbers[key] = number
        parameters = key.label[len(key.benchmark) + 1 : -1]
        about = (metric.unit, metric.role, metric.phase)
        words = (key.benchmark, parameters, key.machine, key.environment, *map(str, about))
        named = (self._words.setdefault(word, len(self._words)) for word in words)
        self._rows.append((*named, len(made["ev"]), len(made["at"]), shard))
        self.curves.add(key, metric, number, made)
        if metric.exact or metric.role is not Role.TIME:
            return
        self.results[key.machine].update(results=len(made["at"]))
        self.results[key.machine].update(disturbed=sum(state == _DISTURBED for state in made["s"].values()))
        usable = (one.values > 0) & np.isfinite(one.values)
        usable[list(made["s"])] = False
        good = one.values[usable]
        if good.size >= _FEWEST:
            moves = np.abs(np.diff(np.log(good)))
            self.scatter[key.machine].append((key.label, MAD_TO_SIGMA * median(moves) / math.sqrt(2)))

    def _change(self, event: int, change: ChangePoint) -> tuple[Any, ...]:
        """A change point: event, first and last commit, both levels, how much, +1 where it is worse."""
        places = [self._places.get(commit, -1) for commit in (change.lo_commit, change.hi_commit)]
        way = 1 if change.worse else -1 if change.direction == "improvement" else 0
        return event, *places, change.before, change.after, events.moved(change), way


def _shard(
    shard: int, lines: Iterable[tuple[int, ...]], kept: Mapping[int, Any], samples: Mapping[int, Any]
) -> Iterator[tuple[str, Any]]:
    yield f"series/{shard}", {"at": list(lines), "series": kept}
    yield f"samples/{shard}", samples


def _power(values: FloatArray, digits: int) -> int:
    """The power of ten in which the smallest value has so many digits; 0 where all are whole."""
    known = np.abs(values[np.isfinite(values) & (values != 0)])
    if (known == np.floor(known)).all():
        return 0
    least, most = (math.floor(math.log10(end)) for end in (known.min(), known.max()))
    return max(least - digits + 1, most - 15, -300)


def _packed(values: ArrayLike, power: int) -> list[int | None]:
    """Values in units of 10 to this power, whole; None for what is no figure, or too large for one."""
    scaled = np.asarray(values, dtype=np.float64) * 10.0**-power
    fits = np.abs(scaled) < _LARGEST
    whole: list[int | None] = np.where(fits, np.rint(scaled), 0.0).astype(np.int64).tolist()
    for place in np.flatnonzero(~fits):
        whole[place] = None
    return whole
