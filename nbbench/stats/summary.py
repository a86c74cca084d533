"""Summaries of samples and the robust noise of a series.

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


def median_interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Two of the samples that enclose the median of their distribution, and the probability that they do.

    The number of samples below the median is Binomial(n, 1/2) whatever the distribution, so the r-th smallest
    and the r-th largest enclose it with probability 1 - 2 P(B <= r - 1) (David and Nagaraja 2003, Order
    Statistics, 7.1). The largest r that still covers ``confidence`` is taken, and all samples where none
    does, as with fewer than six for 95 %. ValueError without a finite sample.
    """
    ordered = np.sort(finite(samples))
    n = ordered.size
    if n == 0:
        raise ValueError("no finite sample to summarise")
    rank, outside = 1, 2
    while (more := outside + 2 * math.comb(n, rank)) / 2**n <= 1 - confidence:
        rank, outside = rank + 1, more
    return float(ordered[rank - 1]), float(ordered[-rank]), 1 - outside / 2**n


def ratio_percent(log_ratio_value: float) -> float:
    """A log-ratio as a change in percent: ln(1.1) gives 10.0, -inf gives -100.0; inf where it is beyond
    the range of a double."""
    try:
        return 100.0 * math.expm1(log_ratio_value)
    except OverflowError:
        return math.inf


def difference_sigma(log_values: ArrayLike) -> float:
    """Noise of one point of a series, from the MAD of its first differences over sqrt(2); 0.0 for fewer than
    three finite points.

    A step enters one difference and a lone spike two, so neither moves the median.
    """
    values = finite(log_values)
    if values.size < 3:
        return 0.0
    return mad_sigma(np.diff(values)) / math.sqrt(2.0)
