"""What the greatest contrast of a series without any change looks like.

It was simulated, as the split that a scan reports was chosen for being the greatest (docs/statistics.md). Two
numbers describe it: as if ``tests`` independent t-tests with ``freedom`` degrees of freedom had been made.
`tests.bench.calibration.null_table` recomputes them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

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
