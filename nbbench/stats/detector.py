"""The history detector on its scale of analysis: finite values in order, places that count them.
`changepoint` is its public face.

Order of work: spikes are clipped, noise is read from differences, every split is tried in one scan, cuts are
refined and pruned against the null model, noise with a long memory raises the bar, runs of spikes are struck
out, and at last short levels that are confirmed from outside (a repeat
collection, the ledger, or the other series of the machine) are put in.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from nbbench.stats.arrays import BoolArray, FloatArray, IntArray
from nbbench.stats.noise import (
    HALF_WINDOW,
    LEAST_SIGMA,
    MIN_SEGMENT,
    Noise,
    clip_spikes,
    difference_sigma,
    estimate_noise,
    loudness,
    mad_sigma,
    mean_variance,
    running_median,
    white_noise,
)
from nbbench.stats.scan import compare, critical_value, max_p_value, pick, scan
from nbbench.stats.segments import MEDIAN_SIGMA, Levels, segments

ALONE = -1
"""A point that is confirmed by itself. A positive number is that of a level which is confirmed as a whole, 0
says that nothing confirms the point."""

OUTSTANDING_SIGMAS = 3.5
"""A confirmed point must stand out this far to be looked at; the test that follows is corrected for all
confirmed points."""

APART_SIGMAS = 5.0
"""Neighbouring confirmed points further apart than this are levels of their own."""


@dataclass(frozen=True, slots=True)
class ShortLevel:
    """Points [start, stop) at a level of their own; ``sigma`` is the noise of one point that it was tested
    against."""

    start: int
    stop: int
    p_value: float
    sigma: float


@dataclass(frozen=True, slots=True)
class _Level:
    """One level while it is searched: residuals and noise of its points (m,), and which are not yet taken."""

    values: FloatArray
    sigma: FloatArray
    rest: BoolArray
    rho: float


def confirmed_by_repeats(log_values: FloatArray) -> BoolArray:
    """Points that stand out of their neighbourhood in the same way in every collection that measured them.

    ``log_values`` has shape (collections, n), NaN where a collection has no value. A point is confirmed (n,)
    when at least two collections measured it and each has it stand out to the same side; contention does not
    come back at the same commit.
    """
    out = np.array([standing_out(values) for values in log_values])
    known = np.isfinite(out)
    above, below = (np.all((out == side) | ~known, axis=0) for side in (1.0, -1.0))
    confirmed: BoolArray = (known.sum(axis=0) >= 2) & (above | below)
    return confirmed


def standing_out(log_values: FloatArray) -> FloatArray:
    """To which side each of the ``log_values`` (n,) lies OUTSTANDING_SIGMAS / sqrt(2) of their own noise or
    more from its running median: 1, -1, or 0; NaN where there is no value, or too few to tell."""
    out = np.full(log_values.size, np.nan)
    known = np.isfinite(log_values)
    present = log_values[known]
    if present.size >= 2 * MIN_SEGMENT and (sigma := difference_sigma(present)) > 0:
        apart = (present - running_median(present, HALF_WINDOW)) / sigma
        out[known] = np.sign(apart) * (np.abs(apart) >= OUTSTANDING_SIGMAS / math.sqrt(2.0))
    return out


def find_short_levels(
    residuals: FloatArray,
    edges: list[tuple[int, int]],
    confirmed: IntArray,
    noise: Noise,
    alpha: float,
) -> list[ShortLevel]:
    """Confirmed short levels inside the levels ``edges`` of a series whose residuals from those levels are
    given, shape (n,).

    ``confirmed`` (n,) is ALONE, the number of a level, or 0: a level that is confirmed as a whole is taken
    whole, however one of its points was disturbed. The strongest is taken first and the rest of its level is
    tested again without it.
    """
    sigma = noise.sigma * noise.loudness
    # each of them may take part in a run of its own and in one with its neighbour
    tests = 2 * len(_units(confirmed))
    found: list[ShortLevel] = []
    for a, b in edges:
        level = _Level(residuals[a:b], sigma[a:b], np.ones(b - a, dtype=np.bool_), noise.rho)
        while True:
            tried = [_test(level, start, stop, tests) for start, stop in _runs(level, confirmed[a:b])]
            best = min((t for t in tried if t is not None), key=lambda t: t.p_value, default=None)
            if best is None or best.p_value > alpha:
                break
            level.rest[best.start : best.stop] = False
            found.append(replace(best, start=a + best.start, stop=a + best.stop))
    return sorted(found, key=lambda short: short.start)


def _units(confirmed: IntArray) -> list[tuple[int, int]]:
    """What is confirmed together, half-open and in order: levels as a whole, and points by themselves."""
    starts = np.flatnonzero(np.diff(confirmed, prepend=0) | (confirmed == ALONE))
    return [(int(i), int(j)) for i, j in pairwise([*starts, confirmed.size]) if confirmed[i]]


def _runs(level: _Level, confirmed: IntArray) -> list[tuple[int, int]]:
    """Runs of confirmed points worth a test: short ones in a tiny level, outstanding ones in a longer."""
    units = [(i, j) for i, j in _units(confirmed) if level.rest[i:j].all()]
    m = confirmed.size
    if m < 2 * MIN_SEGMENT:
        spans = [(i, j) for i, _ in units for _, j in units if 0 < j - i <= MIN_SEGMENT]
        return [(i, j) for i, j in spans if (level.rest & (confirmed != 0))[i:j].all()]
    deviation = (level.values - np.median(level.values[level.rest])) / level.sigma
    runs: list[tuple[int, int]] = []
    heights: list[list[float]] = []
    for i, j in units:
        height = float(np.mean(deviation[i:j]))
        if runs and runs[-1][1] == i and _alike(heights[-1][-1], height):
            runs[-1] = (runs[-1][0], j)
            heights[-1].append(height)
        else:
            runs.append((i, j))
            heights.append([height])
    outstanding = (max(map(abs, each)) > OUTSTANDING_SIGMAS for each in heights)
    return [(i, j) for (i, j), stands in zip(runs, outstanding, strict=True) if stands and 2 * (j - i) < m]


def _alike(one: float, other: float) -> bool:
    """Whether two neighbours (sigmas from their level) are nearer to each other than to that level."""
    return abs(one - other) <= min(APART_SIGMAS, 0.5 * max(abs(one), abs(other)))


def _test(level: _Level, start: int, stop: int, tests: int) -> ShortLevel | None:
    """Student-t test of the mean of the run [start, stop) against the median of the rest of its level,
    Bonferroni over ``tests``.

    None when fewer than two other points are left, as then nothing is known of the noise.
    """
    from scipy.special import stdtr

    others = level.rest.copy()
    others[start:stop] = False
    base = level.values[others]
    if base.size < 2:
        return None
    spread = float(np.std(base, ddof=1)) if base.size < 2 * MIN_SEGMENT else mad_sigma(base)
    sigma = max(float(level.sigma[start:stop].max()), spread)
    variance = mean_variance(float(stop - start), level.rho) + math.pi / 2.0 / base.size
    difference = abs(float(np.mean(level.values[start:stop]) - np.median(base)))
    one = 2.0 * float(stdtr(base.size - 1, -difference / (sigma * math.sqrt(variance))))
    return ShortLevel(start, stop, min(tests * one, 1.0), sigma)


CANDIDATE_ALPHA_FACTOR = 5.0
"""Cuts enter at a weaker level than they must reach in the end, because the scan's windows see only part
of a level."""

CERTAIN_OF_AR = 6.0
"""A contrast this great, in standard errors under AR(1) noise, is a change: none of 450 series of AR(1),
Gaussian or t(3) noise reached it."""

CERTAIN_OF_SLOW = 7.5
"""The same where noise may have a longer memory than AR(1): reached by 1 in 100 series with a quarter of
their variance from an AR(1) with rho 0.9."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change at ``cut``, plausibly from ``first`` to ``last``; ``error`` is the standard error of
    ``after - before``."""

    cut: int
    first: int
    last: int
    before: float
    after: float
    error: float
    p_value: float


def detect(raw: FloatArray, confirmed: IntArray, alpha: float, min_effect: float) -> list[Change]:
    """Changes of a series of n >= 2 finite values that are not all equal, in order of place; ``confirmed``
    (n,) as `find_short_levels` takes it. ``alpha`` is the error rate of the whole series."""
    noise = Noise(LEAST_SIGMA, 0.0, np.ones(raw.size))
    level = np.full(raw.size, float(np.median(raw)))
    changes: list[Change] = []
    if raw.size >= 2 * MIN_SEGMENT:
        levels, cuts = candidate_cuts(raw, _candidate_limit(raw.size, alpha))
        noise = levels.noise
        if cuts:
            changes, level = _long_levels(levels, cuts, alpha, min_effect)
    if confirmed.any():
        changes = _with_short_levels(changes, raw, level, confirmed, noise, alpha, min_effect)
    return sorted(changes, key=lambda change: change.cut)


def _candidate_limit(n: int, alpha: float) -> float:
    return critical_value(n, min(CANDIDATE_ALPHA_FACTOR * alpha, 0.5 * (1.0 + alpha)))


def candidate_cuts(raw: FloatArray, limit: float) -> tuple[Levels, list[int]]:
    """Cuts whose contrast reaches ``limit``, and the series with its noise, for n >= 2 MIN_SEGMENT.

    The first scan takes the noise for independent, which only overstates contrasts: a series that shows
    nothing is done. Otherwise the obvious changes are taken out, autocorrelation is measured on what is left,
    and the series is scanned with it, again as long as that makes more changes certain: a history of many
    levels would else pass for noise with a long memory.
    """
    loud = loudness(raw)
    clipped = clip_spikes(raw, loud)
    levels = Levels(raw, clipped, white_noise(clipped, loud))
    compared = compare(clipped)
    cuts = pick(scan(compared, levels.noise), limit)
    if not cuts:
        return levels, []
    known = levels.obvious(levels.refine(cuts))
    while True:
        levels = Levels(raw, clipped, estimate_noise(clipped - levels.fit(known), loud))
        cuts = levels.refine(pick(scan(compared, levels.noise), limit))
        certain = levels.certain(levels.prune(cuts, limit, 0.0), CERTAIN_OF_AR)
        # changes that stand out even of noise with too long a memory: measure it again without them
        if len(certain) <= len(known):
            return levels, cuts
        known = certain


def _long_levels(
    levels: Levels, cuts: list[int], alpha: float, min_effect: float
) -> tuple[list[Change], FloatArray]:
    """Changes between levels of at least MIN_SEGMENT points that survive pruning and the test for runs of
    spikes, and the fitted level at each point."""
    n = levels.n
    cuts, tests = levels.prune(cuts, _candidate_limit(n, alpha), 0.0)
    levels.measure_inflation(levels.certain((cuts, tests), CERTAIN_OF_SLOW))
    while True:
        cuts, tests = levels.prune(cuts, critical_value(n, alpha), min_effect)
        residuals = levels.raw - levels.fit(cuts)
        spikes = [levels.chance_of_spikes(cuts, i, t.effect, residuals) for i, t in enumerate(tests)]
        if max(spikes, default=0.0) <= alpha:
            break
        worst = int(np.argmax(spikes))
        cuts = levels.refine(cuts[:worst] + cuts[worst + 1 :])
    cuts = levels.settle(cuts, tests)
    level = levels.fit(cuts)
    changes = []
    for i, (cut, test, spike) in enumerate(zip(cuts, tests, spikes, strict=True)):
        first, last = levels.location(cuts, i, test.sigma)
        error = MEDIAN_SIGMA * test.error
        p_value = max(max_p_value(test.statistic, n), spike)
        changes.append(Change(cut, first, last, float(level[cut - 1]), float(level[cut]), error, p_value))
    return changes, level


def _with_short_levels(
    changes: list[Change],
    raw: FloatArray,
    level: FloatArray,
    confirmed: IntArray,
    noise: Noise,
    alpha: float,
    min_effect: float,
) -> list[Change]:
    """``changes`` with both ends of each confirmed short level added, and the levels around them taken
    without its points."""
    cuts = sorted(change.cut for change in changes)
    edges = segments(cuts, raw.size)
    found = find_short_levels(raw - level, edges, confirmed, noise, alpha)
    level = _relevel(raw, level, edges, found)
    ends: dict[int, ShortLevel] = {}
    for short in found:
        for cut in (short.start, short.stop):
            if 0 < cut < raw.size and cut not in cuts and abs(level[cut] - level[cut - 1]) >= min_effect:
                ends.setdefault(cut, short)
    changes = [_at_levels(change, level) for change in changes]
    for cut, short in ends.items():
        error = short.sigma / math.sqrt(short.stop - short.start)
        changes.append(_at_levels(Change(cut, cut, cut, 0.0, 0.0, error, short.p_value), level))
    return changes


def _relevel(
    raw: FloatArray, level: FloatArray, edges: list[tuple[int, int]], found: list[ShortLevel]
) -> FloatArray:
    """Fitted levels with the short ones at their own medians and the rest shifted to the median of what is
    left."""
    level = level.copy()
    rest = np.ones(raw.size, dtype=np.bool_)
    for short in found:
        rest[short.start : short.stop] = False
    for a, b in edges:
        left = rest[a:b]
        if not left.all():
            level[a:b] += np.median((raw - level)[a:b][left])
    for short in found:
        level[short.start : short.stop] = np.median(raw[short.start : short.stop])
    return level


def _at_levels(change: Change, level: FloatArray) -> Change:
    return replace(change, before=float(level[change.cut - 1]), after=float(level[change.cut]))
