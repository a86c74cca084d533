"""Levels between cuts: test, move and drop cuts, and say how sure their places are.

A *cut* is the first index of a new level. All indices here count the finite points of the series.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from nbbench.stats.arrays import FloatArray, IntArray
from nbbench.stats.noise import (
    MAD_TO_SIGMA,
    MIN_SEGMENT,
    Noise,
    contrast_variance,
    mean_covariance,
    mean_variance,
    median,
)
from nbbench.stats.scan import equivalent_statistic, window_lengths

MEDIAN_SIGMA = math.sqrt(math.pi / 2.0)
"""Standard error of a median over that of a mean, for Gaussian noise."""

OBVIOUS_SIGMAS = 4.0
"""A change of level this many sigmas high is not autocorrelated noise, and is removed before that noise is
measured."""

BLOCKS = 20
"""Least number of windows of one length in the series for their spread to be measured: its own error is
then below 20 %."""

PRIOR_POINTS = 1.0
"""Weight of the noise around a level in that of its own points: two points' difference alone says little."""

OWN_NOISE_RATIO = 3.0
"""A level this much louder than the noise around it has another noise: three points of the same noise seem so
in three cases of 10^6."""

LOSS_FREEDOM = 5.0
"""Degrees of freedom of the likelihood that places a cut: near Gaussian up to two sigma, forgiving beyond."""

LOCATION_CONFIDENCE = 0.95

FOREIGN_SIGMAS = 3.0
"""A point belongs to the neighbouring level when its squared distance to its own exceeds that to the other by
this many sigmas squared: a likelihood ratio of 90."""

TAIL_SHARE = 0.75
"""Points deviating by this share of an effect count as spikes that could have made it."""


@dataclass(frozen=True, slots=True)
class CutTest:
    """One cut against the levels on both sides.

    ``statistic`` is the contrast in standard errors, ``effect`` the difference of medians, ``error`` the
    standard error of a difference of means there, ``sigma`` the noise of one point.
    """

    statistic: float
    effect: float
    error: float
    sigma: float


