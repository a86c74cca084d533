"""The machine's own speed taken out of a series, where a canary was timed beside every point.

A canary is a fixed program: what moves it is the machine or its other users, never the subject. Its drift is
removed only where that is shown to lower the noise of the series.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.stats.noise import running_median
from nbbench.stats.summary import MAD_TO_SIGMA, difference_sigma, median

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEAST_GAIN = 0.85
"""The canary is used when it lowers the wander to this share or less: docs/statistics.md says how often one
that knows nothing gets there by chance."""

BLOCK = 10
"""Points whose median stands for the machine's speed: it wanders over tens of seconds, while neighbouring
points differ by noise that no canary of another moment can know."""

LEAST_BLOCKS = 15
"""Fewer blocks do not tell how a series follows its canary."""

HELD_UP_SIGMAS = 5.0
"""A canary that is slower than its neighbours by this many times its own noise was held up, and so was what
it was timed beside: 5 points of 600 in the tuning half of the recordings (docs/statistics.md)."""

LEAST_HELD_UP = 0.01
"""Log ratio below which a point is left in, however quiet its canary is."""

NEIGHBOURS = 10
"""Points on each side whose median a canary is compared with: three times the longest burst on record, and
short against the wandering of a machine."""

CERTAIN_SIGMAS = 3.0
"""A jump of a canary is believed from so many standard errors on."""

EXPLAINED_SHARE = 0.5
"""A canary that moved by this share of a change, in its direction, explains it: workloads follow the canaries
by a factor of one to two."""

REACH_SIGMAS = 2.5
"""Differences further out are steps, and do not take part in the fit."""


def remove_drift(values: ArrayLike, canaries: ArrayLike) -> tuple[FloatArray, float]:
    """``values`` without what their canary shows of the machine, and the wander that is left, as a share.

    ``values`` (n,) and ``canaries`` (n,) or (programs, n) are positive times in commit order, NaN where
    nothing was measured; of several programs the one that helps most is used. The logarithm of
    the series follows ``b`` times the running mean of that of the canary over BLOCK points; ``b`` is fitted
    through the origin to differences of neighbouring blocks, so that a change of level enters one difference
    and is cut off as an outlier. Each difference is predicted by a ``b`` that was fitted without it (leave
    one out, Stone 1974, doi:10.1111/j.2517-6161.1974.tb00994.x); the share is the root mean square of what
    the predictions leave over that of the differences themselves. Above LEAST_GAIN the values come back as
    they are, with 1.0.
    """
    rows = np.atleast_2d(np.asarray(canaries, dtype=np.float64))
    return min((_without(values, row) for row in rows), key=lambda found: found[1])


def _without(values: ArrayLike, canary: FloatArray) -> tuple[FloatArray, float]:
    series, reference = np.asarray(values, dtype=np.float64), canary
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


def held_up(canaries: ArrayLike) -> BoolArray:
    """Points (n,) at which one of the canaries (programs, n) was slower than around them; see
    HELD_UP_SIGMAS. None within NEIGHBOURS of an end, where it cannot be told from the machine's wandering."""
    rows = np.atleast_2d(np.asarray(canaries, dtype=np.float64))
    late = np.zeros(rows.shape[1], dtype=np.bool_)
    for row in rows:
        known = np.isfinite(row) & (row > 0)
        if np.count_nonzero(known) > 2 * NEIGHBOURS:
            log = np.log(row[known])
            apart = log - running_median(log, NEIGHBOURS)
            sigma = max(difference_sigma(log), MAD_TO_SIGMA * median(np.abs(apart)))
            apart[:NEIGHBOURS] = apart[-NEIGHBOURS:] = 0.0
            late[known] |= apart > max(HELD_UP_SIGMAS * sigma, LEAST_HELD_UP)
    return late


def canary_jump(before: ArrayLike, after: ArrayLike) -> float:
    """Log ratio of a canary's medians after and before, of shape (k,) and (m,); 0.0 where that is within
    CERTAIN_SIGMAS standard errors, or not known as one side has fewer than three."""
    sides = [np.asarray(side, dtype=np.float64) for side in (before, after)]
    earlier, later = (np.log(side[np.isfinite(side) & (side > 0)]) for side in sides)
    if min(earlier.size, later.size) < 3:
        return 0.0
    moved = median(later) - median(earlier)
    spread = MAD_TO_SIGMA * median(np.abs(np.concatenate((earlier - median(earlier), later - median(later)))))
    error = spread * math.sqrt(math.pi / 2.0 * (1.0 / earlier.size + 1.0 / later.size))
    return moved if abs(moved) > CERTAIN_SIGMAS * error else 0.0


def explains(jump: float, effect: float) -> bool:
    """Whether a canary's ``jump`` goes far enough with a change of ``effect`` (log ratios of times)."""
    return jump * effect > 0 and abs(jump) >= EXPLAINED_SHARE * abs(effect)
