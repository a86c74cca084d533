"""Candidate splits: every position, under every pair of left and right window lengths, in one vectorised
pass.

A moving-sum scan with several, also lopsided, windows (Cho and Kirch 2022, doi:10.1007/s10463-021-00811-5;
Messer et al. 2014): a short level is compared with a long past, and a window that holds another change loses
against one that does not.

The null model is what the greatest contrast of a series without any change looks like. It was simulated, as
the split that a scan reports was chosen for being the greatest (docs/statistics.md). Two numbers describe it:
as if ``tests`` independent t-tests with ``freedom`` degrees of freedom had been made.
`tests.bench.calibration.null_table` recomputes them.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.arrays import FloatArray, IntArray
from nbbench.stats.noise import MIN_SEGMENT, Noise, contrast_variance, median

GROWTH = 1.5
"""Ratio of neighbouring window lengths: at worst 1/3 of a level's points are left out, which costs 18 % of
the statistic."""

LOPSIDED = 16.0
"""Longest window over shortest in a pair: a longer one would lower the variance of the contrast by less
than 6 %."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Squared contrasts. Row i compares the ``left[i]`` points before a position with the ``right[i]`` points
    from it on.

    ``squared`` has shape (pairs, n + 1) and is zero where a window would leave the series.
    """

    left: IntArray
    right: IntArray
    squared: NDArray[np.float32]


def window_lengths(n: int) -> IntArray:
    """Window lengths from MIN_SEGMENT to ``n`` less that, each about GROWTH times the one before."""
    lengths = []
    length = MIN_SEGMENT
    while length <= n - MIN_SEGMENT:
        lengths.append(length)
        length = max(length + 1, int(length * GROWTH))
    return np.array(lengths, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """What a scan of n points compares: windows before each position and from it on, of these ``lengths``. Of
    the pairs, numbers ``rows`` to the next have the window before them of one length, and behind them the
    lengths ``second``; ``left`` and ``right`` (pairs,) are the points of both."""

    lengths: IntArray
    rows: list[tuple[int, int]]
    second: list[slice]
    left: IntArray
    right: IntArray


@lru_cache(maxsize=256)
def _pairs(n: int) -> _Pairs:
    lengths = window_lengths(n)
    one, two = lengths[:, None], lengths[None, :]
    compared = (two * LOPSIDED >= one) & (two <= np.minimum(one * LOPSIDED, n - one))
    first, second = np.nonzero(compared)
    # the lengths that are compared with one lie side by side
    ends = [0, *np.cumsum(compared.sum(axis=1)).tolist()]
    slices = [slice(int(second[a]), int(second[b - 1]) + 1) if b > a else slice(0) for a, b in pairwise(ends)]
    return _Pairs(lengths, list(pairwise(ends)), slices, lengths[first], lengths[second])


class Compared(NamedTuple):
    """What every pair of windows shows, whatever the noise: the squared difference of their means, and the
    sum of squares inside of both, (pairs, n + 1) each. Good until the next series is compared."""

    pairs: _Pairs
    contrast: FloatArray
    spread: FloatArray
    room: FloatArray


def compare(values: FloatArray) -> Compared:
    """The windows of a spike-free series of n >= 2 MIN_SEGMENT points."""
    pairs = _pairs(values.size)
    mean, spread = _windows(values - median(values), pairs.lengths)
    mean_after, spread_after = _starting(mean, pairs.lengths, 0.0), _starting(spread, pairs.lengths, np.inf)
    contrast, within, room = _room(pairs.left.size, values.size + 1)
    for i, ((a, b), after) in enumerate(zip(pairs.rows, pairs.second, strict=True)):
        np.subtract(mean_after[after], mean[i], out=contrast[a:b])
        np.add(spread_after[after], spread[i], out=within[a:b])
    contrast *= contrast
    return Compared(pairs, contrast, within, room)


def scan(compared: Compared, noise: Noise) -> Scan:
    """All contrasts of a series.

    The contrast is (mean right - mean left)^2 / (s^2 v): v is its variance under AR(1) noise of unit variance
    and s^2 the larger of the noise of the series and the variance inside the two windows.
    """
    pairs, variance = compared.pairs, compared.room
    one, two = pairs.left.astype(np.float64), pairs.right.astype(np.float64)
    share = contrast_variance(one, two, noise.rho)
    np.multiply(compared.spread, (share / (one + two - 2.0))[:, None], out=variance)
    np.maximum(variance, (share * noise.sigma**2)[:, None], out=variance)
    squared = np.empty(variance.shape, dtype=np.float32)
    np.divide(compared.contrast, variance, out=squared, casting="same_kind")
    return Scan(pairs.left, pairs.right, squared)


@lru_cache(maxsize=2)
def _room(rows: int, columns: int) -> FloatArray:
    """Three arrays of this shape, again and again: new memory costs as much as computing."""
    return np.empty((3, rows, columns))


def _windows(values: FloatArray, lengths: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and sum of squares around it of the window of each length that ends before each position, shape
    (lengths, n + 1). Where the window would start before the series its squares are infinite, so that no
    contrast is left."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    squares = np.concatenate(([0.0], np.cumsum(values * values)))
    mean = np.zeros((lengths.size, values.size + 1))
    spread = np.full_like(mean, np.inf)
    for row, length in enumerate(lengths.tolist()):
        at = np.subtract(sums[length:], sums[:-length], out=mean[row, length:])
        at /= length
        np.subtract(squares[length:], squares[:-length], out=spread[row, length:])
        spread[row, length:] -= length * (at * at)
    return mean, spread


def _starting(ending: FloatArray, lengths: IntArray, outside: float) -> FloatArray:
    """The same windows by their first position: the window of length r that starts at k is the one that
    ends at k + r."""
    moved = np.full_like(ending, outside)
    for row, length in enumerate(lengths.tolist()):
        moved[row, :-length] = ending[row, length:]
    return moved


def pick(found: Scan, limit: float) -> list[int]:
    """Positions of the greatest contrasts, greatest first, until none reaches ``limit``; returned in order of
    position.

    After each choice the windows that reach across it are struck out, so the next contrast looks at one side
    only (binary segmentation, without scanning again).
    """
    places = np.flatnonzero(found.squared >= limit * limit)
    squared = found.squared.ravel()[places]
    row = places // found.squared.shape[1]  # faster than divmod
    position = places - row * found.squared.shape[1]
    start, end = position - found.left[row], position + found.right[row]
    chosen: list[int] = []
    while squared.size:
        chosen.append(at := int(position[squared.argmax()]))
        kept = (start >= at) | (end <= at)
        squared, position, start, end = squared[kept], position[kept], start[kept], end[kept]
    return sorted(chosen)


NULL_TABLE = (
    (6, 0.49, 3.50),
    (8, 0.84, 4.12),
    (10, 1.27, 5.36),
    (12, 1.52, 6.98),
    (16, 4.37, 17.5),
    (20, 8.85, 27.7),
    (30, 21.9, 29.6),
    (60, 52.6, 22.0),
    (100, 90.3, 18.7),
    (245, 462.0, 22.0),
    (500, 425.0, 15.9),
    (1200, 1619.0, 17.5),
)
"""Rows (points, tests, freedom), fitted for levels of at least 3 points at probabilities from 0.1 to 0.002;
off by a factor of 1.25 at most (1.37 at n = 12)."""

_LOG_LENGTHS, _LOG_TESTS, _INVERSE_FREEDOM = (
    np.log([row[0] for row in NULL_TABLE]),
    np.log([row[1] for row in NULL_TABLE]),
    1.0 / np.array([row[2] for row in NULL_TABLE]),
)


@lru_cache(maxsize=4096)
def null_parameters(n: int) -> tuple[float, float]:
    """Effective number of tests and degrees of freedom for a series of ``n`` points, interpolated in log
    n; beyond the table the tests grow with n."""
    tests = math.exp(float(np.interp(math.log(n), _LOG_LENGTHS, _LOG_TESTS)))
    if n > NULL_TABLE[-1][0]:
        # twice as many points hold about twice as many places for an alarm
        tests *= n / NULL_TABLE[-1][0]
    return tests, 1.0 / float(np.interp(math.log(n), _LOG_LENGTHS, _INVERSE_FREEDOM))


def max_p_value(statistic: float, n: int) -> float:
    """Probability that a series of ``n`` points without a change shows a contrast of at least |statistic|
    anywhere."""
    from scipy.special import stdtr

    tests, freedom = null_parameters(n)
    one = min(2.0 * float(stdtr(freedom, -abs(statistic))), 1.0 - 1e-12)
    return -math.expm1(tests * math.log1p(-one))


def equivalent_statistic(statistic: float, freedom: float, n: int) -> float:
    """What a contrast whose noise rests on ``freedom`` degrees of freedom is worth beside those of a
    series of ``n`` points: the one with the same tail probability, never a greater one."""
    from scipy.special import stdtr, stdtrit

    usual = null_parameters(n)[1]
    if freedom >= usual:
        return statistic
    return -float(stdtrit(usual, stdtr(freedom, -statistic)))


@lru_cache(maxsize=4096)
def critical_value(n: int, p_value: float) -> float:
    """The contrast whose ``max_p_value`` in a series of ``n`` points is ``p_value``."""
    from scipy.special import stdtrit

    tests, freedom = null_parameters(n)
    return -float(stdtrit(freedom, -math.expm1(math.log1p(-p_value) / tests) / 2.0))
