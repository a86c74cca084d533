"""Base against head from paired rounds, decided as the rounds come in.

One *round* runs base and head once each, in random order, in fresh processes; its figure is ln(head / base).
After every round the gate may look and stop, which makes a fixed-sample test wrong: looking 25 times at level
0.01 errs 7 times as often as promised. Here the evidence is a betting martingale, which may be looked at for
ever (Ramdas, Grünwald, Vovk and Shafer 2023, doi:10.1214/23-STS894).

**The bet.** If the log-ratios are symmetric around m, the sign of x_i - m is a fair coin whatever its size.
Wealth starts at 1 and is multiplied by 1 + LAMBDA tanh((x_i - m) / s_i), where s_i is the spread of the
rounds before i. Its expectation is then 1 at each round, and by Ville's inequality (1939) wealth reaches
1 / alpha with probability alpha at most, at any round. Testing by betting: Shafer 2021,
doi:10.1111/rssa.12647; of symmetry: Ramdas, Ruf, Larsson and Koolen 2020, arXiv:2009.03167.

**Assumptions.** Rounds are independent, and the median stays the same from round to round. Symmetry around
zero holds by design when base and head are the same code, since their order is drawn at random; around
another value it means that a slowdown shifts the log-ratio. No normality, no finite variance: two-valued and
heavy-tailed noise keep the error rate. Rounds disturbed from outside are to be repeated before they come
here.

**Price.** No verdict at alpha 0.01 before round 7, as 1.95^6 < 100: no procedure that relies on symmetry
alone could do better, 2^-6 being 1.6 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.stats.summary import finite, mad_sigma, ratio_percent

FloatArray = NDArray[np.float64]

SequentialDecision = Literal["slower", "faster", "equivalent", "undecided"]

LAMBDA = 0.95
"""Share of the wealth at stake. Near 1 big effects are decided in fewest rounds, and one bad round still
leaves 5 %."""

SIGN_ROUNDS = 3
"""The first rounds are bet on by their sign alone: a spread needs at least three values."""

BRACKET_RANGES = 1e3
"""Ranges of the data below the least of them: every bet on such a median is won in full."""

BISECTIONS = 60
"""Halvings of the bracket of a bound: 1000 ranges over 2^60 are below the resolution of a double."""


@dataclass(frozen=True, slots=True)
class PairedEstimate:
    """What ``n`` rounds say about ln(head / base).

    ``effect`` is the Hodges-Lehmann estimate. Each of ``lo`` and ``hi`` errs with probability alpha at most,
    at whatever round one stops, so together they cover with 1 - 2 alpha; they are infinite while the rounds
    are too few. ``p_slower`` is the p-value against "not slower", valid at any round; ``p_faster`` likewise.
    ``sigma`` is the robust noise of one round.
    """

    n: int
    effect: float
    lo: float
    hi: float
    p_slower: float
    p_faster: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, the estimate it rests on and one sentence for people."""

    decision: SequentialDecision
    estimate: PairedEstimate
    reason: str


def past_spread(log_ratios: FloatArray) -> FloatArray:
    """MAD sigma of the rounds before each round, shape (n,); zero for the rounds that are bet on by their
    sign."""
    spread = np.zeros(log_ratios.size)
    for i in range(SIGN_ROUNDS, log_ratios.size):
        spread[i] = mad_sigma(log_ratios[:i])
    return spread


def log_wealth(log_ratios: FloatArray, spread: FloatArray, median: float) -> FloatArray:
    """Logarithm of the wealth after each round of a bet that the true median exceeds ``median``; shape (n,).

    In every round wealth falls as ``median`` rises, so the medians that are not refuted form an interval.
    """
    distance = log_ratios - median
    size = np.divide(distance, spread, out=np.copysign(np.inf, distance), where=spread > 0)
    size[distance == 0] = 0.0
    wealth: FloatArray = np.cumsum(np.log1p(LAMBDA * np.tanh(size)))
    return wealth


