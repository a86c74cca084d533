"""The history detector on its scale of analysis: finite values in order, places that count them.
`changepoint` is its public face.

Order of work: spikes are clipped, noise is read from differences, every split is tried in one scan, cuts are
refined and pruned against the null model, noise with a long memory raises the bar, runs of spikes are struck
out, and at last short levels that are confirmed from outside are put in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.noise import (
    LEAST_SIGMA,
    MIN_SEGMENT,
    Noise,
    clip_spikes,
    estimate_noise,
    loudness,
    white_noise,
)
from nbbench.stats.scan import critical_value, max_p_value, pick, scan
from nbbench.stats.segments import MEDIAN_SIGMA, Levels, segments
from nbbench.stats.short_levels import IntArray, ShortLevel, find_short_levels

FloatArray = NDArray[np.float64]

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
    cuts = pick(scan(clipped, levels.noise), limit)
    if not cuts:
        return levels, []
    known = levels.obvious(levels.refine(cuts))
    while True:
        levels = Levels(raw, clipped, estimate_noise(clipped - levels.fit(known), loud))
        cuts = levels.refine(pick(scan(clipped, levels.noise), limit))
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
