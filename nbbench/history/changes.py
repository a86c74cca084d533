"""From series to change points: detection, commit intervals, false-discovery control."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from nbbench.config import ImageTolerance
from nbbench.history.canaries import Canaries, canary_levels
from nbbench.history.confirmed import LONG, WorkHistory
from nbbench.history.curves import Curve, StoredCurves, curve
from nbbench.history.disturbed import Disturbed, disturbed_results, is_left_out
from nbbench.history.ledger_series import LEDGER_SERIES
from nbbench.history.order import CommitOrder
from nbbench.history.repeats import Repeats, repeated
from nbbench.history.setups import Setups
from nbbench.history.standing import (
    SeriesStanding,
    current,
    newly_failing,
    not_judged_series,
    standing,
    without_flips,
)
from nbbench.ledger import Ledger
from nbbench.metrics import LEAST_EXACT, Better, Metric, Role, change_metric, metric_of
from nbbench.model import ChangePoint, Commit, NotJudged, ProcessRecord, Series, SeriesKey
from nbbench.stats.canary import disturbed_beside, remove_drift
from nbbench.stats.changepoint import Step, exact_steps, level_effect
from nbbench.stats.detector import Rules
from nbbench.stats.fdr import q_values
from nbbench.stats.many import detect_one, share_work, useful_jobs
from nbbench.stats.short_levels import ALONE
from nbbench.work.ledger_diff import ROUNDING
from nbbench.workloads import Workloads, current_workloads, use_workloads, workload_of

FALSE_DISCOVERY_RATE = 0.05
# Of one series; the false-discovery rate over all of them is what keeps alarms away. 0.01 loses
# one in eight steps of 5 % at a noise of 2 % and saves no alarm (docs/scorecard.md, tuning half).
SERIES_ALPHA = 0.05
_MIN_SEGMENT = LONG
# A series of which half was measured on a busy machine shows what the others did: it takes a p-value a
# hundredth of the usual one to say that code did it.
DISTURBED_ALPHA = 0.01
# What a process reads at a time: a few megabytes, and a third of a second of detection.
_PART_POINTS = 100_000
# Databases take no longer lists in a query than some thousands.
_PART_SERIES = 2000


@dataclass(frozen=True, slots=True)
class History:
    """Everything that detection looks at.

    `series` are in memory; those of a database are `stored` and read where they are judged, so that a large
    one need not fit into memory. `commits` are the commits of the branch that changed the measured paths,
    measured or not (without positions they are in order already); `ledgers` are keyed by tree, then workload;
    `records` is the telemetry; `repeats` holds
    results that were collected more than once, `setups` what each was measured with; images that differ by
    less than `tolerance` are the same within rounding.
    """

    series: Collection[Series]
    commits: tuple[Commit, ...]
    ledgers: Mapping[str, Mapping[str, Ledger]]
    records: tuple[ProcessRecord, ...] = ()
    stored: StoredCurves | None = None
    repeats: Repeats = field(default_factory=dict)
    setups: Setups = field(default_factory=Setups)
    tolerance: ImageTolerance = ROUNDING

    def order(self) -> CommitOrder:
        """The commits along the branch; a database lists all those of its series."""
        return CommitOrder(self.commits)

    def size(self) -> int:
        """How many series there are to judge."""
        return len(self.stored or ()) + len(self.series)


@dataclass(frozen=True, slots=True)
class JudgedHistory:
    """The change points of a history in the order of its series, what fails at its end among them; what was
    not judged; and how many series were."""

    changes: list[ChangePoint]
    not_judged: list[NotJudged]
    judged: int


def judge_history(
    history: History,
    *,
    alpha: float = SERIES_ALPHA,
    min_effect: float = 0.05,
    declared: Mapping[str, Better] = MappingProxyType({}),
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> JudgedHistory:
    """Judge every series of `history`.

    Exact counters are compared exactly. Noisy series are tested at `alpha` each; what is
    found must also pass Benjamini–Hochberg over all noisy series at FALSE_DISCOVERY_RATE, and
    changes below `min_effect` (a log ratio) are left out. The machine's own series are never
    tested: they explain. Results whose processes or canaries were disturbed are left out, unless that is
    half of the series or more, and what the canaries show of the machine's drift is taken out of times
    where that lowers their error. A level of one or two commits needs the word of the ledger or of a
    second collection. `declared` gives directions of units. `jobs` processes share what is stored (as many
    as are worth starting where it is None); the result does not depend on it, and few of those series are in
    memory at a time.
    """
    order = history.order()
    judge = _Judge(
        order,
        _Evidence(history, order),
        Rules(_MIN_SEGMENT, alpha, min_effect),
        dict(declared),
        _counted(history),
    )
    done: list[_Judged] = []

    def tell() -> None:
        if progress is not None:
            progress(len(done), history.size())

    if (stored := history.stored) is not None and len(stored):
        jobs = useful_jobs(stored.points) if jobs is None else jobs
        for judged in share_work(
            _PartJudge(judge, stored, current_workloads()), _parts(stored), jobs=jobs if stored.shared else 1
        ):
            done += judged
            tell()
        done.sort(key=lambda one: one.place)
    for place, series in enumerate(history.series, start=len(done)):
        done.append(judge(place, curve(order, series)))
        tell()
    changes = _significant(
        [change for one in done for change in one.changes], sum(one.tested for one in done)
    )
    every = [one.standing for one in done if one.standing is not None]
    stand = current(every)
    return JudgedHistory(
        changes + newly_failing(stand, order), *not_judged_series(stand, every, order.commits)
    )


def _figure(key: SeriesKey) -> tuple[str, str]:
    """Workload and name of an exact count: the suite's tracks and the ledgers' series share them."""
    return workload_of(key) or "", key.benchmark.rpartition(".")[2]


def _counted(history: History) -> frozenset[tuple[str, str]]:
    """What the ledgers count."""
    return frozenset(_figure(s.key) for s in history.series if s.key.benchmark.startswith(LEDGER_SERIES))


def _parts(stored: StoredCurves) -> list[range]:
    size = min(max(_PART_POINTS * len(stored) // max(stored.points, 1), 1), _PART_SERIES)
    return [range(start, min(start + size, len(stored))) for start in range(0, len(stored), size)]


@dataclass(frozen=True, slots=True)
class _Judged:
    """The changes of one series, its place among all, whether it was tested (and not just compared), and how
    it stands at the end of the branch."""

    place: int
    changes: list[ChangePoint]
    tested: bool
    standing: SeriesStanding | None = None


@dataclass(frozen=True, slots=True)
class _Judge:
    """Finds the changes of one curve, whatever the others show."""

    order: CommitOrder
    evidence: _Evidence
    rules: Rules
    declared: Mapping[str, Better]
    counted: frozenset[tuple[str, str]]

    def __call__(self, place: int, one: Curve) -> _Judged:
        metric = metric_of(one.key, one.unit, one.kind, self.declared)
        if metric.exact and self._repeated(one.key):
            return _Judged(place, [], False)
        steps: tuple[Step, ...] = ()
        flips = 0
        tested = not metric.exact and metric.role is not Role.MACHINE
        if metric.exact:
            steps = exact_steps(one.values, rel_tol=1e-9)
        elif tested:
            values, sound = self.evidence.values(one)
            rules = self.rules if sound else replace(self.rules, alpha=self.rules.alpha * DISTURBED_ALPHA)
            # What is lost in any run (a few page faults) is no level of its own: it would move a step.
            floored = np.maximum(values, metric.least_change) if metric.least_change else values
            steps = detect_one(floored, self.evidence.confirmed(one), rules)
            if steps and metric.least_change:
                steps = _levels_as_measured(steps, values)
            if not self.evidence.works_differently(one):
                steps, flips = without_flips(steps)
        found = [_change_point(self.order, one, step, metric) for step in steps]
        stand = standing(self.order, one, metric, steps, flips, self.rules.min_effect)
        return _Judged(place, found, tested, stand)

    def _repeated(self, key: SeriesKey) -> bool:
        """Whether the ledgers have the same count, of more commits: the suite's tracks serve asv's graphs."""
        return not key.benchmark.startswith(LEDGER_SERIES) and _figure(key) in self.counted


@dataclass(frozen=True, slots=True)
class _PartJudge:
    """Reads some curves of a database and judges them, in whichever process it is."""

    judge: _Judge
    stored: StoredCurves
    suite: Workloads

    def __call__(self, part: range) -> list[_Judged]:
        use_workloads(self.suite)  # another process knows no project
        return [self.judge(place, one) for place, one in self.stored.read(part)]


class _Evidence:
    """What telemetry, ledgers and second collections say of single results."""

    def __init__(self, history: History, order: CommitOrder) -> None:
        self._disturbed: Disturbed = disturbed_results(history.records)
        self._canaries: Canaries = canary_levels(history.records)
        self._work = WorkHistory(history.ledgers, order, history.tolerance)
        self._repeats = history.repeats

    def values(self, one: Curve) -> tuple[NDArray[np.float64], bool]:
        """The values without those of a disturbed machine, and times without its drift; and whether most of
        the series was measured undisturbed (where not, nothing is left out)."""
        values = one.values
        disturbed = np.zeros(values.size, dtype=np.bool_)
        if self._disturbed:
            disturbed[:] = [is_left_out(self._disturbed, one.key, commit) for commit in one.commits]
        beside = None
        if self._canaries.levels and metric_of(one.key, one.unit, one.kind).role is Role.TIME:
            beside = self._canaries.beside(one.key, one.commits)
            disturbed |= disturbed_beside(beside, self._canaries.at(one.key, one.commits))
        sound = bool(2 * disturbed.sum() < max(disturbed.size, 1))
        if sound:
            values = np.where(disturbed, np.nan, values)
        return (values if beside is None else remove_drift(values, beside)[0]), sound

    def works_differently(self, one: Curve) -> bool:
        """Whether the exact work of a series changed anywhere along it."""
        levels = self._work.levels(one)
        return bool((levels != levels[:1]).any())

    def confirmed(self, one: Curve) -> NDArray[np.int64]:
        """Short levels that the work confirms, and points that a second collection does, as `detect_steps`
        takes them."""
        confirmed = self._work.confirmed(one)
        again = self._repeats.get(one.key)
        if not again:
            return confirmed
        repeats = repeated(one.commits, one.values, again, _MIN_SEGMENT)
        return np.where((confirmed == 0) & repeats, ALONE, confirmed)


def _significant(found: list[ChangePoint], tests: int) -> list[ChangePoint]:
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


def _levels_as_measured(steps: tuple[Step, ...], values: NDArray[np.float64]) -> tuple[Step, ...]:
    """Steps that were found in floored values, with the medians of the values (n,) themselves."""
    ends = [0, *(step.index for step in steps), values.size]
    levels = [float(np.median(part[np.isfinite(part)])) for part in (values[a:b] for a, b in pairwise(ends))]
    found = []
    for step, before, after in zip(steps, levels, levels[1:], strict=False):
        moved = level_effect(before, after) - step.effect
        found.append(
            replace(
                step,
                before=before,
                after=after,
                effect=step.effect + moved,
                effect_lo=step.effect_lo + moved,
                effect_hi=step.effect_hi + moved,
            )
        )
    return tuple(found)


def _change_point(order: CommitOrder, one: Curve, step: Step, metric: Metric) -> ChangePoint:
    """The commits between the last certain old level and the first certain new one."""
    lo, hi = one.commits[step.lo], one.commits[step.hi]
    if step.lo > 0 and step.kind != "drift":
        # The culprit may not have been measured: it follows the last point at the old level.
        lo = order.after(one.commits[step.lo - 1])
    return ChangePoint(
        key=one.key,
        unit=one.unit,
        kind="exact" if metric.exact else step.kind,
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