def lower_bound(log_ratios: FloatArray, spread: FloatArray, alpha: float) -> float:
    """Greatest median whose wealth ever reached 1 / alpha; -inf when none did.

    Every median up to it is refuted, and stays so in later rounds.
    """
    target = -math.log(alpha)
    high = float(log_ratios.max())
    low = float(log_ratios.min()) - BRACKET_RANGES * max(float(np.ptp(log_ratios)), abs(high), 1e-12)
    if log_wealth(log_ratios, spread, low).max() < target:
        return -math.inf
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if log_wealth(log_ratios, spread, middle).max() >= target:
            low = middle
        else:
            high = middle
    return low


def estimate_pairs(log_ratios: ArrayLike, *, alpha: float = 0.01) -> PairedEstimate:
    """Estimate, anytime-valid bounds and p-values from log-ratios in the order of their rounds, shape (n,);
    missing rounds are skipped.

    ValueError without any finite round or for alpha outside (0, 0.5).
    """
    rounds = finite(log_ratios)
    if rounds.size == 0:
        raise ValueError("no finite round to compare")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must lie inside (0, 0.5), got {alpha}")
    spread = past_spread(rounds)
    i, j = np.triu_indices(rounds.size)
    return PairedEstimate(
        n=int(rounds.size),
        effect=float(np.median((rounds[i] + rounds[j]) / 2.0)),
        lo=lower_bound(rounds, spread, alpha),
        hi=-lower_bound(-rounds, spread, alpha),
        p_slower=min(math.exp(-log_wealth(rounds, spread, 0.0).max()), 1.0),
        p_faster=min(math.exp(-log_wealth(-rounds, spread, 0.0).max()), 1.0),
        sigma=mad_sigma(rounds),
    )


def least_rounds(alpha: float) -> int:
    """Rounds without which no verdict is possible at ``alpha``, however clear they are."""
    return math.ceil(-math.log(alpha) / math.log1p(LAMBDA))


def decide(log_ratios: ArrayLike, *, floor: float, alpha: float = 0.01, max_rounds: int = 40) -> Decision:
    """Decide from the rounds so far; may be asked after every round.

    "slower" needs the lower bound above ``+floor``, "faster" the upper one below ``-floor``; a true effect
    inside the floor is called slower with probability ``alpha`` at most over all rounds, and likewise for
    faster. "equivalent" needs the whole interval inside the floor: it is shown, not assumed. All else is
    "undecided", for good once ``max_rounds`` are spent. ``floor`` is a log-ratio, not negative. ValueError as
    `estimate_pairs`.
    """
    if not (floor >= 0.0 and math.isfinite(floor)):
        raise ValueError(f"floor must be finite and not negative, got {floor}")
    if max_rounds < 1:
        raise ValueError(f"max_rounds must be at least 1, got {max_rounds}")
    found = estimate_pairs(log_ratios, alpha=alpha)
    if not found.lo <= found.effect <= found.hi:
        return Decision(
            "undecided", found, f"early and late rounds contradict each other over {found.n} rounds"
        )
    if found.lo > floor:
        return Decision("slower", found, f"{_interval(found)} lies above the floor of {_percent(floor)}")
    if found.hi < -floor:
        return Decision("faster", found, f"{_interval(found)} lies below the floor of {_percent(-floor)}")
    if -floor < found.lo <= found.hi < floor:
        return Decision(
            "equivalent", found, f"{_interval(found)} lies inside the floor of ±{ratio_percent(floor):.1f} %"
        )
    least = least_rounds(alpha)
    if found.n < least:
        return Decision(
            "undecided", found, f"{found.n} rounds are too few: alpha {alpha:g} needs at least {least}"
        )
    spent = f"; all {max_rounds} rounds are spent" if found.n >= max_rounds else ""
    return Decision(
        "undecided",
        found,
        f"{_interval(found)} reaches across the floor of ±{ratio_percent(floor):.1f} %{spent}",
    )


def _percent(log_ratio: float) -> str:
    return f"{ratio_percent(log_ratio):+.1f} %"


def _interval(found: PairedEstimate) -> str:
    change = f"change {_percent(found.effect)}"
    return f"{change}, interval {_percent(found.lo)} to {_percent(found.hi)} from {found.n} rounds,"


def noise_floor(aa_log_ratios: ArrayLike, *, policy: float, rounds: int = 10) -> float:
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