@dataclass
class Levels:
    """A series prepared for cutting: ``raw`` and spike-free ``clipped`` values (n,), and their noise."""

    raw: FloatArray
    clipped: FloatArray
    noise: Noise
    n: int = field(init=False, repr=False)
    _sums: FloatArray = field(init=False, repr=False)
    _loudness: FloatArray = field(init=False, repr=False)
    # The same and sums of squares as plain numbers, which single levels are worked out from twice as fast.
    _totals: tuple[list[float], list[float], list[float]] = field(init=False, repr=False)
    _inflation: tuple[FloatArray, FloatArray] | None = field(init=False, repr=False, default=None)
    # Dropping one cut of many leaves nearly all levels as they were: what was worked out for them is kept.
    _medians: dict[tuple[int, int], float] = field(init=False, repr=False, default_factory=dict)
    _best: dict[tuple[int, int], int | None] = field(init=False, repr=False, default_factory=dict)
    _tests: dict[tuple[int, int, int], CutTest] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.n = self.raw.size
        centred = self.clipped - median(self.clipped)
        self._sums, squares, self._loudness = (
            np.concatenate(([0.0], np.cumsum(each))) for each in (centred, centred**2, self.noise.loudness**2)
        )
        self._totals = self._sums.tolist(), squares.tolist(), self._loudness.tolist()

    def median(self, a: int, b: int) -> float:
        """Median of the raw points [a, b); kept, since the same levels are tested again and again."""
        key = (a, b)
        if key not in self._medians:
            self._medians[key] = median(self.raw[a:b])
        return self._medians[key]

    def inflation(self, length: int) -> float:
        """Factor on the AR(1) variance of a mean over ``length`` points, as measured by
        `measure_inflation`; at least 1."""
        return float(np.interp(math.log(length), *self._inflation)) if self._inflation else 1.0

    def noise_variance(self, a: int, b: int) -> float:
        """Variance of one of the points [a, b) by the noise around them."""
        loud = self._totals[2]
        return self.noise.sigma**2 * (loud[b] - loud[a]) / (b - a)

    def test(self, a: int, cut: int, b: int) -> CutTest:
        """Test ``cut`` against the levels [a, cut) and [cut, b), each with a noise of its own (Welch
        1947)."""
        place = (a, cut, b)
        if place not in self._tests:
            self._tests[place] = self._test(a, cut, b)
        return self._tests[place]

    def _test(self, a: int, cut: int, b: int) -> CutTest:
        left, right, sums, rho = cut - a, b - cut, self._totals[0], self.noise.rho
        one_left, one_right = self._own_variance(a, cut), self._own_variance(cut, b)
        error = math.sqrt(
            one_left * self.inflation(left) * mean_variance(left, rho)
            + one_right * self.inflation(right) * mean_variance(right, rho)
            - 2.0 * min(one_left, one_right) * mean_covariance(left, right, rho)
        )
        difference = (sums[b] - sums[cut]) / right - (sums[cut] - sums[a]) / left
        effect = self.median(cut, b) - self.median(a, cut)
        # the medians must agree, or a few points of one side make the difference
        agreed = min(abs(difference), MEDIAN_SIGMA * abs(effect)) if difference * effect > 0 else 0.0
        sigma = math.sqrt((left * one_left + right * one_right) / (left + right))
        statistic = agreed / error
        for one, (start, stop) in ((one_left, (a, cut)), (one_right, (cut, b))):
            if one > OWN_NOISE_RATIO**2 * self.noise_variance(start, stop):
                # so loud a level tells its noise by its own few points only
                statistic = equivalent_statistic(statistic, stop - start, self.n)
        return CutTest(statistic, effect, error, sigma)

    def _own_variance(self, a: int, b: int) -> float:
        """Variance of one point of the level [a, b): its own, with PRIOR_POINTS points' worth of the noise
        around it, and never below that."""
        noise, (sums, squares, _) = self.noise_variance(a, b), self._totals
        total = sums[b] - sums[a]
        around_mean = max(squares[b] - squares[a] - total * total / (b - a), 0.0)
        return max(noise, (around_mean + PRIOR_POINTS * noise) / (b - a - 1 + PRIOR_POINTS))

    def best_cut(self, a: int, b: int) -> int | None:
        """The cut allowed inside [a, b) that lowers the residual sum of squares most; None where there is
        no room for one."""
        place = (a, b)
        if place not in self._best:
            left = np.arange(float(MIN_SEGMENT), b - a - MIN_SEGMENT + 1)
            right = left[::-1]
            total = self._sums[a + MIN_SEGMENT : b - MIN_SEGMENT + 1]
            difference = (self._sums[b] - total) / right - (total - self._sums[a]) / left
            gains = difference * difference * left * right / (b - a)
            self._best[place] = a + MIN_SEGMENT + int(gains.argmax()) if left.size else None
        return self._best[place]

    def refine(self, cuts: list[int]) -> list[int]:
        """Move each cut to its best place between its neighbours, until none moves (three rounds are
        always enough in practice)."""
        edges, known = [0, *cuts, self.n], self._best
        for _ in range(3):
            before = list(edges)
            for i in range(1, len(edges) - 1):
                place = edges[i - 1], edges[i + 1]
                if (best := known[place] if place in known else self.best_cut(*place)) is not None:
                    edges[i] = best
            if edges == before:
                break
        return edges[1:-1]

    def prune(self, cuts: list[int], limit: float, min_effect: float) -> tuple[list[int], list[CutTest]]:
        """Drop the weakest cut and refine the others, until all reach ``limit`` standard errors and
        ``min_effect``."""
        known = self._tests
        while cuts:
            places = zip([0, *cuts], cuts, [*cuts[1:], self.n], strict=False)
            tests = [known[place] if place in known else self.test(*place) for place in places]
            strength = [t.statistic if abs(t.effect) >= min_effect else 0.0 for t in tests]
            weakest = strength.index(min(strength))
            if strength[weakest] >= limit:
                return cuts, tests
            cuts = self._closed_up(cuts[:weakest] + cuts[weakest + 1 :], limit, min_effect)
        return [], []

    def _closed_up(self, cuts: list[int], limit: float, min_effect: float) -> list[int]:
        """Cuts moved to their best places after one was dropped, but none that reached ``limit`` to where it
        does not: there it would be the next to be dropped, and so on along the series."""
        moved = self.refine(cuts)
        for i, (cut, place) in enumerate(zip(cuts, moved, strict=True)):
            a, b = bounds(moved, i, self.n)
            if place != cut and a + MIN_SEGMENT <= cut <= b - MIN_SEGMENT:
                old, new = self.test(a, cut, b), self.test(a, place, b)
                if new.statistic < limit <= old.statistic and abs(old.effect) >= min_effect:
                    moved[i] = cut
        return moved

    def measure_inflation(self, cuts: list[int]) -> None:
        """Compare the spread of contrasts between equal neighbouring windows with what AR(1) noise would
        give, and keep the excess.

        Noise with a long memory (a machine that is slow for an hour) hardly shows between neighbours and
        still moves the means of whole levels. The certain changes ``cuts`` are taken out first; the median
        keeps the rest from counting.
        """
        sums = np.concatenate(([0.0], np.cumsum(self.clipped - self.fit(cuts))))
        lengths = window_lengths(self.n)
        lengths = lengths[lengths * BLOCKS <= self.n]
        if lengths.size == 0:
            return
        factors = []
        for length in lengths.tolist():
            contrasts = (sums[2 * length :] - 2.0 * sums[length:-length] + sums[: -2 * length]) / length
            loud = (self._loudness[2 * length :] - self._loudness[: -2 * length]) / (2 * length)
            measured = MAD_TO_SIGMA * median(np.abs(contrasts) / np.sqrt(loud))
            expected = contrast_variance(float(length), float(length), self.noise.rho)
            factors.append(measured**2 / (expected * self.noise.sigma**2))
        self._inflation = np.log(lengths), np.maximum(np.maximum.accumulate(factors), 1.0)
        self._tests.clear()

    def obvious(self, cuts: list[int]) -> list[int]:
        """Those of ``cuts`` between levels that lie OBVIOUS_SIGMAS apart."""
        medians = [self.median(a, b) for a, b in segments(cuts, self.n)]
        least = OBVIOUS_SIGMAS * self.noise.sigma
        return [cut for i, cut in enumerate(cuts) if abs(medians[i + 1] - medians[i]) >= least]

    def certain(self, pruned: tuple[list[int], list[CutTest]], least: float) -> list[int]:
        """Those of the cuts that `prune` left which are obvious or reach ``least`` standard errors."""
        cuts, tests = pruned
        obvious = set(self.obvious(cuts))
        return [
            cut for cut, test in zip(cuts, tests, strict=True) if cut in obvious or test.statistic >= least
        ]

    def fit(self, cuts: list[int]) -> FloatArray:
        """Median of its level at each point, shape (n,)."""
        fitted = np.empty(self.n)
        for a, b in segments(cuts, self.n):
            fitted[a:b] = self.median(a, b)
        return fitted

    def _places(self, a: int, cut: int, b: int, sigma: float) -> tuple[IntArray, FloatArray]:
        """Cuts allowed inside [a, b) and the log-likelihood of each over that of ``cut``, given the levels
        on both sides of it.

        Student-t likelihoods let a spike beside a step say little about its place; autocorrelation makes the
        points between two places worth fewer.
        """
        before, after = self.median(a, cut), self.median(cut, b)
        values, scale = self.raw[a:b], LOSS_FREEDOM * sigma * sigma
        excess = np.log1p((values - before) ** 2 / scale) - np.log1p((values - after) ** 2 / scale)
        total = 0.5 * (LOSS_FREEDOM + 1.0) * np.concatenate(([0.0], np.cumsum(excess)))
        allowed = np.arange(a + MIN_SEGMENT, b - MIN_SEGMENT + 1)
        distance = np.maximum(np.abs(allowed - cut), 1).astype(np.float64)
        worth = distance * mean_variance(distance, self.noise.rho)
        if self._inflation:
            lengths, factors = self._inflation
            worth *= np.interp(np.log(distance), np.append(0.0, lengths), np.append(1.0, factors))
        return allowed, (total[cut - a] - total[allowed - a]) / worth

    def settle(self, cuts: list[int], tests: list[CutTest]) -> list[int]:
        """Cuts at their most likely places given the levels around them."""
        settled = list(cuts)
        for i, cut in enumerate(cuts):
            a, b = bounds(settled, i, self.n)
            allowed, likelihood = self._places(a, cut, b, tests[i].sigma)
            best = int(np.argmax(likelihood))
            # places that differ by rounding only are equally likely: stay
            if likelihood[best] > 1e-9:
                settled[i] = int(allowed[best])
        return settled

    def location(self, cuts: list[int], i: int, sigma: float) -> tuple[int, int]:
        """First and last plausible place of cut i: hull of the smallest set with LOCATION_CONFIDENCE, given
        the levels and a flat prior over the places."""
        a, b = bounds(cuts, i, self.n)
        allowed, likelihood = self._places(a, cuts[i], b, sigma)
        weights = np.exp(likelihood - likelihood.max())
        order = np.argsort(-weights, kind="stable")
        mass = np.cumsum(weights[order])
        kept = allowed[order[: int(np.searchsorted(mass, LOCATION_CONFIDENCE * mass[-1])) + 1]]
        return min(int(kept.min()), cuts[i]), max(int(kept.max()), cuts[i])

    def chance_of_spikes(self, cuts: list[int], i: int, effect: float, residuals: FloatArray) -> float:
        """Probability that the shorter level at cut i is a run of spikes such as the series shows elsewhere,
        in its ``residuals`` (n,) from all levels: n f^L at most, with a share f of points beyond TAIL_SHARE
        of the effect and a run of L. A short level with a point of its neighbour in it gives 1.
        """
        a, b = bounds(cuts, i, self.n)
        if self._borrows(a, cuts[i], b):
            return 1.0
        left, right = cuts[i] - a, b - cuts[i]
        direction = math.copysign(1.0, effect if right <= left else -effect)
        beyond = int(np.count_nonzero(direction * residuals >= TAIL_SHARE * abs(effect)))
        if beyond == 0:
            return 0.0
        # one more than seen: the share is estimated from the same few spikes
        return float(min(self.n * ((beyond + 1) / self.n) ** min(left, right), 1.0))

    def _borrows(self, a: int, cut: int, b: int) -> bool:
        """Whether one of the levels [a, cut) and [cut, b) has MIN_SEGMENT points only because it takes in
        some of the other's: clipped spikes and a healthy neighbour can look like a level."""
        sides = (a, cut), (cut, b)
        for (start, stop), (other, end) in (sides, sides[::-1]):
            if stop - start >= 2 * MIN_SEGMENT:
                continue
            values = self.raw[start:stop]
            away, near = values - self.median(start, stop), values - self.median(other, end)
            sigma = self.noise.sigma * self.noise.loudness[start:stop]
            if np.count_nonzero(away**2 - near**2 <= (FOREIGN_SIGMAS * sigma) ** 2) < MIN_SEGMENT:
                return True
        return False


def bounds(cuts: list[int], i: int, n: int) -> tuple[int, int]:
    """Start of the level before cut i and end of the level that it opens."""
    return (cuts[i - 1] if i else 0), (cuts[i + 1] if i + 1 < len(cuts) else n)


def segments(cuts: list[int], n: int) -> list[tuple[int, int]]:
    """Half-open levels between the cuts."""
    edges = [0, *cuts, n]
    return list(itertools.pairwise(edges))
