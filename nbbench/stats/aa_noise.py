"""What a series shows between equal code: noise a round, floor, and whether the canary explains it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.stats.summary import finite, mad_sigma

FLOOR_ROUNDS = 20
"""Rounds of a usual gate, whose scatter the floor has to exceed."""

HELPS = 0.9
"""A canary is taken into account when it lowers the error of prediction to this share at least. Of canaries
that know nothing three in a thousand get there by chance in 30 rounds (tests/stats/test_stats_paired.py)."""

LEAST_CANARY_ROUNDS = 10
"""Rounds below which a regression on the canary is not tried."""


@dataclass(frozen=True, slots=True)
class CanaryFit:
    """Regression of A/A log-ratios on the canary's, through the origin.

    ``coefficient`` times the canary's log-ratio is what the machine contributed; ``plain`` and ``corrected``
    are root mean squares without and with that correction, the latter predicted without the round itself.
    """

    coefficient: float
    plain: float
    corrected: float

    @property
    def helps(self) -> bool:
        """Whether the correction lowers the noise enough to be believed."""
        return self.corrected < HELPS * self.plain


def noise_floor(aa_log_ratios: ArrayLike, *, policy: float, rounds: int = FLOOR_ROUNDS) -> float:
    """Smallest effect worth a verdict, as a log-ratio: max(``policy``, what the series shows between equal
    code).

    The second is |median| + t s / sqrt(``rounds``): the bias of the A/A log-ratios, and two-sided 95 % of the
    scatter of a mean of ``rounds`` rounds, with s the MAD sigma (of one round, inflated by sqrt(pi / 2)
    because a median is compared) and Student's t for the number of A/A rounds. With fewer than three finite
    A/A rounds nothing is known and ``policy`` is returned. ValueError for a negative policy or rounds < 1.
    """
    if not (policy >= 0.0 and math.isfinite(policy)):
        raise ValueError(f"policy must be finite and not negative, got {policy}")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    same = finite(aa_log_ratios)
    if same.size < 3:
        return policy
    from scipy.special import stdtrit

    scatter = float(stdtrit(same.size - 1, 0.975)) * mad_sigma(same) * math.sqrt(math.pi / 2.0 / rounds)
    return max(policy, abs(float(np.median(same))) + scatter)


def fit_canary(log_ratios: ArrayLike, canaries: ArrayLike) -> CanaryFit:
    """How far the canaries' log-ratios (n,) explain those of the same A/A rounds (n,), left one out.

    The coefficient that predicts round i comes from the other rounds, sum x y / sum x^2 without i, so a
    canary that knows nothing makes the corrected noise larger, not smaller. Rounds without either figure are
    skipped; below LEAST_CANARY_ROUNDS the coefficient is zero. ValueError for unequal shapes.
    """
    y, x = np.asarray(log_ratios, dtype=np.float64), np.asarray(canaries, dtype=np.float64)
    if y.shape != x.shape or y.ndim != 1:
        raise ValueError(f"expected two arrays of one length, got {y.shape} and {x.shape}")
    both = np.isfinite(y) & np.isfinite(x)
    y, x = y[both], x[both]
    plain = _rms(y)
    products, squares = x * y, x * x
    left = squares.sum() - squares
    if y.size < LEAST_CANARY_ROUNDS or not (left > 0).all():
        return CanaryFit(0.0, plain, plain)
    predicted = (products.sum() - products) / left * x
    return CanaryFit(float(products.sum() / squares.sum()), plain, _rms(y - predicted))


def _rms(values: NDArray[np.float64]) -> float:
    return math.sqrt(float(values @ values) / values.size) if values.size else 0.0
