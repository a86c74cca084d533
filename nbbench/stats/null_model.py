"""What the greatest contrast of a series without any change looks like.

The split that a scan reports was chosen for being the greatest of thousands of correlated contrasts, so a
t-test at that split is far too optimistic. Its distribution was simulated instead: series of n points without
a change went through clipping, noise estimation and scan, under Gaussian, Laplace and Student-t(3) noise, and
for each n the worst of the three was kept. Two numbers describe it: as if ``tests`` independent t-tests with
``freedom`` degrees of freedom had been made. `nbbench.stats.calibration.null_table` recomputes them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

LENGTHS = (6, 7, 8, 10, 12, 16, 20, 30, 45, 60, 100, 160, 245, 500, 1200, 3000)
TESTS = (
    0.73,
    1.09,
    1.11,
    1.49,
    1.84,
    5.03,
    9.82,
    19.8,
    37.9,
    72.9,
    113.0,
    316.0,
    251.0,
    559.0,
    1577.0,
    2658.0,
)
FREEDOM = (5.0, 5.4, 5.0, 6.5, 8.0, 14.9, 20.0, 20.6, 20.0, 22.0, 18.7, 21.3, 15.9, 15.9, 16.4, 14.9)
"""Fitted for levels of at least 3 points, at probabilities from 0.1 to 0.002, within a factor of 1.28
(1.16 except at n = 12)."""


@lru_cache(maxsize=4096)
def null_parameters(n: int) -> tuple[float, float]:
    """Effective number of tests and degrees of freedom for a series of ``n`` points, interpolated in log
    n; held constant outside."""
    at, table = math.log(n), np.log(LENGTHS)
    tests = math.exp(float(np.interp(at, table, np.log(TESTS))))
    return tests, 1.0 / float(np.interp(at, table, 1.0 / np.array(FREEDOM)))


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
