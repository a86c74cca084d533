"""Planted changes: steps in recorded and made noise, and the patterns of otava-test-data, made anew."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import numpy as np

from nbbench.subject.selection import spread
from tests.bench.scorecard.metrics import Truth
from tests.bench.scorecard.recorded import aa_canaries, aa_residuals, beside, contention_ratios

POINTS = 150
GAP = 12
"""Least distance of planted steps from each other and from the ends: levels shorter than that are another
question, which the real branch asks."""

Noise = Callable[[int, np.random.Generator, int], np.ndarray]
"""Length, random generator and half of the recordings to noise of about unit scale: shape (n,), or (rows, n)
where the logarithms of canaries that were recorded beside it follow, on the same scale."""


Disturbed = tuple[np.ndarray, np.ndarray | None]
Disturb = Callable[[np.ndarray, np.random.Generator, int], Disturbed]
"""Values to disturbed values, and which of them telemetry calls contended, where it is known."""

Order = Callable[[int, np.random.Generator], np.ndarray]
"""Number of commits to the turn (n,) in which each of them is measured."""


def one_by_one(n: int, rng: np.random.Generator) -> np.ndarray:
    """Commit after commit."""
    return np.arange(n)


def drawn(n: int, rng: np.random.Generator) -> np.ndarray:
    """In the order in which `nbbench run` takes them."""
    turns = np.empty(n, dtype=int)
    turns[spread(list(range(n)), Random(int(rng.integers(2**31))))] = np.arange(n)
    return turns


def recorded(n: int, rng: np.random.Generator, half: int) -> np.ndarray:
    """A recorded A/A series and its canaries (see `_stretch`)."""
    return _stretch(aa_residuals(half), aa_canaries(half), n, rng)


def recorded_beside(n: int, rng: np.random.Generator, half: int) -> np.ndarray:
    """The same of the recording with the canaries that `nbbench run` times."""
    return _stretch(*beside(half), n, rng)


def _stretch(
    residuals: list[np.ndarray], canaries: list[np.ndarray], n: int, rng: np.random.Generator
) -> np.ndarray:
    """One of the series and its canaries from a random place on, their ends joined, at unit standard
    deviation of the series: shape (1 + programs, n)."""
    chosen = int(rng.integers(len(residuals)))
    one = residuals[chosen]
    start = int(rng.integers(one.size))
    backwards = rng.random() < 0.5

    def cut(values: np.ndarray) -> np.ndarray:
        rolled = np.roll(values - values.mean(), -start)
        return np.resize(rolled[::-1] if backwards else rolled, n) / one.std()

    return np.array([cut(one), *map(cut, canaries[chosen])])


def gaussian(n: int, rng: np.random.Generator, half: int) -> np.ndarray:
    return rng.standard_normal(n)


def autocorrelated(n: int, rng: np.random.Generator, half: int) -> np.ndarray:
    """AR(1), rho 0.5, unit variance."""
    noise = np.empty(n)
    noise[0] = rng.standard_normal()
    for i in range(1, n):
        noise[i] = 0.5 * noise[i - 1] + np.sqrt(0.75) * rng.standard_normal()
    return noise


def bimodal(n: int, rng: np.random.Generator, half: int) -> np.ndarray:
    """Two modes two sigma apart, chosen at random for each point (memory layout does that)."""
    return (rng.random(n) < 0.4) * 2.0 + 0.5 * rng.standard_normal(n)


def steps(
    sizes: tuple[float, ...],
    noise: Noise,
    cv: float,
    count: int,
    seed: int,
    half: int,
    disturb: Disturb | None = None,
    order: Order = one_by_one,
) -> list[Truth]:
    """``count`` series with none to three steps by a factor out of 1 + ``sizes``, up or down.

    Noise and disturbances happen in time, steps along the branch: ``order`` says which commit was measured
    when.
    """
    made = []
    for i in range(count):
        # halves never share a stream: tuning sees even seeds, the table odd ones
        rng = np.random.default_rng([seed, i, half])
        level = np.zeros(POINTS)
        places = _places(int(rng.integers(4)), POINTS, rng)
        for place in places:
            level[place:] += np.log1p(rng.choice(sizes)) * rng.choice([-1.0, 1.0])
        made_noise = np.atleast_2d(cv * noise(POINTS, rng, half))
        noise_then, contended = np.exp(made_noise[0]), None
        if disturb:
            noise_then, contended = disturb(noise_then, rng, half)
        turns = order(POINTS, rng)
        values = np.exp(level) * noise_then[turns]
        # a step in a gap is found at the first value after it
        known = np.flatnonzero(np.isfinite(values))
        shown = tuple(int(known[known >= place][0]) for place in places)
        canary = np.exp(made_noise[1:])[:, turns] if len(made_noise) > 1 else None
        waited = None if contended is None else contended[turns]
        made.append(Truth(values, shown, contended=waited, canary=canary, at=turns))
    return made


def _places(count: int, n: int, rng: np.random.Generator) -> list[int]:
    while True:
        places = sorted(rng.integers(GAP, n - GAP, count).tolist())
        if all(b - a >= GAP for a, b in itertools.pairwise(places)):
            return places


def spikes(values: np.ndarray, rng: np.random.Generator, half: int) -> Disturbed:
    """Every twentieth point 1.2 to 3 times as slow."""
    hit = rng.random(values.size) < 0.05
    return np.where(hit, values * rng.uniform(1.2, 3.0, values.size), values), None


def bursts(values: np.ndarray, rng: np.random.Generator, half: int) -> Disturbed:
    """Three bursts of contention of 1 to 6 points, each point as slow as a recorded contended process."""
    ratios = contention_ratios(half)
    return with_bursts(values, ratios[:, int(rng.integers(ratios.shape[1]))], 3, rng)


def with_bursts(values: np.ndarray, ratios: np.ndarray, count: int, rng: np.random.Generator) -> Disturbed:
    """``count`` bursts of 1 to 6 points, slower by log ratios drawn from ``ratios``."""
    ratios = ratios[np.isfinite(ratios)]
    disturbed, contended = values.copy(), np.zeros(values.size, dtype=bool)
    for start in rng.integers(0, values.size - 6, count):
        stop = start + int(rng.integers(1, 7))
        disturbed[start:stop] *= np.exp(rng.choice(ratios, stop - start))
        contended[start:stop] = True
    return disturbed, contended


def drift(values: np.ndarray, rng: np.random.Generator, half: int) -> Disturbed:
    """A slow change of 6 % in all, over the whole series, up or down."""
    return values * np.exp(rng.choice([-1.0, 1.0]) * 0.06 * np.linspace(0, 1, values.size)), None


def wander(values: np.ndarray, rng: np.random.Generator, half: int) -> Disturbed:
    """The machine's speed goes up and down by 2 % with a period of 50 to 150 points."""
    period, phase = rng.uniform(50, 150), rng.uniform(0, 2 * np.pi)
    return values * np.exp(0.02 * np.sin(2 * np.pi * np.arange(values.size) / period + phase)), None


