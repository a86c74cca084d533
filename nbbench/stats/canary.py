"""The machine's own speed taken out of a series, where a canary was timed beside every point.

A canary is a fixed program: what moves it is the machine or its other users, never the subject. Its drift is
removed only where that is shown to lower the noise of the series.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from nbbench.stats.arrays import BoolArray, FloatArray, IntArray
from nbbench.stats.changepoint import detect_steps
from nbbench.stats.noise import MAD_TO_SIGMA, difference_sigma, median, running_median

LEAST_GAIN = 0.85
"""The canary is used when it lowers the noise around the levels to this share or less."""

LEAST_POINTS = 30
"""Fewer points do not tell how a series follows its canary."""

STRONG_EVIDENCE = 6.0
"""Least difference of BIC for the canary to be part of the account (Kass and Raftery 1995,
doi:10.1080/01621459.1995.10476572: "strong")."""

ROUNDS = 3
"""Turns of finding levels and fitting the slope within them; the slope settles in two."""

HUBER_SIGMAS = 2.0
"""Residuals further out weigh less in the fit (Huber 1964, doi:10.1214/aoms/1177703732)."""

LEVELS_ALPHA = 0.05
"""Error rate of the levels that the slope is fitted within."""

DISTURBED_SIGMAS = 5.0
"""A canary that is slower than its neighbours by this many times its own noise was disturbed, and so was what
it was timed beside: 5 points of 600 in the tuning half of the recordings (docs/statistics.md)."""

LEAST_DISTURBED = 0.01
"""Log ratio below which a point is left in, however quiet its canary is."""

NEIGHBOURS = (10, 40)
"""Points on each side whose median a canary is compared with. 10 are short against the wandering of a
machine; 40 see others that stay for long: in the first recording in a drawn order some 30 commits in a row,
by which the canaries took 12 to 15 % longer and the workloads 20 to 44 %."""

QUIET_SIGMAS = 4.0
LEAST_LOUD, MOST_LOUD = 0.04, 0.08
"""What the series of a machine share at a commit is the subject's only where the canary beside them was not
slower than around it by so many of its sigmas, and by this log ratio: in the tuning recording `branch4`
twelve seconds of contention, in which the workloads took 30 to 60 % longer, moved it by 0.08 to 0.13. A
canary of which so many sigmas are more than that says nothing: no result beside it is quiet."""

MANY_LEFT = 20
"""Undisturbed values that show levels by themselves, however many others were disturbed."""

CERTAIN_SIGMAS = 3.0
"""A jump of a canary is believed from so many standard errors on."""


def remove_drift(values: ArrayLike, canaries: ArrayLike) -> tuple[FloatArray, float]:
    """``values`` without what their canary shows of the machine, and the noise that is left, as a share.

    ``values`` (n,) and ``canaries`` (n,) or (programs, n) are positive times in commit order, NaN where
    nothing was measured; of several programs the one that helps most is used. The logarithm of the series is
    levels plus a slope, fitted within levels, times that of the canary. Where the share is above LEAST_GAIN,
    or BIC does not prefer it clearly, the values come back as they are, with 1.0.
    """
    rows = np.atleast_2d(np.asarray(canaries, dtype=np.float64))
    return min((_without(values, row) for row in rows), key=lambda found: found[1])


def _without(values: ArrayLike, canary: FloatArray) -> tuple[FloatArray, float]:
    series, reference = np.asarray(values, dtype=np.float64), canary
    if series.ndim != 1 or series.shape != reference.shape:
        raise ValueError(f"expected two arrays of one shape (n,), got {series.shape} and {reference.shape}")
    known = np.isfinite(series) & np.isfinite(reference) & (series > 0) & (reference > 0)
    log, beside = np.log(series[known]), np.log(reference[known])
    if log.size < LEAST_POINTS or np.ptp(beside) < LEAST_DISTURBED:
        return series.copy(), 1.0
    beside -= median(beside)
    own = _levels(log)
    plain = _sigma(_around(log, own))
    level = np.zeros(log.size, dtype=np.int64)
    slope = 0.0
    for _ in range(ROUNDS):
        slope = huber_slope(_around(log, level), _around(beside, level))
        level = _levels(log - slope * beside)
    rest, moved = _around(log, level), _around(beside, level)
    squares = float(moved @ moved)
    if slope <= 0.0 or plain == 0.0 or squares == 0.0:
        return series.copy(), 1.0
    sigma = _sigma((rest - slope * moved) / (1.0 - moved * moved / squares))
    evidence = 2.0 * log.size * math.log(plain / sigma) if sigma > 0.0 else math.inf
    evidence -= (2.0 * (level[-1] - own[-1]) + 1.0) * math.log(log.size)
    if sigma > LEAST_GAIN * plain or evidence < STRONG_EVIDENCE:
        return series.copy(), 1.0
    corrected = series.copy()
    corrected[known] = np.exp(log - slope * beside)
    return corrected, sigma / plain


def _levels(log: FloatArray) -> IntArray:
    """Number of the level of each point, by the detector."""
    level = np.zeros(log.size, dtype=np.int64)
    for step in detect_steps(np.exp(log - median(log)), alpha=LEVELS_ALPHA):
        level[step.index :] += 1
    return level


def _around(values: FloatArray, level: IntArray) -> FloatArray:
    """Values less the median of their level."""
    rest = values.copy()
    for number in range(int(level[-1]) + 1):
        rest[level == number] -= median(values[level == number])
    return rest


def huber_slope(rest: FloatArray, moved: FloatArray) -> float:
    """Slope of ``rest`` (n,) on ``moved`` (n,) through the origin, by Huber's weights; 0.0 where nothing
    moved."""
    weights = np.ones(rest.size)
    slope = 0.0
    for _ in range(5):
        squares = float(weights @ (moved * moved))
        if squares == 0.0:
            return 0.0
        slope = float(weights @ (rest * moved)) / squares
        left = np.abs(rest - slope * moved)
        sigma = MAD_TO_SIGMA * median(left)
        if sigma == 0.0:
            return slope
        weights = np.minimum(1.0, HUBER_SIGMAS * sigma / np.maximum(left, sigma * 1e-9))
    return slope


def _sigma(rest: FloatArray) -> float:
    """MAD sigma around zero."""
    return MAD_TO_SIGMA * median(np.abs(rest))


def without_disturbed(values: FloatArray, disturbed: BoolArray) -> FloatArray:
    """The ``values`` (n,) without those that were ``disturbed`` (n,), unless these are half or more and fewer
    than MANY_LEFT others are left."""
    left = int(np.count_nonzero(np.isfinite(values) & ~disturbed))
    enough = left >= MANY_LEFT or 2 * int(disturbed.sum()) < disturbed.size
    return np.where(disturbed, np.nan, values) if enough else values


def disturbed_beside(canaries: ArrayLike, at: ArrayLike | None = None) -> BoolArray:
    """Points (n,) at which one of the canaries (programs, n) was slower than around them; see
    DISTURBED_SIGMAS. None so near to an end that it cannot be told from the machine's wandering.

    ``at`` (n,) is when the points were measured, on any clock: what disturbed a point also disturbed what
    was measured around it. Without it the points were measured in their order.
    """
    rows = np.atleast_2d(np.asarray(canaries, dtype=np.float64))
    order = np.arange(rows.shape[1]) if at is None else np.argsort(np.asarray(at), kind="stable")
    late = np.zeros(rows.shape[1], dtype=np.bool_)
    for row in rows:
        known = order[np.isfinite(row[order]) & (row[order] > 0)]
        log = np.log(row[known])
        for reach in NEIGHBOURS:
            if known.size > 2 * reach:
                late[known] |= _late(log, reach)
    return late


def quiet_beside(canaries: ArrayLike, at: ArrayLike) -> BoolArray:
    """Points (n,) at which every canary (programs, n) was timed, and none was slower than around it, by the
    more cautious limits QUIET_SIGMAS and LEAST_LOUD; also near the ends, by the points that there are.

    ``at`` (n,) is when the points were measured, on any clock, NaN where they were not.
    """
    rows = np.atleast_2d(np.asarray(canaries, dtype=np.float64))
    quiet: BoolArray = np.all(np.isfinite(rows) & (rows > 0), axis=0)
    order = np.argsort(np.asarray(at), kind="stable")
    for row in rows:
        known = order[np.isfinite(row[order]) & (row[order] > 0)]
        log, width = np.log(row[known]), 2 * NEIGHBOURS[0] + 1
        starts = np.clip(np.arange(log.size) - NEIGHBOURS[0], 0, max(log.size - width, 0))
        apart = log - [median(log[start : start + width]) for start in starts.tolist()]
        limit = max(QUIET_SIGMAS * MAD_TO_SIGMA * median(np.abs(apart)), LEAST_LOUD) if log.size else 0.0
        quiet[known] &= (apart <= limit) & (limit <= MOST_LOUD)
    return quiet


def _late(log: FloatArray, reach: int) -> BoolArray:
    """Which of the canary's values are slower than the median of ``reach`` on each side."""
    apart = log - running_median(log, reach)
    sigma = max(difference_sigma(log), MAD_TO_SIGMA * median(np.abs(apart)))
    apart[:reach] = apart[-reach:] = 0.0
    late: BoolArray = apart > max(DISTURBED_SIGMAS * sigma, LEAST_DISTURBED)
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
