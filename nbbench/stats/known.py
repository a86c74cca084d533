"""Changes of level at places that are known beforehand: where a program's exact work changed.

A series is not searched there, so nothing is paid for a search, and the noise is read within levels of equal
work, where no step inflates it.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.stats.changepoint import Step, step_of
from nbbench.stats.detector import Change
from nbbench.stats.noise import (
    LEAST_SIGMA,
    MIN_SEGMENT,
    clip_spikes,
    contrast_variance,
    estimate_noise,
    loudness,
    mad_sigma,
    median,
)
from nbbench.stats.segments import MEDIAN_SIGMA, bounds, segments

FloatArray = NDArray[np.float64]

REACH = 12
"""Points on each side that a contrast looks at: near ones say what a machine that wanders did not."""

FREEDOM = 20.0
"""Degrees of freedom of the test."""

ELSEWHERE_SIGMAS = 4.0
"""A place up to three points away that fits the values better by this many sigmas squared is where they
changed: then the known place is not it."""


LEAST_LENT = 8
"""Runs of disturbed values in levels that have undisturbed ones, too: fewer do not tell by how much they are
off."""

AT_ODDS = 3.0
"""Sigmas up to which a measured change and the expected one may differ: beyond, the measured one stands
alone."""

LEAST_OWN = 1.0
"""Sigmas that a measured change must have of its own: nothing is told by what is expected alone."""

TAILS = 3.0
"""Degrees of freedom of what is expected: now and then it is far off."""

LEAST_SHARE = 0.02
"""Least probability that a place is given of a change that counts, and that it lacks at most."""


def lent_values(values: ArrayLike, measured: ArrayLike, levels: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The undisturbed ``values`` (n,) with, in those of the ``levels`` (n,) that have none, all that was
    ``measured`` (n,), less what such values are too slow by; and the standard deviation (n,) of these.

    Both are read from the disturbed values of levels that have undisturbed ones, of several in a row from
    their median: the median, and the MAD. NaN is a missing value; nothing is lent where fewer than LEAST_LENT
    tell.
    """
    clean, number = np.array(values, dtype=np.float64), np.asarray(levels)
    error = np.zeros(clean.size)
    every = np.asarray(measured, dtype=np.float64)
    spare = np.isnan(clean) & (every > 0)
    off: list[float] = []
    empty = np.zeros(clean.size, dtype=np.bool_)
    for level in np.unique(number[spare]):
        inside = number == level
        known = clean[inside & np.isfinite(clean)]
        if known.size and known.min() > 0:
            them = np.flatnonzero(inside & spare)
            runs = np.split(them, np.flatnonzero(np.diff(them) > 1) + 1)
            off += [median(np.log(every[run])) - median(np.log(known)) for run in runs]
        elif not known.size:
            empty |= inside & spare
    if len(off) >= LEAST_LENT and empty.any():
        rest = np.array(off)
        clean[empty] = every[empty] * math.exp(-max(median(rest), 0.0))
        error[empty] = max(mad_sigma(rest), LEAST_SIGMA)
    return clean, error


def place_tests(values: ArrayLike, errors: ArrayLike, levels: ArrayLike) -> list[tuple[int, float, float]]:
    """Every place where another of the ``levels`` begins: the index of its first commit, the log ratio there,
    and its standard error. Arguments as `known_steps` takes them."""
    if (one := _Series.of(values, errors, levels)) is None:
        return []
    found = [one.tested(one.cuts, i, 0.0) for i in range(len(one.cuts))]
    return [(one.begun(c.cut)[0], c.after - c.before, c.error) for c in found]