def gaps(values: np.ndarray, rng: np.random.Generator, half: int) -> Disturbed:
    """Three commits in ten are not measured."""
    return np.where(rng.random(values.size) < 0.3, np.nan, values), None


def patterns(count: int, seed: int, half: int) -> dict[str, list[Truth]]:
    """What otava-test-data makes, with its sizes in percent and noise of 2 %; what is no lasting change of
    level (an outlier, another variance, another phase) is no event here."""
    found: dict[str, list[Truth]] = {}
    for i in range(count):
        for length in (50, 200):
            rng = np.random.default_rng([seed, i, length, half])
            for name, (level, places) in _pattern_levels(length, rng).items():
                values = level * np.exp(0.02 * rng.standard_normal(length))
                found.setdefault(name, []).append(Truth(values, places))
    return found


def _pattern_levels(n: int, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
    index = np.arange(n)
    middle = n // 2
    one = np.full(n, 100.0)
    outlier, outliers = one.copy(), one.copy()
    outlier[int(rng.integers(5, n - 5))] = 150.0
    outliers[rng.choice(n, 3, replace=False)] = 150.0
    start = int(rng.integers(10, n - 25))
    regression = np.where((index >= start) & (index < start + 10), 130.0, 100.0)
    quarter = n // 4
    many = np.choose(np.minimum(index // quarter, 3), [100.0, 120.0, 90.0, 110.0])
    wave = 100.0 + 10.0 * np.cos(2 * np.pi * index / 20 + (index >= middle) * np.pi / 2)
    louder = one * np.exp(np.where(index >= middle, 0.1, 0.0) * rng.standard_normal(n))
    return {
        "constant": (one, ()),
        "uniform noise": (rng.uniform(90.0, 110.0, n), ()),
        "outlier": (outlier, ()),
        "multiple outliers": (outliers, ()),
        "step": (np.where(index >= middle, 120.0, 100.0), (middle,)),
        "regression and fix": (regression, (start, start + 10)),
        "banding": (rng.choice([100.0, 105.0], n), ()),
        "variance change": (louder, ()),
        "multiple changes": (many, (quarter, 2 * quarter, 3 * quarter)),
        "phase change": (wave, ()),
    }
