"""Which tree to measure next: coarse first, then wherever a change hides; pure.

Two things are known before anything is timed: equal trees are one tree (the list holds distinct
trees only), and the ledger says at which trees the work changed. So one tree a *stretch* of
equal work tells the stretch's time, and only what the work does not explain is bisected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.canary import LEAST_GAIN, huber_slope
from nbbench.stats.noise import MAD_TO_SIGMA
from nbbench.work.ledger_diff import log_ratio

# A difference is believed beyond this many standard errors: a false one costs log2 measurements
# and a second collection of two trees, a missed one an event.
SIGMAS = 4.0
# The work explains a change of time when it leaves at most this part of it open: time follows bytes
# and operations loosely (on record: bytes -20 %, time -36 %), and a second change may hide beside it.
UNEXPLAINED_SHARE = 1 / 3
# Where the work changed, so much is enough: such places are few, and what is claimed of them is
# half shown by the ledger.
EXPLAINED_SIGMAS = 2.5
# A stretch of equal work is looked at once in so many trees: a change without work (an import,
# a print) that came and went within them stays unseen.
COARSE = 16
# Differences that tell the noise of readings: the median of eight is within a third of the truth.
LEAST_PAIRS = 8


@dataclass(frozen=True, slots=True)
class TreeReading:
    """A series at one tree: natural logarithm of its level, and the standard error of that.

    `machine` is the logarithm of the canaries that were timed beside it, NaN where none was.
    """

    level: float
    error: float
    machine: float = math.nan


@dataclass(frozen=True, slots=True)
class Tree:
    """What is known of one distinct tree.

    `cost` is the work by workload in one unit, positive (None while no ledger is there); `readings` are
    the times by series; `collections` counts how often it was measured.
    """

    cost: Mapping[str, float] | None = None
    readings: Mapping[str, TreeReading] = field(default_factory=dict)
    collections: int = 0
    broken: bool = False

    @property
    def measured(self) -> bool:
        """Whether it gave any time."""
        return bool(self.readings)


class Why(StrEnum):
    """Why a tree is to be measured."""

    COARSE = "coarse look"
    WORK = "the work changed"
    TIME = "the time changed"
    CONFIRM = "second look"


@dataclass(frozen=True, slots=True)
class Probe:
    """Measure the tree at `index` next; the change looked for is in (`lo`, `hi`]."""

    index: int
    why: Why
    lo: int
    hi: int
    weight: float


@dataclass(frozen=True, slots=True)
class Located:
    """A change of time that came with the tree at `index`: log ratio, the series that moved most.

    `first` is an earlier tree where those between are broken and may be the culprit as well.
    """

    first: int
    index: int
    effect: float
    series: str
    explained: bool


@dataclass(frozen=True, slots=True)
class NextTrees:
    """What to measure next, most telling first, and what is located already."""

    probes: tuple[Probe, ...]
    located: tuple[Located, ...]


def plan(trees: Sequence[Tree], workloads: Mapping[str, Sequence[str]], *, min_effect: float) -> NextTrees:
    """Plan the next measurements of `trees` (oldest first).

    `workloads` names, by series, the workloads whose work it runs; `min_effect` is the
    smallest log ratio of interest. At most one probe a gap between measured trees; a gap whose
    trees are all broken is left as it is.
    """
    known = [i for i, tree in enumerate(trees) if tree.measured]
    usable = [i for i, tree in enumerate(trees) if not tree.broken]
    ends = [i for i in dict.fromkeys(usable[-1:] + usable[:1]) if i not in known]
    probes = [Probe(i, Why.COARSE, usable[0], usable[-1], math.inf) for i in ends]
    found = [_gap(trees, workloads, lo, hi, min_effect) for lo, hi in pairwise(known)]
    probes += [one for one in found if isinstance(one, Probe)]
    probes.sort(key=lambda p: (-p.weight, p.index))
    return NextTrees(tuple(probes), tuple(one for one in found if isinstance(one, Located)))


def steadied(trees: Sequence[Tree], *, min_effect: float) -> list[Tree]:
    """`trees` without what the canaries show of the machine, and with the errors that are left.

    Neighbouring measured trees without a change of work by `min_effect` between them say, over all series,
    how the readings scatter (1.4826 median |difference| / √2) and how they follow the canaries. These are
    taken out where that lowers the scatter to LEAST_GAIN of it, and the errors are raised to what is left. A
    median and a robust slope, since a few of the differences hold changes that no work explains; below
    LEAST_PAIRS the readings stay as they are.
    """
    pairs = list(_equal_work(trees, min_effect))
    if len(pairs) < LEAST_PAIRS:
        return list(trees)
    apart = np.array([after.level - before.level for before, after in pairs])
    moved = np.array([after.machine - before.machine for before, after in pairs])
    scatter, slope = _scatter(apart), 0.0
    if np.isfinite(moved).all() and (follows := huber_slope(apart, moved)) > 0:
        left = _scatter(apart - follows * moved)
        if left <= LEAST_GAIN * scatter:
            scatter, slope = left, follows

    def steady(one: TreeReading, collections: int) -> TreeReading:
        level = one.level - slope * one.machine if slope else one.level
        return replace(one, level=level, error=max(one.error, scatter / math.sqrt(max(collections, 1))))

    return [
        replace(tree, readings={name: steady(one, tree.collections) for name, one in tree.readings.items()})
        for tree in trees
    ]


def _equal_work(trees: Sequence[Tree], min_effect: float) -> Iterator[tuple[TreeReading, TreeReading]]:
    """Readings of a series at neighbouring measured trees whose work is about equal."""
    known = [i for i, tree in enumerate(trees) if tree.measured]
    for lo, hi in pairwise(known):
        if all(size < min_effect for size in _work_steps(trees, lo, hi).values()):
            before, after = trees[lo].readings, trees[hi].readings
            yield from ((before[series], after[series]) for series in before if series in after)


def _scatter(differences: NDArray[np.float64]) -> float:
    return float(MAD_TO_SIGMA * np.median(np.abs(differences)) / math.sqrt(2))


def _gap(
    trees: Sequence[Tree], workloads: Mapping[str, Sequence[str]], lo: int, hi: int, min_effect: float
) -> Located | Probe | None:
    """What the gap between two measured trees calls for, or what is located in it."""
    before, after = trees[lo], trees[hi]
    changed = _work_steps(trees, lo, hi)
    steps = {i: size for i, size in changed.items() if size >= min_effect}
    inside = [i for i in range(lo + 1, hi) if not trees[i].broken]
    if len(steps) > 1 and (between := _between(list(steps), inside)) is not None:
        return Probe(between, Why.WORK, lo, hi, max(steps.values()))
    moves, explained = {}, True
    for name in workloads:
        moved, error = _moved(before, after, name)
        limit = max(min_effect, (EXPLAINED_SIGMAS if steps else SIGMAS) * error)
        moves[name] = moved if abs(moved) > limit else 0.0
        open_ = max(min_effect, SIGMAS * error)
        explained &= _explains(before, after, workloads[name], moves[name], open_)
    series = max(moves, key=lambda name: (abs(moves[name]), name), default="")
    effect = moves.get(series, 0.0)
    if explained and effect and len(steps) == 1:
        (step,) = steps
        return Located(step, step, effect, series, True)
    if explained and not effect:
        if len(changed) > 1 and (between := _between(list(changed), inside)) is not None:
            return Probe(between, Why.WORK, lo, hi, (hi - lo) / 1e6)
        long = hi - lo > COARSE and inside
        return Probe(inside[len(inside) // 2], Why.COARSE, lo, hi, (hi - lo) / 1e6) if long else None
    if inside:
        beside = [i for step in steps or changed for i in (step - 1, step) if i in inside]
        weight = max(abs(effect), *steps.values(), 0.0)
        return Probe((beside or [inside[len(inside) // 2]])[0], Why.TIME, lo, hi, weight)
    if not effect:
        return None  # work that time does not follow
    once = [i for i in (hi, lo) if trees[i].collections < 2]
    if once and not steps:  # nothing explains it: a second collection must see it too
        return Probe(once[0], Why.CONFIRM, lo, hi, abs(effect))
    return Located(lo + 1, hi, effect, series, bool(steps))


def _moved(before: Tree, after: Tree, series: str) -> tuple[float, float]:
    """The log ratio by which a series moved, and its standard error; zeros where it was not measured."""
    if series not in before.readings or series not in after.readings:
        return 0.0, 0.0
    old, new = before.readings[series], after.readings[series]
    return new.level - old.level, math.hypot(old.error, new.error)


def _work_steps(trees: Sequence[Tree], lo: int, hi: int) -> dict[int, float]:
    """Trees in (lo, hi] at which some workload's work changed, in order, with the size (log ratio)."""
    last, steps = dict(trees[lo].cost or {}), {}
    for i in range(lo + 1, hi + 1):
        now = trees[i].cost or {}
        size = max((abs(log_ratio(last[w], now[w])) for w in last.keys() & now.keys()), default=0.0)
        if size > 0.0:
            steps[i] = size
        last |= now
    return steps


def _between(steps: Sequence[int], inside: Sequence[int]) -> int | None:
    """A usable tree that has some of the changes of work behind it and some before it."""
    splits = [i for i in inside if steps[0] <= i < steps[-1]]
    middle = steps[len(steps) // 2]
    return min(splits, key=lambda i: (abs(i - middle), i), default=None)


def _explains(before: Tree, after: Tree, workloads: Sequence[str], effect: float, tolerance: float) -> bool:
    """Whether the work of one of a series' workloads leaves little of its change of time open."""
    old, new = before.cost or {}, after.cost or {}
    explained = [log_ratio(old[w], new[w]) for w in workloads if w in old and w in new] or [0.0]
    share = UNEXPLAINED_SHARE
    return any(abs(effect - w) <= max(tolerance, share * abs(effect), share * abs(w)) for w in explained)
