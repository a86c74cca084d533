"""Simulated error rates of the history detector: where the null table comes from, and how often it is wrong.

Pure functions of their arguments, the seed included. docs/statistics.md quotes what they return and the
commands that were run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nbbench.stats.changepoint import detect_steps
from nbbench.stats.detector import candidate_cuts
from nbbench.stats.scan import compare, scan

FloatArray = NDArray[np.float64]

NoiseKind = Literal["gaussian", "laplace", "t3", "skewed", "ar1", "slow", "spiky", "coarse"]

NULL_KINDS: tuple[NoiseKind, ...] = ("gaussian", "laplace", "t3")
"""Noise that the null model was made for; the others are what it was tried on."""

NULL_LEVELS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
"""Tail probabilities at which the two numbers of the null model are fitted."""

NULL_CANDIDATES = 2.0
"""Contrast from which the null series are scanned a second time; the fitted tail begins above it."""


@dataclass(frozen=True, slots=True)
class AlarmRate:
    """False alarms of ``series`` series of ``n`` points without a change."""

    n: int
    series: int
    per_thousand_points: float
    share_of_series: float


@dataclass(frozen=True, slots=True)
class Power:
    """Shares of series in which one planted step was found within three places, within one, and in which an
    interval covered it; ``extra`` is the number of other alarms in a series."""

    found: float
    within_one: float
    covered: float
    extra: float


def noise_sample(kind: NoiseKind, n: int, rng: np.random.Generator) -> FloatArray:
    """``n`` points of noise of about unit scale.

    ``ar1`` has rho 0.5. ``slow`` has a quarter of its variance from an AR(1) with rho 0.9, the rest is white.
    ``spiky`` has 5 % of its points 25 sigma too high. ``skewed`` is Gamma(1.5), ``coarse`` a Gaussian rounded
    to steps of 1.4 sigma.
    """
    white = rng.standard_normal(n)
    if kind == "gaussian":
        return white
    if kind == "laplace":
        return rng.laplace(size=n)
    if kind == "t3":
        return rng.standard_t(3, size=n)
    if kind == "skewed":
        return rng.gamma(1.5, size=n)
    if kind == "spiky":
        return white + np.where(rng.random(n) < 0.05, 25.0, 0.0)
    if kind == "coarse":
        return np.round(white * 0.7)
    rho, share = (0.5, 1.0) if kind == "ar1" else (0.9, 0.25)
    kernel = np.sqrt(1.0 - rho * rho) * rho ** np.arange(80)
    wander = np.convolve(rng.standard_normal(n + 79), kernel, mode="valid")
    return np.asarray(np.sqrt(share) * wander + np.sqrt(1.0 - share) * white, dtype=np.float64)


def null_maxima(kind: NoiseKind, n: int, series: int, seed: int) -> FloatArray:
    """Greatest contrast of each of ``series`` series without a change, shape (series,), ascending."""
    rng = np.random.default_rng(seed)
    greatest = np.empty(series)
    for i in range(series):
        levels, _ = candidate_cuts(noise_sample(kind, n, rng), NULL_CANDIDATES)
        greatest[i] = scan(compare(levels.clipped), levels.noise).squared.max()
    return np.sort(np.sqrt(greatest))


def fit_null(quantiles: FloatArray, levels: FloatArray) -> tuple[float, float, float]:
    """Effective tests, degrees of freedom and worst factor of error for greatest contrasts exceeded with
    probability ``levels``."""
    from scipy.special import stdtr

    best = (0.0, 0.0, np.inf)
    for freedom in np.geomspace(2.0, 100.0, 120):
        single = np.log1p(-2.0 * stdtr(freedom, -quantiles))
        tests = np.log1p(-levels) / single
        error = np.abs(np.log(tests) - np.log(tests).mean()).max()
        if error < best[2]:
            best = (float(np.exp(np.log(tests).mean())), float(freedom), float(error))
    return best[0], best[1], float(np.exp(best[2]))


def null_table(lengths: tuple[int, ...], series: int, seed: int) -> list[tuple[int, float, float, float]]:
    """Rows (n, tests, freedom, factor of error) of `null_model`, from the worst of NULL_KINDS at each
    level."""
    levels = np.array(NULL_LEVELS)
    rows = []
    for n in lengths:
        quantiles = [np.quantile(null_maxima(kind, n, series, seed), 1.0 - levels) for kind in NULL_KINDS]
        rows.append((n, *fit_null(np.max(quantiles, axis=0), levels)))
    return rows


def false_alarms(kind: NoiseKind, n: int, series: int, seed: int, alpha: float = 0.01) -> AlarmRate:
    """Steps found in noise of 3 % around a constant level, log scale as in use."""
    if kind not in get_args(NoiseKind):
        raise ValueError(f"unknown kind of noise {kind!r}")
    rng = np.random.default_rng(seed)
    counts = [
        len(detect_steps(np.exp(0.03 * noise_sample(kind, n, rng)), alpha=alpha)) for _ in range(series)
    ]
    return AlarmRate(n, series, 1e3 * sum(counts) / (n * series), sum(c > 0 for c in counts) / series)


def power(
    ratio: float,
    sigma: float,
    n: int,
    at: int,
    series: int,
    seed: int,
    kind: NoiseKind = "gaussian",
    alpha: float = 0.01,
) -> Power:
    """How often a step by the factor ``ratio`` at index ``at`` is found in noise of ``sigma`` (log scale)."""
    rng = np.random.default_rng(seed)
    found = within = covered = extra = 0
    for _ in range(series):
        values = np.exp(sigma * noise_sample(kind, n, rng))
        values[at:] *= ratio
        steps = detect_steps(values, alpha=alpha)
        distance = [abs(step.index - at) for step in steps]
        hit = min(distance, default=n)
        found += hit <= 3
        within += hit <= 1
        covered += any(step.lo <= at <= step.hi for step in steps)
        extra += len(steps) - int(hit <= 3)
    return Power(found / series, within / series, covered / series, extra / series)