def known_steps(
    values: ArrayLike,
    levels: ArrayLike,
    *,
    alpha: float,
    min_effect: float,
    errors: ArrayLike | None = None,
    expected: ArrayLike | None = None,
    counted: ArrayLike | None = None,
) -> tuple[tuple[Step, ...], FloatArray]:
    """Steps of positive ``values`` (n,) at the places where the number of the known ``levels`` (n,) changes,
    and the factors (n,) by which the values lie above the first of these levels; NaN is a missing value.

    Each place is tested by Student's t on the medians of up to REACH points on both sides, under AR(1) noise
    as it is within the levels. The weakest is dropped and its neighbours tested again, until all that are
    left pass Benjamini and Hochberg's rule at ``alpha`` over all places, and reach ``min_effect``, a log
    ratio. ``errors`` (n,) are the standard deviations of lent values, 0 for others: they count where a side
    has no other. ``expected`` (2, n) are logs that the series would follow, and the standard deviation of
    their change since the level before. That is a second measurement, with the weight of its precision (Efron
    and Morris 1975, doi:10.1080/01621459.1975.10479864), unless the first says the opposite or something far
    off; and the odds of a change of ``min_effect`` by it weigh the p-values (Genovese, Roeder and Wasserman
    2006, doi:10.1093/biomet/93.3.509): the mean weight over the places is 1. ``counted`` (n,) says at which
    commits the level is known; others have that of the one before, and a step may be theirs.
    """
    fitted = np.ones(np.asarray(levels).size)
    one = _Series.of(values, np.zeros(fitted.size) if errors is None else errors, levels)
    if one is None:
        return (), fitted
    if expected is not None:
        logs, spread = np.asarray(expected)[:, one.index]
        one = replace(one, expected=logs, spread=spread)
    found = one.left(alpha, min_effect)
    cuts = [change.cut for change in found]
    medians = [median(one.log[a:b]) for a, b in segments(cuts, one.log.size)]
    for cut, level in zip(cuts, medians[1:], strict=True):
        fitted[one.index[cut] :] = math.exp(level - medians[0])
    told = np.ones(fitted.size, dtype=np.bool_) if counted is None else np.asarray(counted, dtype=np.bool_)
    return tuple(one.step(change, told) for change in found), fitted


@dataclass(frozen=True, slots=True)
class _Series:
    """The logs (m,) of the values that there are, their ``index`` (m,) and ``errors`` (m,), the first point
    of each later level, ``cuts``, and the noise; ``number`` (n,) is that of the level of each point. What is
    ``expected`` (m,) of the logs has changed since the level before with the standard deviation ``spread``
    (m,)."""

    log: FloatArray
    index: NDArray[np.int64]
    errors: FloatArray
    cuts: list[int]
    number: NDArray[Any]
    sigma: float
    rho: float
    expected: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, values: ArrayLike, errors: ArrayLike, levels: ArrayLike) -> "_Series | None":
        """None where there are too few values, one is not positive, or there is but one level."""
        array, number = np.asarray(values, dtype=np.float64), np.asarray(levels)
        index = np.flatnonzero(np.isfinite(array)).astype(np.int64)
        if index.size < 2 * MIN_SEGMENT or array[index].min() <= 0:
            return None
        if not (cuts := _cuts(number[index])):
            return None
        log, lent = np.log(array[index]), np.asarray(errors, dtype=np.float64)[index]
        own = lent == 0.0
        if int(own.sum()) < 2 * MIN_SEGMENT:
            own[:] = True
        noise = _noise_within(log[own], _cuts(number[index][own]))
        return cls(log, index, lent, cuts, number, *noise, np.zeros(log.size), np.full(log.size, np.inf))

    def tested(self, cuts: list[int], i: int, min_effect: float) -> Change:
        """The change at the ``i``-th of the ``cuts`` that are left."""
        from scipy.special import stdtr

        cut, (a, b) = cuts[i], bounds(cuts, i, self.log.size)
        left, wider = self._side(max(a, cut - REACH), cut)
        right, late = self._side(cut, min(b, cut + REACH))
        before, after = median(left), median(right)
        variance = contrast_variance(float(left.size), float(right.size), self.rho)
        error = MEDIAN_SIGMA * math.sqrt(self.sigma**2 * variance + wider + late)
        ends = self.expected[max(a, cut - REACH) : cut], self.expected[cut : min(b, cut + REACH)]
        sure = float(self.spread[cut])
        sigmas = _sigmas(after - before, error, median(ends[1]) - median(ends[0]), sure)
        p_value = 2.0 * float(stdtr(FREEDOM, -sigmas))
        if abs(after - before) < min_effect or _elsewhere(left, right, before, after, self.sigma):
            p_value = 1.0
        return Change(cut, cut, cut, before, after, error, p_value)

    def _weights(self, min_effect: float) -> dict[int, float]:
        """What the p-value of each cut is divided by."""
        from scipy.special import stdtr

        more = np.diff(self.expected)[np.array(self.cuts) - 1]
        far = (np.array([-more, more]) - min_effect) / self.spread[self.cuts]
        share = np.clip(stdtr(TAILS, far).sum(axis=0), LEAST_SHARE, 1.0 - LEAST_SHARE)
        odds = share / (1.0 - share)
        return dict(zip(self.cuts, (odds / odds.mean()).tolist(), strict=True))

    def left(self, alpha: float, min_effect: float) -> list[Change]:
        """The changes left when the weakest are dropped one by one."""
        cuts, tests, weight = list(self.cuts), len(self.cuts), self._weights(min_effect)
        found = [self.tested(cuts, i, min_effect) for i in range(tests)]
        while cuts:
            weighed = [1.0 if c.p_value == 1.0 else c.p_value / weight[c.cut] for c in found]
            worst = max(range(len(cuts)), key=lambda i: (found[i].p_value == 1.0, weighed[i]))
            if found[worst].p_value < 1.0 and weighed[worst] <= alpha * len(cuts) / tests:
                break
            del cuts[worst], found[worst]
            for i in range(max(worst - 1, 0), min(worst + 1, len(cuts))):
                found[i] = self.tested(cuts, i, min_effect)
        return found

    def _side(self, start: int, stop: int) -> tuple[FloatArray, float]:
        """The values of one side, without those that are lent where there are others, and what the lent ones
        add to the variance of their median."""
        log, error = self.log[start:stop], self.errors[start:stop]
        own = error == 0.0
        return (log[own], 0.0) if own.any() else (log, median(error) ** 2)

    def begun(self, cut: int) -> list[int]:
        """The commits since the point before ``cut``, up to its own, at which another level begins."""
        since = int(self.index[cut - 1])
        return [since + at for at in _cuts(self.number[since : int(self.index[cut]) + 1])]

    def step(self, change: Change, counted: NDArray[np.bool_]) -> Step:
        """A step in the values' own unit, at a commit where a level begins or of which none is known."""
        begun, since = self.begun(change.cut), int(self.index[change.cut - 1])
        known = np.flatnonzero(counted[since : begun[0]])
        lo = since + int(known[-1]) + 1 if known.size else since + 1
        return replace(step_of(change, self.index), lo=lo, hi=begun[-1])


