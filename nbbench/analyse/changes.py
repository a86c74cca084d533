"""From series to change points: detection, commit intervals, false-discovery control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from nbbench import units
from nbbench.analyse.roles import Role, role
from nbbench.model import ChangePoint, Commit, Ledger, Point, ProcessRecord, Series, Status
from nbbench.stats.changepoint import Step, detect_steps, exact_steps
from nbbench.stats.fdr import q_values

FALSE_DISCOVERY_RATE = 0.05


@dataclass(frozen=True, slots=True)
class History:
    """Everything that detection looks at.

    `commits` are the commits of the branch that changed the measured paths, measured or not;
    `ledgers` are keyed by tree, then workload; `records` is the telemetry.
    """

    series: tuple[Series, ...]
    commits: tuple[Commit, ...]
    ledgers: Mapping[str, Mapping[str, Ledger]]
    records: tuple[ProcessRecord, ...] = ()

    def by_hash(self) -> dict[str, Commit]:
        """Commits by full hash."""
        return {commit.hash: commit for commit in self.commits}


def find_changes(
    history: History,
    *,
    alpha: float = 0.01,
    min_effect: float = 0.05,
    progress: Callable[[int, int], None] | None = None,
) -> list[ChangePoint]:
    """Change points of every series of `history`.

    Exact counters are compared exactly. Noisy series are tested at `alpha` each; what is
    found must also pass Benjamini–Hochberg over all series at FALSE_DISCOVERY_RATE, and
    changes below `min_effect` (a log ratio) are left out.
    """
    order = _Order(history.commits)
    vouched = _changed_work(history)
    found: list[ChangePoint] = []
    for count, series in enumerate(history.series, start=1):
        points = [p for p in order.sort(series.points) if p.status is not Status.SKIPPED]
        values = np.array([np.nan if p.value is None else p.value for p in points], dtype=np.float64)
        if units.is_exact(series.unit):
            steps: Iterable[Step] = exact_steps(values, rel_tol=1e-9)
        elif role(series.key, series.unit, series.kind) is Role.MACHINE:
            steps = ()
        else:
            confirmed = np.array([p.commit in vouched for p in points], dtype=np.bool_)
            steps = detect_steps(values, confirmed=confirmed, alpha=alpha, min_effect=min_effect)
        found += [order.change_point(series, points, step) for step in steps]
        if progress is not None:
            progress(count, len(history.series))
    return _significant(found, len(history.series))


def _significant(found: list[ChangePoint], series: int) -> list[ChangePoint]:
    noisy = [change for change in found if change.kind != "exact"]
    if not noisy:
        return found
    # Every series was one test, whether or not it yielded a change point.
    q = q_values([change.p_value for change in noisy], tests=max(series, len(noisy)))
    kept = {id(c) for c, value in zip(noisy, q, strict=True) if value <= FALSE_DISCOVERY_RATE}
    return [change for change in found if change.kind == "exact" or id(change) in kept]


def _changed_work(history: History) -> set[str]:
    """Commits whose ledger differs from the one before: a level there may be as short as one commit."""
    changed: set[str] = set()
    last: dict[str, tuple[float, int]] = {}
    for commit in sorted(history.commits, key=_rank):
        for workload, ledger in history.ledgers.get(commit.tree, {}).items():
            if ledger.error or not ledger.pixels:
                continue
            now = (ledger.bytes_per_pixel, ledger.ops)
            if workload in last and abs(now[0] - last[workload][0]) > 0.005 * last[workload][0]:
                changed.add(commit.hash)
            last[workload] = now
    return changed


def _rank(commit: Commit) -> tuple[int, float]:
    return commit.position, commit.date.timestamp()


class _Order:
    """Commit order, and the unmeasured commits that lie between two measured ones."""

    def __init__(self, commits: Iterable[Commit]) -> None:
        ordered = sorted((c for c in commits if c.position), key=_rank)
        self._commits = ordered
        self._index = {commit.hash: i for i, commit in enumerate(ordered)}

    def sort(self, points: Iterable[Point]) -> list[Point]:
        """Known commits by position; others stay in the order in which the store gave them."""
        listed = list(points)
        return sorted(listed, key=lambda p: self._index.get(p.commit, -1)) if self._index else listed

    def change_point(self, series: Series, points: list[Point], step: Step) -> ChangePoint:
        """The commits between the last certain old level and the first certain new one."""
        since = step.lo - 1
        while since >= 0 and points[since].value is None:
            since -= 1
        lo, hi = points[step.lo].commit, points[step.hi].commit
        if since >= 0 and step.kind != "drift":
            lo = self._after(points[since].commit, lo)
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

    def _after(self, commit: str, default: str) -> str:
        """The commit that follows `commit` on the branch (it may not have been measured)."""
        index = self._index.get(commit)
        if index is None or index + 1 >= len(self._commits):
            return default
        return self._commits[index + 1].hash
