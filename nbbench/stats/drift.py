"""Slow trends: one ramp instead of a staircase of steps.

A detector of steps answers a trend with a staircase. Cuts in one direction are therefore tried against a
straight ramp between two flat levels, and the simpler account of the same points wins (Schwarz 1978,
doi:10.1214/aos/1176344136).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.noise import MIN_SEGMENT
from nbbench.stats.segments import Levels, bounds, segments

FloatArray = NDArray[np.float64]

KNOTS = 40
"""Places tried for each end of a ramp: an end is found to 1/40 of the stretch, and 780 pairs cost less
than a scan."""

STRONG_EVIDENCE = 6.0
"""Least difference of BIC for a ramp to replace steps (Kass and Raftery 1995,
doi:10.1080/01621459.1995.10476572: "strong")."""

SLOW_SEGMENTS = 4
"""A ramp spans at least this many least segments: a shorter one is a step whose place is blurred by noise."""

MAX_STAIRS = 12
"""Longest staircase tried at once; a longer one is replaced in parts."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """Straight change from level ``before`` at index ``start`` to ``after`` at ``stop``; replaces the cuts
    [first, last]."""

    first: int
    last: int
    start: int
    stop: int
    before: float
    after: float
    statistic: float
    evidence: float

    @property
    def middle(self) -> int:
        """First index past half of the way: the place that stands for the ramp where one index is asked."""
        return (self.start + self.stop) // 2 + 1

    def at(self, indices: NDArray[np.int64]) -> FloatArray:
        """Fitted level at ``indices``."""
        share = np.clip((indices - self.start) / (self.stop - self.start), 0.0, 1.0)
        return self.before + (self.after - self.before) * share


def best_ramp(values: FloatArray, least: int) -> tuple[int, int, float, float, float, float]:
    """Least-squares ramp over ``values`` (m,) of at least ``least`` points: start, stop, before, after,
    residual and regressor squares.

    Sums over the ramp are differences of prefix sums, so each pair of ends costs the same whatever its
    length.
    """
    m = values.size
    centred = values - values.mean()
    sums = np.concatenate(([0.0], np.cumsum(centred)))
    moments = np.concatenate(([0.0], np.cumsum(centred * np.arange(m))))
    knots = np.unique(np.linspace(0, m - 1, min(m, KNOTS)).round().astype(np.int64))
    u, v = (knots[index] for index in np.triu_indices(knots.size, 1))
    u, v = u[v - u >= least], v[v - u >= least]
    length = (v - u).astype(np.float64)
    total = (length - 1.0) / 2.0 + (m - v)
    squares = (length - 1.0) * (2.0 * length - 1.0) / (6.0 * length) + (m - v) - total * total / m
    product = (moments[v] - moments[u] - u * (sums[v] - sums[u])) / length + sums[m] - sums[v]
    best = int(np.argmax(product * product / squares))
    height = float(product[best] / squares[best])
    before = float(values.mean()) - height * float(total[best]) / m
    residual = float(centred @ centred) - height * float(product[best])
    return int(u[best]), int(v[best]), before, before + height, max(residual, 0.0), float(squares[best])


def try_ramp(levels: Levels, cuts: list[int], first: int, last: int) -> Ramp | None:
    """A ramp in place of the cuts ``first`` to ``last``, if the evidence for it is strong."""
    a, b = bounds(cuts, first, levels.n)[0], bounds(cuts, last, levels.n)[1]
    least = SLOW_SEGMENTS * MIN_SEGMENT
    if b - a <= least:
        return None
    u, v, before, after, residual, squares = best_ramp(levels.clipped[a:b], least)
    edges = [a, *cuts[first : last + 1], b]
    stairs = sum(levels.residual_squares(x, y) for x, y in itertools.pairwise(edges))
    variance = max(levels.noise_variance(a, b), min(stairs, residual) / (b - a)) * levels.long_run_factor()
    # numbers fitted: a level and a place for each stair; two levels and two places for a ramp, without the
    # places if it fills the stretch
    numbers = 2 * (last - first + 1) + 1 - (2 if (u, v) == (0, b - a - 1) else 4)
    evidence = (stairs - residual) / variance + numbers * math.log(b - a)
    if evidence < STRONG_EVIDENCE:
        return None
    statistic = abs(after - before) * math.sqrt(squares / variance)
    return Ramp(first, last, a + u, a + v, before, after, statistic, evidence)


def find_ramps(levels: Levels, cuts: list[int]) -> list[Ramp]:
    """Ramps that replace runs of ``cuts`` of one direction, in order; the run with the strongest evidence
    is replaced first."""
    edges = [levels.median(a, b) for a, b in segments(cuts, levels.n)]
    up = [after > before for before, after in itertools.pairwise(edges)]
    candidates = []
    for first in range(len(cuts)):
        for last in range(first, min(len(cuts), first + MAX_STAIRS)):
            if up[last] != up[first]:
                break
            ramp = try_ramp(levels, cuts, first, last)
            if ramp is not None and (ramp.after > ramp.before) == up[first]:
                candidates.append(ramp)
    chosen: list[Ramp] = []
    for ramp in sorted(candidates, key=lambda r: -r.evidence):
        # neighbouring ramps would share a level, so one cut must stay between them
        if all(ramp.last < other.first - 1 or ramp.first > other.last + 1 for other in chosen):
            chosen.append(ramp)
    return sorted(chosen, key=lambda r: r.first)
