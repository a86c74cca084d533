"""The machine's own speed taken out of a series, where a canary was timed beside every point.

A canary is a fixed program: what moves it is the machine or its other users, never the subject. Its drift is
removed only where that is shown to lower the noise of the series.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.stats.summary import MAD_TO_SIGMA, median

FloatArray = NDArray[np.float64]

LEAST_GAIN = 0.85
"""The canary is used when it lowers the wander to this share or less: docs/statistics.md says how often one
that knows nothing gets there by chance."""

BLOCK = 10
"""Points whose median stands for the machine's speed: it wanders over tens of seconds, while neighbouring
points differ by noise that no canary of another moment can know."""

LEAST_BLOCKS = 15
"""Fewer blocks do not tell how a series follows its canary."""

REACH_SIGMAS = 2.5
"""Differences further out are steps, and do not take part in the fit."""


def remove_drift(values: ArrayLike, canary: ArrayLike) -> tuple[FloatArray, float]:
    """``values`` without what their canary shows of the machine, and the wander that is left, as a share.

    Both have shape (n,), are positive times in commit order, NaN where nothing was measured. The logarithm of
    the series follows ``b`` times the running mean of that of the canary over BLOCK points; ``b`` is fitted
    through the origin to differences of neighbouring blocks, so that a change of level enters one difference
    and is cut off as an outlier. Each difference is predicted by a ``b`` that was fitted without it (leave
    one out, Stone 1974, doi:10.1111/j.2517-6161.1974.tb00994.x); the share is the root mean square of what
    the predictions leave over that of the differences themselves. Above LEAST_GAIN the values come back as
    they are, with 1.0.
    """
    series, reference = np.asarray(values, dtype=np.float64), np.asarray(canary, dtype=np.float64)
    if series.ndim != 1 or series.shape != reference.shape:
        raise ValueError(f"expected two arrays of one shape (n,), got {series.shape} and {reference.shape}")
    known = np.isfinite(series) & np.isfinite(reference) & (series > 0) & (reference > 0)
    log, beside = np.log(series[known]), np.log(reference[known])
    if log.size < LEAST_BLOCKS * BLOCK:
        return series.copy(), 1.0
    moved, machine = np.diff(_blocks(log)), np.diff(_blocks(beside))
    scale = MAD_TO_SIGMA * median(np.abs(moved))
    used = np.abs(moved) <= REACH_SIGMAS * scale
    product, square = np.where(used, moved * machine, 0.0), np.where(used, machine * machine, 0.0)
    rest = square.sum() - square
    if scale == 0.0 or not (rest > 0).all():
        return series.copy(), 1.0
    predicted = (product.sum() - product) / rest * machine
    share = math.sqrt(float(np.sum((moved - predicted)[used] ** 2) / np.sum(moved[used] ** 2)))
    if share > LEAST_GAIN:
        return series.copy(), 1.0
    slope = float(product.sum() / square.sum())
    smooth = _running_mean(beside, BLOCK)
    corrected = series.copy()
    corrected[known] = np.exp(log - slope * (smooth - median(smooth)))
    return corrected, share


def _blocks(values: FloatArray) -> FloatArray:
    """Medians of consecutive blocks of BLOCK values; what does not fill a block is left out."""
    whole = values[: values.size // BLOCK * BLOCK].reshape(-1, BLOCK)
    return np.asarray(np.median(whole, axis=1), dtype=np.float64)


def _running_mean(values: FloatArray, width: int) -> FloatArray:
    """Mean over ``width`` values around each, fewer at the ends."""
    ones = np.ones(width)
    total = np.convolve(values, ones, mode="same") / np.convolve(np.ones(values.size), ones, mode="same")
    return np.asarray(total, dtype=np.float64)


def canary_jumps(canary: ArrayLike, index: int, *, reach: int = 5) -> float:
    """Log ratio of the canary's medians over ``reach`` points after and before ``index``; 0.0 where it was
    not measured. A jump with the series speaks for the environment or for contention, never for the
    subject."""
    reference = np.asarray(canary, dtype=np.float64)
    before, after = reference[max(index - reach, 0) : index], reference[index : index + reach]
    before, after = before[np.isfinite(before) & (before > 0)], after[np.isfinite(after) & (after > 0)]
    if before.size == 0 or after.size == 0:
        return 0.0
    return math.log(median(after)) - math.log(median(before))