def _cuts(number: NDArray[Any]) -> list[int]:
    """Points at which another level begins."""
    return [int(at) + 1 for at in np.flatnonzero(np.diff(number))]


def _noise_within(log: FloatArray, cuts: list[int]) -> tuple[float, float]:
    """Sigma of a point and lag-1 correlation around the levels between ``cuts`` of MIN_SEGMENT points and
    more; of all points around their median where there are none."""
    whole = [log[a:b] for a, b in segments(cuts, log.size) if b - a >= MIN_SEGMENT]
    parts = [part - median(part) for part in whole]
    rest = np.concatenate(parts) if parts else log - median(log)
    if rest.size < 2 * MIN_SEGMENT:
        rest = log - median(log)
    loud = loudness(rest)
    noise = estimate_noise(clip_spikes(rest, loud), loud)
    return max(noise.sigma, mad_sigma(rest), LEAST_SIGMA), noise.rho


def _sigmas(measured: float, error: float, expected: float, spread: float) -> float:
    """By how many sigmas a change is one, as it was measured with an ``error`` and as it is ``expected`` with
    a ``spread``; 0 where the measured one says too little or the mean of both has the other sign."""
    alone = abs(measured) / error
    if abs(measured - expected) >= AT_ODDS * math.hypot(error, spread):
        return alone
    both = (measured / error**2 + expected / spread**2) / math.sqrt(error**-2 + spread**-2)
    return max(math.copysign(both, both * measured), 0.0) if alone >= LEAST_OWN else 0.0


def _elsewhere(left: FloatArray, right: FloatArray, before: float, after: float, sigma: float) -> bool:
    """Whether the values change from ``before`` to ``after`` clearly earlier or later than between both."""
    sooner = np.cumsum(((left - before) ** 2 - (left - after) ** 2)[::-1][: min(MIN_SEGMENT, left.size - 1)])
    later = np.cumsum(((right - after) ** 2 - (right - before) ** 2)[: min(MIN_SEGMENT, right.size - 1)])
    return float(max(sooner.max(initial=0.0), later.max(initial=0.0))) > (ELSEWHERE_SIGMAS * sigma) ** 2
