"""Levels too short for the scan that something outside the series confirms: a repeat collection, or the
ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.noise import Noise, mean_variance
from nbbench.stats.summary import mad_sigma

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

OUTSTANDING_SIGMAS = 3.5
"""A confirmed point must stand out this far to be looked at; the test that follows is corrected for all
confirmed points."""

APART_SIGMAS = 5.0
"""Neighbouring confirmed points further apart than this are levels of their own."""


@dataclass(frozen=True, slots=True)
class ShortLevel:
    """Points [start, stop) at a level of their own; ``sigma`` is the noise of one point that it was tested
    against."""

    start: int
    stop: int
    p_value: float
    sigma: float


def find_short_levels(
    residuals: FloatArray,
    edges: list[tuple[int, int]],
    confirmed: BoolArray,
    noise: Noise,
    min_segment: int,
    alpha: float,
) -> list[ShortLevel]:
    """Confirmed short levels inside the levels ``edges`` of a series whose residuals from those levels are
    given, shape (n,).

    The strongest is taken first and the rest of its level is tested again without it.
    """
    tests = 2 * int(np.count_nonzero(confirmed))
    found: list[ShortLevel] = []
    for a, b in edges:
        rest = np.ones(b - a, dtype=np.bool_)
        while True:
            sigma = noise.sigma * noise.loudness[a:b]
            runs = _candidates(residuals[a:b], rest & confirmed[a:b], rest, sigma, min_segment)
            tried = [_test(residuals[a:b], rest, run, noise, min_segment, tests) for run in runs]
            best = min((t for t in tried if t is not None), key=lambda t: t.p_value, default=None)
            if best is None or best.p_value > alpha:
                break
            rest[best.start : best.stop] = False
            found.append(ShortLevel(a + best.start, a + best.stop, best.p_value, best.sigma))
    return sorted(found, key=lambda level: level.start)


def _candidates(
    values: FloatArray, usable: BoolArray, rest: BoolArray, sigma: float, min_segment: int
) -> list[tuple[int, int]]:
    """Runs of usable points worth a test: every short one in a tiny level, the outstanding ones in a
    longer one."""
    m = values.size
    if m < 2 * min_segment:
        spans = [(i, j) for i in range(m) for j in range(i + 1, min(i + min_segment, m + 1))]
        return [(i, j) for i, j in spans if usable[i:j].all()]
    deviation = values - np.median(values[rest])
    index = np.flatnonzero(usable & (np.abs(deviation) > OUTSTANDING_SIGMAS * sigma))
    if index.size == 0:
        return []
    apart = np.abs(np.diff(deviation[index])) > APART_SIGMAS * sigma
    groups = np.split(index, np.flatnonzero((np.diff(index) > 1) | apart) + 1)
    return [(int(g[0]), int(g[-1]) + 1) for g in groups if 2 * g.size < m]


def _test(
    values: FloatArray, rest: BoolArray, run: tuple[int, int], noise: Noise, min_segment: int, tests: int
) -> ShortLevel | None:
    """Student-t test of the mean of a run against the median of the rest of its level, Bonferroni over
    ``tests``.

    None when fewer than two other points are left and nothing is known of the noise.
    """
    from scipy.special import stdtr

    others = rest.copy()
    others[run[0] : run[1]] = False
    base = values[others]
    if base.size < 2:
        return None
    spread = float(np.std(base, ddof=1)) if base.size < 2 * min_segment else mad_sigma(base)
    sigma = max(noise.sigma, spread)
    variance = mean_variance(float(run[1] - run[0]), noise.rho) + math.pi / 2.0 / base.size
    statistic = abs(float(np.mean(values[run[0] : run[1]]) - np.median(base))) / (sigma * math.sqrt(variance))
    p_value = min(tests * 2.0 * float(stdtr(base.size - 1, -statistic)), 1.0)
    return ShortLevel(run[0], run[1], p_value, sigma)
