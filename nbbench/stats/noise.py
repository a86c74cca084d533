"""Noise of a series of levels: spikes clipped, scale and autocorrelation read from differences.

Everything here works on values that are already on the scale of analysis (logarithms where the values are
positive), finite and in commit order. Differences are used because a step touches only one of them: the
estimates stay right in a series that changed level several times.

Samples of one benchmark are skewed to the right (something else ran) and now and then wildly off, so every
figure of them is an order statistic or a median: one bad sample in ten changes nothing. Arrays are float64
and one-dimensional; NaN and infinities count as missing.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nbbench.stats.arrays import FloatArray

MAD_TO_SIGMA = 1.482602218505602
"""1 / Phi^-1(3/4): turns a median absolute deviation into the sigma of a Gaussian (Rousseeuw and Croux
1993)."""


def one_dimension(values: ArrayLike) -> FloatArray:
    """The values as an array (n,); ValueError for any other shape."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected one dimension, got an array of shape {array.shape}")
    return array


def finite(values: ArrayLike) -> FloatArray:
    """The finite entries of a one-dimensional array, in order; ValueError for any other shape."""
    array = one_dimension(values)
    return array[np.isfinite(array)]


def median(values: FloatArray) -> float:
    """Median of at least one finite value; several times faster than numpy's on the short arrays met here."""
    ordered, middle = values.copy(), values.size // 2
    if values.size < 256:
        ordered.sort()
    else:
        ordered.partition((middle - 1, middle))
    upper = ordered.item(middle)
    return upper if values.size % 2 else 0.5 * (ordered.item(middle - 1) + upper)


def quantile(ordered: FloatArray, share: float) -> float:
    """A quantile of sorted values, in a tenth of numpy's time (Hyndman and Fan 1996, number 7)."""
    place = share * (ordered.size - 1)
    below = int(place)
    part, one, two = place - below, ordered.item(below), ordered.item(min(below + 1, ordered.size - 1))
    return two - (two - one) * (1.0 - part) if part >= 0.5 else one + (two - one) * part


def mad_sigma(values: FloatArray) -> float:
    """1.4826 times the median absolute deviation from the median: sigma for Gaussian values, 0.0 for fewer
    than two."""
    if values.size < 2:
        return 0.0
    return MAD_TO_SIGMA * median(np.abs(values - median(values)))


def difference_sigma(log_values: ArrayLike) -> float:
    """Noise of one point of a series, from the MAD of its first differences over sqrt(2); 0.0 for fewer than
    three finite points.

    A step enters one difference and a lone spike two, so neither moves the median.
    """
    values = finite(log_values)
    if values.size < 3:
        return 0.0
    return mad_sigma(values[1:] - values[:-1]) / math.sqrt(2.0)


Lengths = TypeVar("Lengths", float, FloatArray)

MIN_SEGMENT = 3
"""Points of the shortest level that a series shows by itself; the null model is calibrated for it."""

HALF_WINDOW = MIN_SEGMENT - 1
"""Half a running median's window: excursions up to this length are spikes."""

LEAST_SIGMA = 1e-9
"""Least noise that is believed, relative to the values: no clock resolves a part in 10^9, and it keeps
divisions defined."""

SPIKE_SIGMAS = 2.5
"""A point further than this from its running median is pulled back to it; 98.8 % of Gaussian noise stays
as it is."""

TRIM_SIGMAS = 3.0
"""Differences beyond this are steps or spikes and say nothing about noise; 0.27 % of Gaussian ones are
lost."""

TRIM_BIAS = 0.97343
"""Variance of a Gaussian cut at +-TRIM_SIGMAS: 1 - 2 c phi(c) / (2 Phi(c) - 1)."""

RHO_MAX = 0.9
"""Beyond this an AR(1) cannot be told from wandering levels, and hardly a step could be called."""

RHO_GRID = np.linspace(0.0, RHO_MAX, 91)

MAX_LAG = 5
"""Longest lag compared with lag 1: by then an AR(1) with rho 0.5 has lost 97 % of its memory."""


LOUD_RATIO = 1.5
"""A stretch this much noisier than the series has a noise of its own; over 25 points iid noise hardly ever
seems so."""

LOUD_HALF = 12
"""A stretch is looked at through 2 * 12 + 1 differences: half of them loud make it a loud one."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of a series on the scale of analysis: marginal ``sigma`` of one point, lag-1 autocorrelation
    ``rho`` inside [0, RHO_MAX], and how much louder it is around each point, ``loudness`` (n,) >= 1."""

    sigma: float
    rho: float
    loudness: FloatArray


def running_median(values: FloatArray, half: int) -> FloatArray:
    """Median over ``2 half + 1`` points, shape (n,); at the ends the window is moved inwards, not shortened.

    An excursion of up to ``half`` points vanishes, a longer level keeps its edges, also at the ends.
    """
    n = values.size
    width = min(2 * half + 1, n if n % 2 else n - 1)
    if width <= 1:
        return values.copy()
    middle = width // 2
    if width == 5:  # neither the least nor the greatest of four is it, which leaves three
        a, b, c, d, e = (values[i : n - 4 + i] for i in range(5))
        low = np.maximum(np.minimum(a, b), np.minimum(c, d))
        high = np.minimum(np.maximum(a, b), np.maximum(c, d))
        medians = np.maximum(np.minimum(low, high), np.minimum(e, np.maximum(low, high)))
    else:
        windows = np.lib.stride_tricks.sliding_window_view(values, width)
        medians = np.partition(windows, middle, axis=1)[:, middle]
    return np.concatenate((np.full(middle, medians[0]), medians, np.full(middle, medians[-1])))


