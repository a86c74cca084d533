"""Summaries of samples and the robust noise of a series.

Samples of one benchmark are skewed to the right (something else ran) and now and then wildly off, so every
figure here is an order statistic or a median: one bad sample in ten changes nothing. Arrays are float64 and
one-dimensional; NaN and infinities count as missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

MAD_TO_SIGMA = 1.482602218505602
"""1 / Phi^-1(3/4): turns a median absolute deviation into the sigma of a Gaussian (Rousseeuw and Croux
1993)."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How many samples one result has, and an interval for their median, in the samples' own unit.

    ``ci_lo`` and ``ci_hi`` are two of the samples; ``ci_coverage`` is the real probability that they enclose
    the median of the distribution, which is below the asked confidence when there are fewer than six samples
    for 95 %.
    """

    n: int
    ci_lo: float
    ci_hi: float
    ci_coverage: float


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


def median_interval_ranks(n: int, confidence: float) -> tuple[int, float]:
    """Rank r and coverage of the interval from the r-th smallest to the r-th largest of ``n`` samples for the
    median.

    The number of samples below the median is Binomial(n, 1/2) whatever the distribution, so the coverage is 1
    - 2 P(B <= r - 1) (David and Nagaraja 2003, Order Statistics, 7.1). The largest r that still covers
    ``confidence`` is taken, and r = 1 (all of the samples) where none does.
    """
    log_half = n * math.log(0.5)
    below = 0.0
    rank, coverage = 1, 1.0 - 2.0 * math.exp(log_half) if n > 1 else 0.0
    for r in range(1, (n + 1) // 2 + 1):
        # log-gamma, because 2**-n underflows to zero from n = 1075 on
        below += math.exp(math.lgamma(n + 1) - math.lgamma(r) - math.lgamma(n - r + 2) + log_half)
        if 1.0 - 2.0 * below < confidence:
            break
        rank, coverage = r, 1.0 - 2.0 * below
    return rank, coverage


def summarise(samples: ArrayLike, *, confidence: float = 0.95) -> Summary:
    """Summary of the finite ``samples``; ValueError when there is none or ``confidence`` is not inside (0,
    1)."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie inside (0, 1), got {confidence}")
    ordered = np.sort(finite(samples))
    if ordered.size == 0:
        raise ValueError("no finite sample to summarise")
    rank, coverage = median_interval_ranks(ordered.size, confidence)
    return Summary(
        n=int(ordered.size),
        ci_lo=float(ordered[rank - 1]),
        ci_hi=float(ordered[-rank]),
        ci_coverage=coverage,
    )


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

    A step enters one difference and a lone spike two, so neither moves the median (von Neumann 1941 took the
    mean square; the median makes it robust). Positive autocorrelation rho makes it smaller than the marginal
    sigma, by sqrt(1 - rho).
    """
    values = finite(log_values)
    if values.size < 3:
        return 0.0
    return mad_sigma(np.diff(values)) / math.sqrt(2.0)
