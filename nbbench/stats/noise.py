"""Noise of a series of levels: spikes clipped, scale and autocorrelation read from differences.

Everything here works on values that are already on the scale of analysis (logarithms where the values are positive), finite and in
commit order. Differences are used because a step touches only one of them: the estimates stay right in a series that changed level
several times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.summary import MAD_TO_SIGMA

FloatArray = NDArray[np.float64]

SPIKE_SIGMAS = 2.5
"""A point further than this from its running median is pulled back to it; 98.8 % of Gaussian noise stays as it is."""

TRIM_SIGMAS = 3.0
"""Differences beyond this are steps or spikes and say nothing about noise; 0.27 % of Gaussian ones are lost."""

TRIM_BIAS = 0.97343
"""Variance of a Gaussian cut at +-TRIM_SIGMAS: 1 - 2 c phi(c) / (2 Phi(c) - 1)."""

RHO_MAX = 0.9
"""Beyond this an AR(1) cannot be told from wandering levels, and hardly a step could be called."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of one point: marginal ``sigma`` on the scale of analysis, lag-1 autocorrelation ``rho`` inside [0, RHO_MAX]."""

    sigma: float
    rho: float


def running_median(values: FloatArray, half: int) -> FloatArray:
    """Median over ``2 half + 1`` points, shape (n,); at the ends the window is moved inwards, not shortened.

    An excursion of up to ``half`` points vanishes, a level of more than ``half`` points keeps its edges, and ``half + 1`` points at the
    end of the series are enough to show a new level there (Tukey 1977, Exploratory Data Analysis).
    """
    n = values.size
    width = min(2 * half + 1, n if n % 2 else n - 1)
    if width <= 1:
        return values.copy()
    middle = width // 2
    windows = np.lib.stride_tricks.sliding_window_view(values, width)
    medians = np.partition(windows, middle, axis=1)[:, middle]
    return np.concatenate((np.full(middle, medians[0]), medians, np.full(middle, medians[-1])))


def trimmed_variance(differences: FloatArray) -> tuple[float, float]:
    """Variance of ``differences`` without the outlying ones, and the MAD sigma that told which those are."""
    centred = np.abs(differences - np.median(differences))
    sigma = MAD_TO_SIGMA * float(np.median(centred))
    kept = centred[centred <= TRIM_SIGMAS * sigma]
    return float(kept @ kept) / kept.size / TRIM_BIAS, sigma


def blip_sigma(values: FloatArray, smooth: FloatArray) -> float:
    """Sigma of a series that mostly repeats one number (a coarse clock, a page count); 0.0 when it is deterministic.

    ``smooth`` is the running median. With half of the differences zero every MAD is zero, and the share of deviating points times their
    typical size is the only scale left. One such point (two in a longer series) is a spike, not noise.
    """
    deviations = np.abs(values - smooth)
    blips = deviations[deviations > 0]
    if blips.size < (2 if values.size < 30 else 3):
        return 0.0
    return math.sqrt(blips.size / values.size) * float(np.median(blips))


def clip_spikes(values: FloatArray, half: int, floor: float) -> FloatArray:
    """Pull excursions of up to ``half`` points back to SPIKE_SIGMAS of the running median; shape (n,), n >= 3.

    Noise keeps its size, levels of more than ``half`` points keep theirs, and a spike of any height weighs no more than 2.5 sigma.
    """
    smooth = running_median(values, half)
    sigma = trimmed_variance(np.diff(values))[1] / math.sqrt(2.0)
    if sigma <= 0:
        sigma = blip_sigma(values, smooth)
    reach = SPIKE_SIGMAS * max(sigma, floor)
    return np.clip(values, smooth - reach, smooth + reach)


def estimate_noise(clipped: FloatArray, half: int, floor: float) -> Noise:
    """Noise of a spike-free series of n >= 4 points; ``floor`` is the least sigma that is believed.

    Under AR(1) the lag-h difference has variance 2 sigma^2 (1 - rho^h), so V2 / V1 = 1 + rho and sigma^2 = V1 / (2 (1 - rho)).
    A change of level enters h of the lag-h differences and is trimmed away with them.
    """
    first, scale = trimmed_variance(np.diff(clipped))
    if scale <= 0:
        return Noise(max(blip_sigma(clipped, running_median(clipped, half)), floor), 0.0)
    second, _ = trimmed_variance(clipped[2:] - clipped[:-2])
    rho = min(max(second / first - 1.0, 0.0), RHO_MAX)
    return Noise(max(math.sqrt(first / (2.0 * (1.0 - rho))), floor), rho)


def mean_variance(length: FloatArray, rho: float) -> FloatArray:
    """Variance of the mean of ``length`` consecutive AR(1) points of unit variance; 1 / length for rho = 0 (Priestley 1981, 5.3)."""
    if rho == 0.0:
        return 1.0 / length
    gap = 1.0 - rho
    return ((1.0 + rho) / gap - 2.0 * rho * (1.0 - rho**length) / (length * gap * gap)) / length


def mean_covariance(left: FloatArray, right: FloatArray, rho: float) -> FloatArray:
    """Covariance of the means of two adjacent runs of ``left`` and ``right`` AR(1) points of unit variance."""
    gap = 1.0 - rho
    return rho * (1.0 - rho**left) * (1.0 - rho**right) / (gap * gap * left * right)


def contrast_variance(left: FloatArray, right: FloatArray, rho: float) -> FloatArray:
    """Variance of the difference of those two means."""
    return mean_variance(left, rho) + mean_variance(right, rho) - 2.0 * mean_covariance(left, right, rho)
