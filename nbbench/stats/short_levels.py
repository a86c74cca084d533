"""Levels too short for the scan that something outside the series confirms: a repeat collection, the ledger,
or the other series of the machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.noise import (
    HALF_WINDOW,
    MIN_SEGMENT,
    Noise,
    difference_sigma,
    mad_sigma,
    mean_variance,
    running_median,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

ALONE = -1
"""A point that is confirmed by itself. A positive number is that of a level which is confirmed as a whole, 0
says that nothing confirms the point."""

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


@dataclass(frozen=True, slots=True)
class _Level:
    """One level while it is searched: residuals and noise of its points (m,), and which are not yet taken."""

    values: FloatArray
    sigma: FloatArray
    rest: BoolArray
    rho: float


def confirmed_by_repeats(log_values: FloatArray) -> BoolArray:
    """Points that stand out of their neighbourhood in the same way in every collection that measured them.

    ``log_values`` has shape (collections, n), NaN where a collection has no value. A point is confirmed (n,)
    when at least two collections measured it and each has it stand out to the same side; contention does not
    come back at the same commit.
    """
    out = np.array([standing_out(values) for values in log_values])
    known = np.isfinite(out)
    above, below = (np.all((out == side) | ~known, axis=0) for side in (1.0, -1.0))
    confirmed: BoolArray = (known.sum(axis=0) >= 2) & (above | below)
    return confirmed


def standing_out(log_values: FloatArray) -> FloatArray:
    """To which side each of the ``log_values`` (n,) lies OUTSTANDING_SIGMAS / sqrt(2) of their own noise or
    more from its running median: 1, -1, or 0; NaN where there is no value, or too few to tell."""
    out = np.full(log_values.size, np.nan)
    known = np.isfinite(log_values)
    present = log_values[known]
    if present.size >= 2 * MIN_SEGMENT and (sigma := difference_sigma(present)) > 0:
        apart = (present - running_median(present, HALF_WINDOW)) / sigma
        out[known] = np.sign(apart) * (np.abs(apart) >= OUTSTANDING_SIGMAS / math.sqrt(2.0))
    return out


def find_short_levels(
    residuals: FloatArray,
    edges: list[tuple[int, int]],
    confirmed: IntArray,
    noise: Noise,
    alpha: float,
) -> list[ShortLevel]:
    """Confirmed short levels inside the levels ``edges`` of a series whose residuals from those levels are
    given, shape (n,).

    ``confirmed`` (n,) is ALONE, the number of a level, or 0: a level that is confirmed as a whole is taken
    whole, however one of its points was disturbed. The strongest is taken first and the rest of its level is
    tested again without it.
    """
    sigma = noise.sigma * noise.loudness
    # each of them may take part in a run of its own and in one with its neighbour
    tests = 2 * len(_units(confirmed))
    found: list[ShortLevel] = []
    for a, b in edges:
        level = _Level(residuals[a:b], sigma[a:b], np.ones(b - a, dtype=np.bool_), noise.rho)
        while True:
            tried = [_test(level, start, stop, tests) for start, stop in _runs(level, confirmed[a:b])]
            best = min((t for t in tried if t is not None), key=lambda t: t.p_value, default=None)
            if best is None or best.p_value > alpha:
                break
            level.rest[best.start : best.stop] = False
            found.append(replace(best, start=a + best.start, stop=a + best.stop))
    return sorted(found, key=lambda short: short.start)


def _units(confirmed: IntArray) -> list[tuple[int, int]]:
    """What is confirmed together, half-open and in order: levels as a whole, and points by themselves."""
    starts = np.flatnonzero(np.diff(confirmed, prepend=0) | (confirmed == ALONE))
    return [(int(i), int(j)) for i, j in pairwise([*starts, confirmed.size]) if confirmed[i]]


def _runs(level: _Level, confirmed: IntArray) -> list[tuple[int, int]]:
    """Runs of confirmed points worth a test: short ones in a tiny level, outstanding ones in a longer."""
    units = [(i, j) for i, j in _units(confirmed) if level.rest[i:j].all()]
    m = confirmed.size
    if m < 2 * MIN_SEGMENT:
        spans = [(i, j) for i, _ in units for _, j in units if 0 < j - i <= MIN_SEGMENT]
        return [(i, j) for i, j in spans if (level.rest & (confirmed != 0))[i:j].all()]
    deviation = (level.values - np.median(level.values[level.rest])) / level.sigma
    runs: list[tuple[int, int]] = []
    heights: list[list[float]] = []
    for i, j in units:
        height = float(np.mean(deviation[i:j]))
        if runs and runs[-1][1] == i and _alike(heights[-1][-1], height):
            runs[-1] = (runs[-1][0], j)
            heights[-1].append(height)
        else:
            runs.append((i, j))
            heights.append([height])
    outstanding = (max(map(abs, each)) > OUTSTANDING_SIGMAS for each in heights)
    return [(i, j) for (i, j), stands in zip(runs, outstanding, strict=True) if stands and 2 * (j - i) < m]


def _alike(one: float, other: float) -> bool:
    """Whether two neighbours (sigmas from their level) are nearer to each other than to that level."""
    return abs(one - other) <= min(APART_SIGMAS, 0.5 * max(abs(one), abs(other)))


def _test(level: _Level, start: int, stop: int, tests: int) -> ShortLevel | None:
    """Student-t test of the mean of the run [start, stop) against the median of the rest of its level,
    Bonferroni over ``tests``.

    None when fewer than two other points are left, as then nothing is known of the noise.
    """
    from scipy.special import stdtr

    others = level.rest.copy()
    others[start:stop] = False
    base = level.values[others]
    if base.size < 2:
        return None
    spread = float(np.std(base, ddof=1)) if base.size < 2 * MIN_SEGMENT else mad_sigma(base)
    sigma = max(float(level.sigma[start:stop].max()), spread)
    variance = mean_variance(float(stop - start), level.rho) + math.pi / 2.0 / base.size
    difference = abs(float(np.mean(level.values[start:stop]) - np.median(base)))
    one = 2.0 * float(stdtr(base.size - 1, -difference / (sigma * math.sqrt(variance))))
    return ShortLevel(start, stop, min(tests * one, 1.0), sigma)
