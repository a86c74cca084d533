"""Short levels that something outside of a series confirms: its own exact work, a second collection, or the
other series of the machine.

The work says so where both ends of a level are commits at which what the series runs does other work, were
it one operation; a second collection where it sees the same, as contention does not come back at the same
commit. Another image by equal work says nothing of a time. The scorecard asks by the same rule.

A commit at which half of a machine's series stand out of their neighbours to the same side did something to
all, or the machine did. Where the canaries beside the results say that the machine did not, the commit did.
Without canaries levels are confirmed by how they begin and end (`together`).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbbench.history.curves import Curve
from nbbench.history.ledger_series import CommitOrder
from nbbench.ledger import Ledger
from nbbench.model import Series, SeriesKey
from nbbench.stats.arrays import BoolArray, FloatArray, IntArray
from nbbench.stats.canary import quiet_beside
from nbbench.stats.changepoint import Step
from nbbench.stats.detector import confirmed_by_repeats, standing_out
from nbbench.stats.noise import MIN_SEGMENT, difference_sigma
from nbbench.stats.shared import LASTING
from nbbench.subject.selection import LEAST_TURNS
from nbbench.workloads import ledger_families, workload_of

SAME_WORK = 1e-6
"""Relative difference up to which work is the same. The ledger is exact: one operation more, with other
values in it, made the real branch 35 % slower."""

Twice = Mapping[str, tuple[float, float]]
"""By commit, the value of the first and of the last collection."""
Repeats = Mapping[SeriesKey, Twice]

SHARE = 4
"""asv appends the samples of a later collection to those of the earlier ones: the first and the last quarter
belong to different collections, unless one took three times the samples of the other."""

LEAST_SAMPLES = 2
"""Fewer samples of one collection than this are one lucky or unlucky run."""


class Work(NamedTuple):
    """What a workload does at one commit."""

    bytes: float
    operations: float


def other_work(before: Work, after: Work) -> bool:
    """Whether the work differs."""
    pairs = zip(before, after, strict=True)
    return any(abs(b - a) > SAME_WORK * max(abs(a), abs(b)) for a, b in pairs)


def work_levels(work: Sequence[Work | None]) -> IntArray:
    """Number (n,) of the level of equal work that each commit lies in, from 0 on; None belongs to the one
    before."""
    levels = np.zeros(len(work), dtype=np.int64)
    last: Work | None = None
    for i, now in enumerate(work):
        levels[i] = levels[i - 1] if i else 0
        if now is not None:
            levels[i] += last is not None and other_work(last, now)
            last = now
    return levels


def work_sizes(work: Sequence[Work | None]) -> FloatArray:
    """Logs (2, n) of the bytes and the operations of each commit; None does as the one before, or else as the
    first that is known."""
    sizes, last = np.zeros((2, len(work))), next(filter(None, work), Work(0.0, 0.0))
    for i, now in enumerate(work):
        last = now or last
        sizes[:, i] = np.log(np.maximum(last, 1.0))
    return sizes


def short_levels(levels: IntArray) -> IntArray:
    """Numbers (n,) from 1 on of the levels of fewer than MIN_SEGMENT commits; 0 elsewhere, and where
    there is but one level."""
    _, index = np.unique(levels, return_inverse=True)
    sizes = np.bincount(index)
    short: IntArray = np.where(sizes[index] < MIN_SEGMENT, index + 1, 0).astype(np.int64)
    return short if sizes.size > 1 else np.zeros_like(short)


class WorkHistory:
    """The levels of every workload along the branch."""

    def __init__(self, ledgers: Mapping[str, Mapping[str, Ledger]], order: CommitOrder) -> None:
        self._places = {commit.hash: i for i, commit in enumerate(order.commits)}
        trees = [ledgers.get(commit.tree, {}) for commit in order.commits]
        names = sorted({name for found in trees for name in found})
        work = {name: [_work(found.get(name)) for found in trees] for name in names}
        self._levels = {name: work_levels(done) for name, done in work.items()}
        self._known = {name: np.array([one is not None for one in done]) for name, done in work.items()}
        self._sizes = {name: work_sizes(done) for name, done in work.items()}

    def levels(self, one: Curve) -> IntArray:
        """Number (n,) of the level of equal work at each commit of a series; all 0 where none is known."""
        return np.asarray(self._of_workloads(self._levels, one).sum(axis=0), dtype=np.int64)

    def known(self, one: Curve) -> BoolArray:
        """At which commits (n,) of a series the work of one of its workloads is on record."""
        return np.asarray(self._of_workloads(self._known, one).any(axis=0), dtype=np.bool_)

    def sizes(self, one: Curve) -> FloatArray:
        """Logs (2, n) of the bytes and operations at each commit of a series, their means over its workloads;
        all 0 where none is known."""
        found = self._of_workloads(self._sizes, one)
        return found.mean(axis=0) if found.ndim == 3 else np.zeros((2, one.values.size))

    def _of_workloads(self, figures: Mapping[str, NDArray[Any]], one: Curve) -> NDArray[Any]:
        """The ``figures`` at the commits of a series, (workloads, ..., n), of its workload, or its families';
        zeros (1, n) where there is none."""
        own, families = workload_of(one.key), ledger_families(one.key)
        named = [own] if own in figures else [n for n in figures if families and n.startswith(families)]
        if not named or not one.values.size:
            return np.zeros((1, one.values.size), dtype=np.int64)
        places = [self._places[commit] for commit in one.commits]
        return np.array([figures[str(name)][..., places] for name in named])

    def confirming(self, one: Curve) -> IntArray:
        """Numbers (n,) of the levels of work that a series follows; all 0 where it follows none.

        It confirms levels of work and of time, which follows it. Page faults are the allocator's, and flip by
        themselves where an image is about as large as its thresholds.
        """
        levels = self.levels(one)
        return np.zeros_like(levels) if one.unit == "faults" else levels


def _work(ledger: Ledger | None) -> Work | None:
    if ledger is None or ledger.error or not ledger.pixels:
        return None
    return Work(ledger.bytes_per_pixel, ledger.ops)


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


def repeated(commits: Sequence[str], values: FloatArray, again: Twice) -> BoolArray:
    """Which of the ``values`` (n,) at ``commits`` stand out of their neighbours in the same way in both of
    their collections.

    A point that was collected once is its own neighbour in both rows, and is never confirmed.
    """
    if values.size == 0:
        return np.zeros(0, dtype=np.bool_)
    twice = np.array([commit in again for commit in commits], dtype=np.bool_)
    return confirmed_by_repeats(collection_logs(commits, values, again)) & twice


DISAGREE_SIGMAS = 4.0
"""Two collections of one result that lie further apart, in sigmas of what neighbours in the series differ by,
disagree."""


def settled(commits: Sequence[str], values: FloatArray, again: Twice) -> tuple[FloatArray, Twice]:
    """The ``values`` (n,) of times at ``commits``, at those of which the collections disagree that of the
    faster one; and the ends of those on which they agree.

    What others do to a time makes it longer (Chen and Revels 2016, arXiv:1608.04295): the faster collection
    is the nearer to what the code takes.
    """
    ends = np.array([again.get(commit, (np.nan, np.nan)) for commit in commits]).reshape(-1, 2)
    apart = np.abs(np.log(np.where(ends > 0, ends, np.nan)) @ (1.0, -1.0))
    known = np.log(values[np.isfinite(values) & (values > 0)])
    disagreed = apart > DISAGREE_SIGMAS * math.sqrt(2.0) * difference_sigma(known)
    told = zip(commits, disagreed.tolist(), strict=True)
    agreed = {commit: again[commit] for commit, off in told if commit in again and not off}
    return np.where(disagreed, ends.min(axis=1), values), agreed


def collection_logs(commits: Sequence[str], values: FloatArray, again: Twice) -> FloatArray:
    """Logs of both collections (2, n) of the ``values`` (n,) at ``commits``, n >= 1; NaN where one is not
    positive. What was collected once stands in both."""
    pairs = zip(commits, values.tolist(), strict=True)
    rows = np.array([again.get(commit, (value, value)) for commit, value in pairs], dtype=np.float64).T
    return np.log(np.where(np.isfinite(rows) & (rows > 0), rows, np.nan))


LEAST_SIBLINGS = 2
"""Other series that must stand out to the same side at the commit: at least these, and half of those that
measured it."""


def measured_alone(at: FloatArray) -> BoolArray:
    """Which of the commits (n,) were measured LEAST_TURNS or more before or after both of their neighbours,
    by the times ``at`` which they were measured, NaN where they were not."""
    known = np.isfinite(at)
    gaps = np.abs(np.diff(np.argsort(np.argsort(at[known], kind="stable")))).astype(np.float64)
    alone = np.zeros(at.size, dtype=np.bool_)
    if known.any():
        alone[known] = np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf)) >= LEAST_TURNS
    return alone


_Group = tuple[str, str]
"""Machine and environment."""


@dataclass(frozen=True, slots=True)
class MeasuredBeside:
    """A series of n commits: its undisturbed ``log_values`` (n,), the ``canaries`` beside them in seconds
    (programs, n), and when they were measured, ``at`` (n,) in seconds on any clock; NaN where nothing was."""

    key: SeriesKey
    commits: tuple[str, ...]
    log_values: FloatArray
    canaries: FloatArray
    at: FloatArray

    def sides(self) -> dict[str, int]:
        """Where each commit stands, as `standing_out` has it, without those that the machine may have moved:
        a canary was slow, or a neighbour on the branch was measured right before or after."""
        alone = measured_alone(np.where(np.isfinite(self.log_values), self.at, np.nan))
        out = np.where(quiet_beside(self.canaries, self.at) & alone, standing_out(self.log_values), np.nan)
        found = zip(self.commits, out.tolist(), strict=True)
        return {commit: int(side) for commit, side in found if math.isfinite(side)}


@dataclass
class Siblings:
    """To which side the series of each machine stand out at each commit."""

    _sides: dict[SeriesKey, dict[str, int]] = field(default_factory=dict)
    _counts: dict[_Group, Counter[tuple[str, int]]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def of(cls, series: Iterable[MeasuredBeside]) -> "Siblings":
        """What the given series show together."""
        found = cls()
        for one in series:
            sides = found._sides[one.key] = one.sides()
            found._counts[one.key.machine, one.key.environment].update(sides.items())
        return found

    def confirm(self, key: SeriesKey, commits: Sequence[str]) -> BoolArray:
        """At which of the ``commits`` (n,) a series stands out as its siblings do."""
        counts, sides = self._counts.get((key.machine, key.environment)), self._sides.get(key, {})

        def shared(commit: str) -> bool:
            side = sides.get(commit, 0)
            if counts is None or side == 0:
                return False
            others = sum(counts[commit, one] for one in (-1, 0, 1)) - 1
            return counts[commit, side] - 1 >= max(LEAST_SIBLINGS, others / 2)

        if not sides:
            return np.zeros(len(commits), dtype=np.bool_)
        return np.array([shared(commit) for commit in commits], dtype=np.bool_)


def without_bursts(
    steps: tuple[Step, ...], measured: BoolArray, confirmed: BoolArray, known: Collection[int] = ()
) -> tuple[Step, ...]:
    """Steps without the bursts: levels of fewer than LASTING of the `measured` points (n,), of which the end
    undoes at least half of the beginning, fewer than half of whose points are `confirmed` (n,), and of whose
    ends one is none of the `known` places.

    Others that stay on the machine for a while look so. The level that is not over yet is no burst.
    """
    kept = list(steps)
    at = 0
    while at + 1 < len(kept):
        first, last = kept[at], kept[at + 1]
        inside = measured[first.index : last.index]
        short = int(inside.sum()) < LASTING
        undone = abs(first.effect + last.effect) <= 0.5 * max(abs(first.effect), abs(last.effect))
        told = confirmed[first.index : last.index][inside]
        searched = first.index not in known or last.index not in known
        if short and undone and searched and 2 * int(told.sum()) < told.size:
            del kept[at : at + 2]
            at = max(at - 1, 0)
        else:
            at += 1
    return tuple(kept)
