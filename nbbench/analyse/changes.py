"""From series to change points: detection, commit intervals, false-discovery control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench import units
from nbbench.analyse.order import CommitOrder
from nbbench.analyse.roles import Role, ledger_families, role
from nbbench.model import ChangePoint, Commit, Ledger, Point, ProcessRecord, Series, Status
from nbbench.stats.changepoint import Step, detect_steps, exact_steps
from nbbench.stats.fdr import q_values

# A minor fault costs about 1.7 µs (docs/findings.md): fewer than this are lost in any run.
FAULTS_THAT_COUNT = 1000
# Scalars set up once a run move totals in the sixth digit; `nbbench ledger` lists those too.
EXACT_THAT_COUNTS = 1e-4
FALSE_DISCOVERY_RATE = 0.05
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
    alpha: float = 0.01,
    min_effect: float = 0.05,
    progress: Callable[[int, int], None] | None = None,
) -> list[ChangePoint]:
    """Change points of every series of `history`.

    Exact counters are compared exactly. Noisy series are tested at `alpha` each; what is
    found must also pass Benjamini–Hochberg over all noisy series at FALSE_DISCOVERY_RATE, and
    changes below `min_effect` (a log ratio) are left out. The machine's own series are never
    tested: they explain.
    """
    order = history.order()
    changed = _changed_work(history.ledgers, order)
    found: list[ChangePoint] = []
    tests = 0
    for count, series in enumerate(history.series, start=1):
        points = [p for p in order.sort(series.points) if p.status is not Status.SKIPPED]
        values = np.array([np.nan if p.value is None else p.value for p in points], dtype=np.float64)
        steps: Iterable[Step] = ()
        if units.is_exact(series.unit):
            steps = exact_steps(values, rel_tol=1e-9)
        elif role(series.key, series.unit, series.kind) is not Role.MACHINE:
            tests += 1
            confirmed = _vouched(series, points, changed)
            steps = detect_steps(
                values, confirmed=confirmed, min_segment=_MIN_SEGMENT, alpha=alpha, min_effect=min_effect
            )
        found += [_change_point(order, series, points, step) for step in steps]
        if progress is not None:
            progress(count, len(history.series))
    return _significant(found, tests)


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
