"""The robust noise of samples and of series.

Samples of one benchmark are skewed to the right (something else ran) and now and then wildly off, so every
figure here is an order statistic or a median: one bad sample in ten changes nothing. Arrays are float64 and
one-dimensional; NaN and infinities count as missing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

MAD_TO_SIGMA = 1.482602218505602
"""1 / Phi^-1(3/4): turns a median absolute deviation into the sigma of a Gaussian (Rousseeuw and Croux
1993)."""


def finite(values: ArrayLike) -> FloatArray:
    """The finite entries of a one-dimensional array, in order; ValueError for any other shape."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected one dimension, got an array of shape {array.shape}")
    return array[np.isfinite(array)]


def median(values: FloatArray) -> float:
    """Median of at least one finite value; several times faster than numpy's on the short arrays met here."""
    middle = values.size // 2
    if values.size % 2:
        return float(np.partition(values, middle)[middle])
    ordered = np.partition(values, (middle - 1, middle))
    return float(0.5 * (ordered[middle - 1] + ordered[middle]))


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
    return mad_sigma(np.diff(values)) / math.sqrt(2.0)
