"""Series that take turns between two or three levels on one machine (memory layout, core, turbo): recognised,
and judged by whether the mixture changed. One flip says nothing of a commit.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from nbbench.stats.arrays import FloatArray, IntArray
from nbbench.stats.changepoint import EFFECT_Z, Step, levels_as_measured, step_of
from nbbench.stats.detector import Change
from nbbench.stats.noise import mad_sigma, median, quantile

LEAST_POINTS = 20
"""Fewer values do not show that they come back to the same levels."""

LEAST_FLIPS = 12
"""A series is at each of its levels six times at least. A loss that is mended takes two turns; the real
branch has up to ten, by work that its ledgers show."""

LEAST_SHARE = 0.2
"""Of the values at each level: fewer are bursts, or losses that were mended. On the side of a change on
which the series takes turns as well as in all of it: a step among bursts is a step."""

APART_SIGMAS = 6.0
"""Levels lie this many sigmas of the values around them apart. Halves of a Gaussian lie 2.7 apart, those of
a straight ramp 2.7, of an exponential 4."""

_TAILS = 0.05  # of the values at each end: what is further out makes no level
_TENTHS = 2.5631  # sigmas between the outer tenths of a Gaussian
_MOST_RHO = 0.95
_GRID = 48  # places at which two cuts are tried together first


FLIP_SIGMAS = 4.0
"""Levels this far apart, in sigmas of the values that are at their own, share one value in forty by noise."""

BESIDE = 30
"""Values on either side of a step that must show it."""

SHOWN_SIGMAS = 1.6449
"""What the values beside a step must say of it by their ranks: one in twenty by chance, before the choice."""

LEAST_VISITS = 3
"""Of these values on either side of a run, at its level: the series comes there by itself."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """``levels`` (medians in the values' own unit, ascending) with the ``shares`` of values at each, how many
    ``turns`` the series takes between them, and the ``change`` of the mixture, where there is one."""

    levels: tuple[float, ...]
    shares: tuple[float, ...]
    turns: int
    change: Step | None


def find_mixture(values: ArrayLike, *, alpha: float, min_effect: float) -> Mixture | None:
    """The two or three levels between which positive ``values`` (n,) in commit order take turns, NaN where
    nothing was measured; None for any other series.

    The levels are the least-squares clusters of the logarithms. The mixture changed where the cumulative sum
    of the levels leaves what a stationary series gives (sup of a Brownian bridge: Kolmogorov's distribution;
    Ploberger and Krämer 1992, doi:10.2307/2951597) with probability ``alpha``, and the means before and after
    differ by the log ratio ``min_effect``. The variance is that of a two-state Markov chain's mean,
    p(1 − p)(1 + rho) / (1 − rho) for each point, with the lag-1 correlation rho of the levels.
    """
    array = np.asarray(values, dtype=np.float64)
    index = np.flatnonzero(np.isfinite(array))
    present = array[index]
    if present.size < LEAST_POINTS or present.min() <= 0 or present.min() == present.max():
        return None
    log = np.log(present)
    ordered = np.sort(log)
    for count in (2, 3):
        label = _clusters(log, ordered, count)
        if not (_mixed(label) and _stand_apart(log, label, count, min_effect)):
            continue
        parts = [present[label == k] for k in range(count)]
        levels = tuple(median(part) for part in parts)
        shares = tuple(part.size / present.size for part in parts)
        change = _change(np.log(levels)[label], index, alpha, min_effect)
        at = np.searchsorted(index, change.index) if change else 0
        if _mixed(label[:at]) or _mixed(label[at:]):
            return Mixture(levels, shares, int(np.count_nonzero(np.diff(label))), change)
    return None


def without_flips(steps: tuple[Step, ...], values: FloatArray, min_effect: float = 0.0) -> tuple[Step, ...]:
    """Steps of a series (n,) without those between levels whose values are on both sides of the step; the
    others then stand between longer levels, and still reach ``min_effect``.

    A run of one level looks like a step where a series takes turns, too few or too unclean for a mixture: of
    the BESIDE values before or after, more than LEAST_SHARE are at the other side's level, which is further
    off than FLIP_SIGMAS. A shorter run than BESIDE is a visit where the series comes to its level on both
    sides of it, too.
    """
    kept, log = list(steps), np.log(np.where(values > 0, values, np.nan))
    while kept:
        ends = [0, *(step.index for step in kept), values.size]
        parts = [part[np.isfinite(part)] for part in (log[a:b] for a, b in pairwise(ends))]
        if not all(part.size for part in parts):  # values that have no logarithm
            break
        mixed, shown = ([rule(*sides) for sides in pairwise(parts)] for rule in (_mixed_sides, _shown))
        worst, least = int(np.argmax(mixed)), int(np.argmin(shown))
        visits = (i for i in range(len(kept) - 1) if _is_visit(*parts[i : i + 3]))
        if mixed[worst] > LEAST_SHARE:
            del kept[worst]
        elif shown[least] < SHOWN_SIGMAS:
            del kept[least]
        elif (visit := next(visits, None)) is not None:
            del kept[visit : visit + 2]
        else:
            break
    if len(kept) == len(steps):
        return steps
    return tuple(step for step in levels_as_measured(kept, values) if abs(step.effect) >= min_effect)


def _wrong(before: FloatArray, after: FloatArray, way: float) -> float:
    """The share of pairs of a value before and one after that stand the wrong way round: 1 less the area
    under the curve of Mann and Whitney 1947."""
    order = np.sort(way * after)
    below = sum(np.searchsorted(order, way * before, side).sum() for side in ("left", "right"))
    return 0.5 * float(below) / (before.size * after.size)


def _mixed_sides(before: FloatArray, after: FloatArray) -> float:
    """The share of values beside a step that are at the other side's level: twice the chance that one stand
    the wrong way round. 0 where noise may have put them there."""
    gap, sigma = _apart(before[-BESIDE:], after[:BESIDE])
    clear = abs(gap) > FLIP_SIGMAS * sigma
    return 2.0 * _wrong(before[-BESIDE:], after[:BESIDE], math.copysign(1.0, gap)) if clear else 0.0


def _shown(before: FloatArray, after: FloatArray) -> float:
    """In standard errors, how surely the values beside a step between two levels lie as the levels do: long
    levels may differ by a drift while nothing happened at the place."""
    way, sizes = median(after) - median(before), (min(before.size, BESIDE), min(after.size, BESIDE))
    wrong = _wrong(before[-BESIDE:], after[:BESIDE], math.copysign(1.0, way))
    return (0.5 - wrong) * math.sqrt(12.0 * math.prod(sizes) / (sum(sizes) + 1))


def _apart(before: FloatArray, after: FloatArray) -> tuple[float, float]:
    """How much higher the second level is, and the sigma of the values that are at their own."""
    low, high = median(before), median(after)
    parts = ((before, low, high), (after, high, low))
    rest = [part[np.abs(part - own) <= np.abs(part - other)] - own for part, own, other in parts]
    return high - low, mad_sigma(np.concatenate(rest))


def _is_visit(before: FloatArray, inside: FloatArray, after: FloatArray) -> bool:
    """Whether a run of one level is one of a series that comes to it before and after, too."""
    if inside.size >= BESIDE:
        return False
    for part in (before[-BESIDE:], after[:BESIDE]):
        gap, sigma = _apart(part, inside)
        there = np.count_nonzero(math.copysign(1.0, gap) * (part - median(part)) > 0.5 * abs(gap))
        if abs(gap) <= FLIP_SIGMAS * sigma or there < LEAST_VISITS:
            return False
    return True


def _mixed(label: IntArray) -> bool:
    """Whether the series keeps coming back to its levels, each of which has its share of values from the
    first turn to the last: a level that it begins or ends with is no turn."""
    turns = np.flatnonzero(np.diff(label)) + 1
    if turns.size < LEAST_FLIPS:
        return False
    between = label[turns[0] : turns[-1]]
    sizes = np.bincount(between)
    return int(sizes[sizes > 0].min()) >= LEAST_SHARE * between.size


def _clusters(log: FloatArray, ordered: FloatArray, count: int) -> IntArray:
    """Number (n,) of the least-squares cluster of each value, counted upwards; ``ordered`` are the values
    ascending, whose tails are pulled in first."""
    ordered = ordered.clip(quantile(ordered, _TAILS), quantile(ordered, 1.0 - _TAILS))
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    # the least sum of squares is the greatest sum of (sum of a cluster)² / size
    cuts = np.arange(1, ordered.size)
    if count == 2:
        left, right = sums[cuts] ** 2 / cuts, (sums[-1] - sums[cuts]) ** 2 / (ordered.size - cuts)
        ends = [int(cuts[np.argmax(left + right)])]
    else:  # on a grid first, then all places near its best
        grid = np.unique(np.linspace(1, ordered.size - 1, _GRID).astype(np.int64))
        reach = ordered.size // _GRID + 1
        ends = _two_cuts(
            sums, *(cuts[max(end - 1 - reach, 0) : end + reach] for end in _two_cuts(sums, grid, grid))
        )
    limits = [0.5 * (ordered[end - 1] + ordered[end]) for end in ends]
    return np.searchsorted(np.array(limits), log).astype(np.int64)


def _two_cuts(sums: FloatArray, first: IntArray, second: IntArray) -> list[int]:
    """The best two cuts among ``first`` (i,) and ``second`` (j,) of ordered values with these ``sums``."""
    one, two, size = first[:, None], second[None, :], sums.size - 1
    gain = sums[one] ** 2 / one + (sums[two] - sums[one]) ** 2 / np.maximum(two - one, 1)
    gain = np.where(two > one, gain + (sums[-1] - sums[two]) ** 2 / (size - two), -np.inf)
    i, j = np.unravel_index(int(np.argmax(gain)), gain.shape)
    return [int(first[i]), int(second[j])]


def _stand_apart(log: FloatArray, label: IntArray, count: int, min_effect: float) -> bool:
    """Whether every level lies far enough from the next."""
    parts = [log[label == k] for k in range(count)]
    gap = float(np.diff([median(part) for part in parts]).min()) if all(p.size for p in parts) else 0.0
    return gap >= max(min_effect, APART_SIGMAS * max(_spread(part) for part in parts))


def _spread(part: FloatArray) -> float:
    """Sigma of the values of one level; the outer tenths show where it is two."""
    ordered = np.sort(part)
    return max(mad_sigma(part), (quantile(ordered, 0.9) - quantile(ordered, 0.1)) / _TENTHS)


def _change(at: FloatArray, index: IntArray, alpha: float, min_effect: float) -> Step | None:
    """Where the mean of the levels (m,) ``at`` the measured places ``index`` changed, if it did."""
    from scipy.special import kolmogorov

    apart = at - at.mean()
    squares = float(apart @ apart)
    rho = min(max(float(apart[1:] @ apart[:-1]) / squares, 0.0), _MOST_RHO)
    variance = squares / at.size * (1.0 + rho) / (1.0 - rho)
    cuts = np.arange(1, at.size)
    bridge = np.cumsum(apart)[:-1]
    cut = int(cuts[np.argmax(np.abs(bridge))])
    p_value = float(kolmogorov(float(np.abs(bridge).max()) / math.sqrt(variance * at.size)))
    before, after = float(at[:cut].mean()), float(at[cut:].mean())
    if p_value > alpha or abs(after - before) < min_effect:
        return None
    gains = bridge**2 * at.size / (cuts * (at.size - cuts) * variance)
    likely = cuts[gains >= gains[cut - 1] - EFFECT_Z**2]
    first, last = min(int(likely.min()), cut), max(int(likely.max()), cut)
    error = math.sqrt(variance * (1.0 / cut + 1.0 / (at.size - cut)))
    return step_of(Change(cut, first, last, before, after, error, p_value), index)
