"""From series to change points: detection, commit intervals, false-discovery control."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nbbench import units
from nbbench.analyse.canaries import Canaries, canary_levels
from nbbench.analyse.disturbed import Spoilt, is_spoilt, spoilt_results
from nbbench.analyse.order import CommitOrder
from nbbench.analyse.repeats import Repeats, repeated
from nbbench.analyse.roles import Role, ledger_families, role
from nbbench.model import ChangePoint, Commit, Ledger, Point, ProcessRecord, Series, Status
from nbbench.stats.canary import held_up, remove_drift
from nbbench.stats.changepoint import Step, exact_steps
from nbbench.stats.fdr import q_values
from nbbench.stats.many import Rules, Values, detect_many, useful_jobs
from nbbench.stats.short_levels import ALONE

# A minor fault costs about 1.7 µs (docs/findings.md): fewer than this are lost in any run.
FAULTS_THAT_COUNT = 1000
# Scalars set up once a run move totals in the sixth digit; `nbbench ledger` lists those too.
EXACT_THAT_COUNTS = 1e-4
FALSE_DISCOVERY_RATE = 0.05
# Of one series; the false-discovery rate over all of them is what keeps alarms away. 0.01 loses
# one in eight steps of 5 % at a noise of 2 % and saves no alarm (docs/scorecard.md, tuning half).
SERIES_ALPHA = 0.05
# Work that differs by less is no reason to believe a level of one commit: a single time is not
# that certain (the two real ones on record moved the bytes by 20 and 24 %).
_CHANGED_SHARE = 0.05
_MIN_SEGMENT = 3


@dataclass(frozen=True, slots=True)
class History:
    """Everything that detection looks at.

    `series` are gone through once; those of a database are read as they are asked for (`streamed`), so that
    a large one need not fit into memory. `commits` are the commits of the branch that changed the measured
    paths, measured or not (without positions they are in order already); `ledgers` are keyed by tree, then
    workload; `records` is the telemetry; `machine` are the machine's own series where they are streamed;
    `repeats` holds results that were collected more than once.
    """

    series: Collection[Series]
    commits: tuple[Commit, ...]
    ledgers: Mapping[str, Mapping[str, Ledger]]
    records: tuple[ProcessRecord, ...] = ()
    streamed: bool = False
    machine: tuple[Series, ...] = ()
    points: int = 0
    repeats: Repeats = field(default_factory=dict)

    def order(self) -> CommitOrder:
        """The commits along the branch; a database lists all those of its series."""
        return CommitOrder(self.commits, () if self.streamed else self.series)

    def ceilings(self) -> list[Series]:
        """The machine's own series, which explain and are never judged."""
        found = self.machine if self.streamed else self.series
        return [s for s in found if role(s.key, s.unit, s.kind) is Role.MACHINE]

    def size(self) -> int:
        """How many points there are to judge."""
        return self.points if self.streamed else sum(len(s.points) for s in self.series)


def find_changes(
    history: History,
    *,
    alpha: float = SERIES_ALPHA,
    min_effect: float = 0.05,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ChangePoint]:
    """Change points of every series of `history`, in its order.

    Exact counters are compared exactly. Noisy series are tested at `alpha` each; what is
    found must also pass Benjamini–Hochberg over all noisy series at FALSE_DISCOVERY_RATE, and
    changes below `min_effect` (a log ratio) are left out. The machine's own series are never
    tested: they explain. Results whose processes or canaries were held up are left out, unless that is
    half of the series or more, and what the canaries show of the machine's drift is taken out of times
    where that lowers their error. A level of one or two commits needs the word of the ledger or of a
    second collection. `jobs` processes share the work (as many as are worth starting where
    it is None); the result does not depend on it, and few series are in memory at a time.
    """
    order = history.order()
    evidence = _Evidence(history, order)
    found: list[tuple[int, ChangePoint]] = []
    waiting: deque[tuple[int, Series, list[Point]]] = deque()

    def noisy_values() -> Iterator[Values]:
        """Values of the noisy series; the exact ones are judged on the way."""
        for place, series in enumerate(history.series):
            points = _measured(order, series)
            if units.is_exact(series.unit):
                steps = exact_steps(_values(points), rel_tol=1e-9)
                found.extend((place, _change_point(order, series, points, step)) for step in steps)
            elif _is_noisy(series):
                waiting.append((place, series, points))
                yield evidence.values(series, points), evidence.confirmed(series, points)
            if progress is not None:
                progress(place + 1, len(history.series))

    if jobs is None:
        jobs = useful_jobs(history.size())
    noisy = 0
    for steps in detect_many(noisy_values(), Rules(_MIN_SEGMENT, alpha, min_effect), jobs=jobs):
        place, series, points = waiting.popleft()
        found += [(place, _change_point(order, series, points, step)) for step in steps]
        noisy += 1
    found.sort(key=lambda pair: pair[0])
    return _significant([change for _, change in found], noisy)


