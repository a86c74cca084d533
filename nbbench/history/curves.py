"""Series as detection takes them, in the order of the branch: of a database, or in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbbench.history.ledger_series import CommitOrder
from nbbench.metrics import LEAST_EXACT, Metric, change_metric
from nbbench.model import ChangePoint, Series, SeriesKey, Status
from nbbench.record.columns import SKIPPED, read_columns
from nbbench.record.store import Store
from nbbench.stats.changepoint import Step
from nbbench.stats.paired import q_values

# What a process reads at a time: a few megabytes, and a third of a second of detection.
_PART_POINTS = 100_000
# Databases take no longer lists in a query than some thousands.
_PART_SERIES = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A series without what was skipped: the ``commits`` in order, their ``places`` (n,) on the branch and
    their ``values`` (n,), NaN where the benchmark failed; ``skipped`` are the places of the others."""

    key: SeriesKey
    unit: str
    kind: str
    commits: Sequence[str]
    places: NDArray[np.int64]
    values: NDArray[np.float64]
    skipped: NDArray[np.int64]


def curve(order: CommitOrder, series: Series) -> Curve:
    """A series in memory as a curve."""
    points = [p for p in order.sort(series.points) if p.status is not Status.SKIPPED]
    values = np.array([np.nan if p.value is None else p.value for p in points], dtype=np.float64)
    commits = [p.commit for p in points]
    skipped = sorted(order.index(p.commit) for p in series.points if p.status is Status.SKIPPED)
    places = (np.array(some, dtype=np.int64) for some in (list(map(order.index, commits)), skipped))
    return Curve(series.key, series.unit, series.kind, commits, next(places), values, next(places))


def change_point(order: CommitOrder, one: Curve, step: Step, metric: Metric) -> ChangePoint:
    """The commits between the last certain old level and the first certain new one."""
    lo, hi = one.commits[step.lo], one.commits[step.hi]
    if step.lo > 0:
        # The culprit may not have been measured: it follows the last point at the old level.
        lo = order.after(one.commits[step.lo - 1])
    return ChangePoint(
        key=one.key,
        unit=one.unit,
        kind="exact" if metric.exact else "step",
        lo_commit=lo,
        hi_commit=hi,
        before=step.before,
        after=step.after,
        effect=step.effect,
        effect_lo=step.effect_lo,
        effect_hi=step.effect_hi,
        p_value=step.p_value,
        direction=metric.direction(step.effect),
    )


FALSE_DISCOVERY_RATE = 0.05


def significant(found: list[ChangePoint], tests: int) -> list[ChangePoint]:
    """The changes that matter, and of those of ``tests`` noisy series the ones that pass Benjamini and
    Hochberg's rule at FALSE_DISCOVERY_RATE."""
    noisy = [change for change in found if change.kind != "exact"]
    # Every noisy series was one test, whether or not it yielded a change point.
    q = q_values([change.p_value for change in noisy], tests=max(tests, len(noisy), 1))
    kept = {id(c) for c, value in zip(noisy, q, strict=True) if value <= FALSE_DISCOVERY_RATE}
    return [c for c in found if (c.kind == "exact" or id(c) in kept) and _relevant(c)]


def _relevant(change: ChangePoint) -> bool:
    """A certain change may still be too small to matter: a few scalars, a few faults."""
    if change.kind == "exact":
        return abs(change.effect) >= LEAST_EXACT
    return abs(change.after - change.before) >= change_metric(change).least_change


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
            places, skipped = column.ranks[measured], column.ranks[~measured]
            commits = list(map(self._hashes.__getitem__, places.tolist()))
            yield place, Curve(*named, commits, places, column.values[measured], skipped)
