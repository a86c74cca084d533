"""Changes of level at places that are known beforehand: where a program's exact work changed.

A series is not searched there, so nothing is paid for a search, and the noise is read within levels of equal
work, where no step inflates it.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.stats.changepoint import Step, step_of
from nbbench.stats.detector import Change
from nbbench.stats.noise import (
    LEAST_SIGMA,
    MIN_SEGMENT,
    clip_spikes,
    contrast_variance,
    estimate_noise,
    loudness,
    mad_sigma,
    median,
)
from nbbench.stats.segments import MEDIAN_SIGMA, bounds, segments

FloatArray = NDArray[np.float64]

REACH = 12
"""Points on each side that a contrast looks at: near ones say what a machine that wanders did not."""

FEW_FREEDOM, MANY_FREEDOM = 5.0, 20.0
"""Degrees of freedom of the test: a level of one or two points may be spikes."""

ELSEWHERE_SIGMAS = 3.0
"""A place up to three points away that fits the values better by this many sigmas squared is where they
changed: then the known place is not it."""


def known_steps(
    values: ArrayLike, levels: ArrayLike, *, alpha: float, min_effect: float
) -> tuple[tuple[Step, ...], FloatArray]:
    """Steps of positive ``values`` (n,) at the places where the number of the known ``levels`` (n,) changes,
    and the factors (n,) by which the values lie above the first of these levels; NaN is a missing value.

    Each place is tested by Student's t on the medians of up to REACH points on both sides, under AR(1) noise
    as it is within the levels. The weakest is dropped and its neighbours tested again, until all that are
    left pass Benjamini and Hochberg's rule at ``alpha`` over all places, and reach ``min_effect``, a log
    ratio.
    """
    array, number = np.asarray(values, dtype=np.float64), np.asarray(levels)
    index = np.flatnonzero(np.isfinite(array))
    fitted = np.ones(array.size)
    if index.size < 2 * MIN_SEGMENT or array[index].min() <= 0:
        return (), fitted
    if not (cuts := (np.flatnonzero(np.diff(number[index])) + 1).tolist()):
        return (), fitted
    log = np.log(array[index])
    sigma, rho = _noise_within(log, cuts)
    tests = len(cuts)
    found = [_tested(log, cuts, i, sigma, rho, min_effect) for i in range(tests)]
    while cuts:
        worst = max(range(len(cuts)), key=lambda i: found[i].p_value)
        if found[worst].p_value <= alpha * len(cuts) / tests:
            break
        del cuts[worst], found[worst]
        for i in range(max(worst - 1, 0), min(worst + 1, len(cuts))):
            found[i] = _tested(log, cuts, i, sigma, rho, min_effect)
    medians = [median(log[a:b]) for a, b in segments(cuts, log.size)]
    for cut, level in zip(cuts, medians[1:], strict=True):
        fitted[index[cut] :] = math.exp(level - medians[0])
    return tuple(step_of(one, index) for one in found), fitted


def _noise_within(log: FloatArray, cuts: list[int]) -> tuple[float, float]:
    """Sigma of a point and lag-1 correlation around the levels between ``cuts`` of MIN_SEGMENT points and
    more; of all points around their median where there are none."""
    whole = [log[a:b] for a, b in segments(cuts, log.size) if b - a >= MIN_SEGMENT]
    parts = [part - median(part) for part in whole]
    rest = np.concatenate(parts) if parts else log - median(log)
    if rest.size < 2 * MIN_SEGMENT:
        rest = log - median(log)
    loud = loudness(rest)
    noise = estimate_noise(clip_spikes(rest, loud), loud)
    return max(noise.sigma, mad_sigma(rest), LEAST_SIGMA), noise.rho


def _tested(log: FloatArray, cuts: list[int], i: int, sigma: float, rho: float, min_effect: float) -> Change:
    from scipy.special import stdtr

    cut, (a, b) = cuts[i], bounds(cuts, i, log.size)
    left, right = log[max(a, cut - REACH) : cut], log[cut : min(b, cut + REACH)]
    before, after = median(left), median(right)
    few = min(left.size, right.size) < MIN_SEGMENT
    error = MEDIAN_SIGMA * sigma * math.sqrt(contrast_variance(float(left.size), float(right.size), rho))
    freedom = FEW_FREEDOM if few else MANY_FREEDOM
    p_value = 2.0 * float(stdtr(freedom, -abs(after - before) / error))
    if abs(after - before) < min_effect or _elsewhere(left, right, before, after, sigma):
        p_value = 1.0
    return Change(cut, cut, cut, before, after, error, p_value)


def _elsewhere(left: FloatArray, right: FloatArray, before: float, after: float, sigma: float) -> bool:
    """Whether the values change from ``before`` to ``after`` clearly earlier or later than between both."""
    sooner = np.cumsum(((left - before) ** 2 - (left - after) ** 2)[::-1][: min(MIN_SEGMENT, left.size - 1)])
    later = np.cumsum(((right - after) ** 2 - (right - before) ** 2)[: min(MIN_SEGMENT, right.size - 1)])
    return float(max(sooner.max(initial=0.0), later.max(initial=0.0))) > (ELSEWHERE_SIGMAS * sigma) ** 2