class _Evidence:
    """What telemetry, ledgers and second collections say of single results."""

    def __init__(self, history: History, order: CommitOrder) -> None:
        self._spoilt: Spoilt = spoilt_results(history.records)
        self._canaries: Canaries = canary_levels(history.records)
        self._changed = _changed_work(history.ledgers, order)
        self._repeats = history.repeats

    def values(self, series: Series, points: Sequence[Point]) -> NDArray[np.float64]:
        """The values without those of a disturbed machine, and times without its drift."""
        values = _values(points)
        disturbed = np.zeros(values.size, dtype=np.bool_)
        if self._spoilt:
            disturbed[:] = [is_spoilt(self._spoilt, series.key, p.commit) for p in points]
        beside = None
        if self._canaries.levels and role(series.key, series.unit, series.kind) is Role.TIME:
            commits = [p.commit for p in points]
            beside = self._canaries.beside(series.key, commits)
            disturbed |= held_up(beside, self._canaries.at(series.key, commits))
        if 2 * disturbed.sum() < disturbed.size:
            values = np.where(disturbed, np.nan, values)
        return values if beside is None else remove_drift(values, beside)[0]

    def confirmed(self, series: Series, points: Sequence[Point]) -> NDArray[np.int64]:
        """Short levels that the ledger vouches for, and points that a second collection does, as
        `detect_steps` takes them."""
        vouched = _vouched(series, points, self._changed)
        again = self._repeats.get(series.key)
        if not again:
            return vouched
        return np.where((vouched == 0) & repeated(points, again, _MIN_SEGMENT), ALONE, vouched)


def _is_noisy(series: Series) -> bool:
    return not units.is_exact(series.unit) and role(series.key, series.unit, series.kind) is not Role.MACHINE


def _measured(order: CommitOrder, series: Series) -> list[Point]:
    return [p for p in order.sort(series.points) if p.status is not Status.SKIPPED]


def _values(points: Sequence[Point]) -> NDArray[np.float64]:
    return np.array([np.nan if p.value is None else p.value for p in points], dtype=np.float64)


def _significant(found: list[ChangePoint], tests: int) -> list[ChangePoint]:
    noisy = [change for change in found if change.kind != "exact"]
    # Every noisy series was one test, whether or not it yielded a change point.
    q = q_values([change.p_value for change in noisy], tests=max(tests, len(noisy), 1))
    kept = {id(c) for c, value in zip(noisy, q, strict=True) if value <= FALSE_DISCOVERY_RATE}
    return [c for c in found if (c.kind == "exact" or id(c) in kept) and _relevant(c)]


def _relevant(change: ChangePoint) -> bool:
    """A certain change may still be too small to matter: a few scalars, a few faults."""
    if change.kind == "exact":
        return abs(change.effect) >= EXACT_THAT_COUNTS
    return change.unit != "faults" or abs(change.after - change.before) >= FAULTS_THAT_COUNT


def _changed_work(ledgers: Mapping[str, Mapping[str, Ledger]], order: CommitOrder) -> dict[str, set[str]]:
    """By commit, the workloads whose ledger differs from the one before."""
    changed: dict[str, set[str]] = {}
    last: dict[str, tuple[float, int]] = {}
    for commit in order.commits:
        for workload, ledger in ledgers.get(commit.tree, {}).items():
            if ledger.error or not ledger.pixels:
                continue
            now = (ledger.bytes_per_pixel, ledger.ops)
            before = last.get(workload, now)
            if any(abs(b - a) > _CHANGED_SHARE * a for a, b in zip(before, now, strict=True)):
                changed.setdefault(commit.hash, set()).add(workload)
            last[workload] = now
    return changed


def _vouched(series: Series, points: Sequence[Point], changed: Mapping[str, set[str]]) -> NDArray[np.int64]:
    """Numbers (n,) of the levels shorter than the least segment whose ends are changes of the series' own
    work; 0 elsewhere."""
    families = ledger_families(series.key)
    starts = [
        i
        for i, point in enumerate(points)
        if i == 0 or any(name.startswith(families) for name in changed.get(point.commit, ()))
    ]
    numbers = np.zeros(len(points), dtype=np.int64)
    if families and len(starts) > 1:
        for number, (first, end) in enumerate(pairwise([*starts, len(points)]), start=1):
            if end - first < _MIN_SEGMENT:
                numbers[first:end] = number
    return numbers


def _change_point(order: CommitOrder, series: Series, points: Sequence[Point], step: Step) -> ChangePoint:
    """The commits between the last certain old level and the first certain new one."""
    lo, hi = points[step.lo].commit, points[step.hi].commit
    if step.lo > 0 and step.kind != "drift":
        # The culprit may not have been measured: it follows the last point at the old level.
        lo = order.after(points[step.lo - 1].commit)
    return ChangePoint(
        key=series.key,
        unit=series.unit,
        kind="exact" if units.is_exact(series.unit) else step.kind,
        lo_commit=lo,
        hi_commit=hi,
        before=step.before,
        after=step.after,
        effect=step.effect,
        effect_lo=step.effect_lo,
        effect_hi=step.effect_hi,
        p_value=step.p_value,
        worse=units.worse(series.unit, step.effect),
    )
