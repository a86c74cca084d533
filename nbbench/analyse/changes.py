"""From series to change points: detection, commit intervals, false-discovery control."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench import units
from nbbench.analyse.disturbed import Spoilt, is_spoilt, spoilt_results
from nbbench.analyse.order import CommitOrder
from nbbench.analyse.roles import Role, ledger_families, role
from nbbench.model import ChangePoint, Commit, Ledger, Point, ProcessRecord, Series, Status
from nbbench.stats.changepoint import Step, exact_steps
from nbbench.stats.fdr import q_values
from nbbench.stats.many import Rules, Values, detect_many, useful_jobs

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

    `commits` are the commits of the branch that changed the measured paths, measured or not
    (without positions they are in order already); `ledgers` are keyed by tree, then workload;
    `records` is the telemetry.
    """

    series: tuple[Series, ...]
    commits: tuple[Commit, ...]
    ledgers: Mapping[str, Mapping[str, Ledger]]
    records: tuple[ProcessRecord, ...] = ()

    def order(self) -> CommitOrder:
        """The commits along the branch."""
        return CommitOrder(self.commits, self.series)


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
    tested: they explain. Results whose processes were kept waiting are left out, unless that is
    half of the series or more. `jobs` processes share the work (as many as are worth starting where
    it is None); the result does not depend on it.
    """
    order = history.order()
    changed = _changed_work(history.ledgers, order)
    noisy = [s for s in history.series if _is_noisy(s)]
    spoilt = spoilt_results(history.records)

    def noisy_values() -> Iterator[Values]:
        for series in noisy:
            points = _measured(order, series)
            yield _undisturbed(series, points, spoilt), _vouched(series, points, changed)

    if jobs is None:
        jobs = useful_jobs(sum(len(s.points) for s in noisy))
    steps_of = detect_many(noisy_values(), Rules(_MIN_SEGMENT, alpha, min_effect), jobs=jobs)
    found: list[ChangePoint] = []
    for count, series in enumerate(history.series, start=1):
        points = _measured(order, series)
        if units.is_exact(series.unit):
            steps = exact_steps(_values(points), rel_tol=1e-9)
        else:
            steps = next(steps_of) if _is_noisy(series) else ()
        found += [_change_point(order, series, points, step) for step in steps]
        if progress is not None:
            progress(count, len(history.series))
    return _significant(found, len(noisy))


def _is_noisy(series: Series) -> bool:
    return not units.is_exact(series.unit) and role(series.key, series.unit, series.kind) is not Role.MACHINE


def _measured(order: CommitOrder, series: Series) -> list[Point]:
    return [p for p in order.sort(series.points) if p.status is not Status.SKIPPED]


def _undisturbed(series: Series, points: Sequence[Point], spoilt: Spoilt) -> NDArray[np.float64]:
    values = _values(points)
    disturbed = np.array([is_spoilt(spoilt, series.key, p.commit) for p in points], dtype=np.bool_)
    return np.where(disturbed, np.nan, values) if 2 * disturbed.sum() < disturbed.size else values


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


def _vouched(series: Series, points: Sequence[Point], changed: Mapping[str, set[str]]) -> NDArray[np.bool_]:
    """Points of levels shorter than the least segment whose ends are changes of the series' own work."""
    families = ledger_families(series.key)
    starts = [
        i
        for i, point in enumerate(points)
        if i == 0 or any(name.startswith(families) for name in changed.get(point.commit, ()))
    ]
    flags = np.zeros(len(points), dtype=np.bool_)
    if families and len(starts) > 1:
        for first, end in zip(starts, [*starts[1:], len(points)], strict=True):
            flags[first:end] = end - first < _MIN_SEGMENT
    return flags


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