def trimmed_variance(differences: FloatArray) -> tuple[float, float]:
    """Variance of ``differences`` without the outlying ones, and the MAD sigma that told which those are."""
    centred = np.abs(differences - median(differences))
    sigma = MAD_TO_SIGMA * median(centred)
    kept = centred[centred <= TRIM_SIGMAS * sigma]
    return float(kept @ kept) / kept.size / TRIM_BIAS, sigma


def blip_sigma(values: FloatArray, smooth: FloatArray) -> float:
    """Sigma of a series that mostly repeats one number (a coarse clock, a page count) around its running
    median ``smooth``: the share of deviating points times their typical size, as every MAD is zero there. 0.0
    when it is deterministic; one such point (two in a longer series) is a spike.
    """
    deviations = np.abs(values - smooth)
    blips = deviations[deviations > 0]
    if blips.size < (2 if values.size < 30 else 3):
        return 0.0
    return math.sqrt(blips.size / values.size) * median(blips)


def loudness(values: FloatArray) -> FloatArray:
    """Factor by which the noise around each point exceeds that of the series, shape (n,); 1 below LOUD_RATIO.

    Read from the running median of absolute differences, which neither steps nor single spikes move.
    """
    differences = values[1:] - values[:-1]
    size = np.abs(differences - median(differences))
    typical = median(size)
    if values.size < 4 * LOUD_HALF or typical == 0.0:
        return np.ones(values.size)
    ratio = running_median(size, LOUD_HALF) / typical
    around = np.maximum(np.append(ratio, ratio[-1]), np.append(ratio[0], ratio))
    return np.where(around > LOUD_RATIO, around, 1.0)


def clip_spikes(values: FloatArray, loud: FloatArray) -> FloatArray:
    """Pull excursions of up to HALF_WINDOW points back to SPIKE_SIGMAS of the running median; (n,), n >= 3.

    Noise keeps its size, longer levels keep theirs, and a spike of any height weighs no more than 2.5 sigma;
    sigma is that of the series times ``loud``.
    """
    smooth = running_median(values, HALF_WINDOW)
    sigma = trimmed_variance(values[1:] - values[:-1])[1] / math.sqrt(2.0)
    if sigma <= 0:
        sigma = blip_sigma(values, smooth)
    reach = SPIKE_SIGMAS * max(sigma, LEAST_SIGMA) * loud
    return values.clip(smooth - reach, smooth + reach)


def white_noise(clipped: FloatArray, loud: FloatArray) -> Noise:
    """Noise of a spike-free series of n >= 4 points taken for independent: sigma from first differences."""
    variance, scale = trimmed_variance(clipped[1:] - clipped[:-1])
    blips = blip_sigma(clipped, running_median(clipped, HALF_WINDOW)) if scale <= 0 else 0.0
    return Noise(max(math.sqrt(variance / 2.0) if scale > 0 else blips, LEAST_SIGMA), 0.0, loud)


def estimate_noise(clipped: FloatArray, loud: FloatArray) -> Noise:
    """Noise of a spike-free series of n >= 4 points without obvious changes, from the variances of lag-h
    differences (docs/statistics.md, step 3): changes of level bias them far less than an autocorrelation."""

    def apart(lag: int) -> FloatArray:  # as if no stretch were loud: else only its long ones are left of it
        around = np.sqrt(0.5 * (loud[lag:] ** 2 + loud[:-lag] ** 2))
        return np.asarray((clipped[lag:] - clipped[:-lag]) / around)

    first, scale = trimmed_variance(clipped[1:] - clipped[:-1])
    if scale <= 0:
        return white_noise(clipped, loud)
    lags = range(2, max(2, min(MAX_LAG, clipped.size // 4)) + 1)
    later = sum(trimmed_variance(apart(h))[0] for h in lags) / len(lags)
    ratio = later / (trimmed_variance(apart(1))[0] or first)
    rho = float(np.interp(ratio, _lag_ratio(len(lags)), RHO_GRID))
    return Noise(max(math.sqrt(first / (2.0 * (1.0 - rho))), LEAST_SIGMA), rho, loud)


@lru_cache(maxsize=MAX_LAG)
def _lag_ratio(lags: int) -> FloatArray:
    """Mean over h = 2 .. lags + 1 of (1 - rho^h) / (1 - rho) on RHO_GRID, ascending."""
    powers = np.arange(2, lags + 2)[:, None]
    ratio: FloatArray = np.mean((1.0 - RHO_GRID**powers) / (1.0 - RHO_GRID), axis=0)
    return ratio


def mean_variance(length: Lengths, rho: float) -> Lengths:
    """Variance of the mean of ``length`` consecutive AR(1) points of unit variance; 1 / length for rho = 0
    (Priestley 1981, 5.3)."""
    if rho == 0.0:
        return 1.0 / length
    gap = 1.0 - rho
    decay: Lengths = rho**length
    return ((1.0 + rho) / gap - 2.0 * rho * (1.0 - decay) / (length * gap * gap)) / length


def mean_covariance(left: Lengths, right: Lengths, rho: float) -> Lengths:
    """Covariance of the means of two adjacent runs of ``left`` and ``right`` AR(1) points of unit
    variance."""
    if rho == 0.0:
        return 0.0 * left
    gap = 1.0 - rho
    before: Lengths = rho**left
    after: Lengths = rho**right
    return rho * (1.0 - before) * (1.0 - after) / (gap * gap * left * right)


def contrast_variance(left: Lengths, right: Lengths, rho: float) -> Lengths:
    """Variance of the difference of those two means."""
    return mean_variance(left, rho) + mean_variance(right, rho) - 2.0 * mean_covariance(left, right, rho)
