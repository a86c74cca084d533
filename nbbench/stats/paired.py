"""Base against head from paired rounds, decided as the rounds come in.

One *round* runs base and head in fresh processes that take turns; its figure is ln(head / base). The evidence
is a betting martingale, which may be looked at after every round: wealth starts at 1 and is multiplied by
1 + LAMBDA tanh(theta (x_i - m) / s_i), where s_i is the spread of the rounds before i. If rounds are
symmetric around m its expectation stays 1, and it ever reaches 1 / alpha with probability alpha at most
(Ville 1939). docs/statistics.md has the argument, its sources and what it costs.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nbbench.stats.arrays import BoolArray, FloatArray
from nbbench.stats.noise import finite, mad_sigma

SequentialDecision = Literal["slower", "faster", "equivalent", "undecided"]

LAMBDA = 0.95
"""Share of the wealth at stake. Near 1 big effects are decided in fewest rounds, and one ruined round still
leaves 5 %."""

THETAS = (0.5, 1.5)
"""Shifts that are bet on, in units of the noise of a round: small ones take many rounds, large ones few."""

SIGN_ROUNDS = 3
"""The first rounds are bet on by their sign alone: a spread needs at least three values."""

EQUIVALENCE_ALPHA = 0.05
"""Error rate of "equivalent" for a change beyond the floor. It lets a change through at worst and never
blocks, so it is the usual 5 % of equivalence tests (Schuirmann 1987, doi:10.1007/BF01068419), not corrected
over series."""

BRACKET_RANGES = 1e3
"""Ranges of the data below the least of them: every bet on such a median is won in full."""

BISECTIONS = 60
"""Halvings of the bracket of a bound: 1000 ranges over 2^60 are below the resolution of a double."""


FLOOR_ROUNDS = 20
"""Rounds of a usual gate, whose scatter the floor has to exceed."""


@dataclass(frozen=True, slots=True)
class PairedEstimate:
    """What ``n`` rounds say about ln(head / base).

    ``effect`` is the Hodges-Lehmann estimate. Each of ``lo`` and ``hi`` errs with probability alpha at most,
    at whatever round one stops, so together they cover with 1 - 2 alpha; they are infinite while the rounds
    are too few.
    """

    n: int
    effect: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class PairDecision:
    """A decision and the estimate it rests on."""

    decision: SequentialDecision
    estimate: PairedEstimate


class PairEvidence:
    """Logarithms of e-values of one series as its rounds come in.

    ``slower``: the median exceeds +floor; ``faster``: it lies below -floor. Both are the wealth as it stands,
    an e-value at any stopping time, for `fdr.e_select`. ``equivalent`` is the lesser of the largest wealths
    ever reached by "below +margin" and "above -margin": the inverse of its exponential is a p-value at any
    round (two one-sided tests, Schuirmann 1987).
    """

    def __init__(self, floor: float, margin: float) -> None:
        """ValueError unless 0 <= floor <= margin, both log-ratios."""
        if not (0.0 <= floor <= margin < math.inf):
            raise ValueError(f"floor and margin must satisfy 0 <= floor <= margin, got {floor} and {margin}")
        self._floor, self._margin = floor, margin
        self._rounds: list[float] = []
        self._spread: list[float] = []

    def add(self, log_ratio: float) -> None:
        """Take one round; it must be finite."""
        known = len(self._rounds) >= SIGN_ROUNDS
        self._spread.append(mad_sigma(np.asarray(self._rounds)) if known else 0.0)
        self._rounds.append(log_ratio)

    @property
    def slower(self) -> float:
        """Log e-value against "not slower than the floor"."""
        return float(self._wealth(self._floor, 1.0)[-1])

    @property
    def faster(self) -> float:
        """Log e-value against "not faster than the floor"."""
        return float(self._wealth(self._floor, -1.0)[-1])

    @property
    def equivalent(self) -> float:
        """Logarithm of the inverse p-value against "beyond the margin"."""
        return float(min(self._wealth(-self._margin, sign).max() for sign in (1.0, -1.0)))

    def _wealth(self, median: float, sign: float) -> FloatArray:
        """The wealth before the first round, and after each."""
        rounds, spread = sign * np.asarray(self._rounds), np.asarray(self._spread)
        return np.concatenate(([0.0], log_wealth(rounds, spread, median)))


def past_spread(log_ratios: FloatArray) -> FloatArray:
    """MAD sigma of the rounds before each round, shape (n,); zero for the rounds that are bet on by their
    sign."""
    spread = np.zeros(log_ratios.size)
    for i in range(SIGN_ROUNDS, log_ratios.size):
        spread[i] = mad_sigma(log_ratios[:i])
    return spread


def log_wealth(log_ratios: FloatArray, spread: FloatArray, median: float) -> FloatArray:
    """Logarithm of the wealth after each round of a bet that the true median exceeds ``median``; shape (n,).

    In every round wealth falls as ``median`` rises, so the medians that are not refuted form an interval. A
    round without a spread counts as one spread away.
    """
    distance = log_ratios - median
    size = np.divide(distance, spread, out=np.sign(distance), where=spread > 0)
    growth = np.log1p(LAMBDA * np.tanh(np.outer(THETAS, size)))
    purses = np.cumsum(growth, axis=1)
    wealth: FloatArray = np.logaddexp.reduce(purses, axis=0) - math.log(len(THETAS))
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
    """Estimate and anytime-valid bounds from log-ratios in the order of their rounds, shape (n,);
    missing rounds are skipped.

    ValueError without any finite round or for alpha outside (0, 0.5).
    """
    rounds = finite(log_ratios)
    if rounds.size == 0:
        raise ValueError("no finite round to compare")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must lie inside (0, 0.5), got {alpha}")
    spread = past_spread(rounds)
    return PairedEstimate(
        n=int(rounds.size),
        effect=hodges_lehmann(rounds),
        lo=lower_bound(rounds, spread, alpha),
        hi=-lower_bound(-rounds, spread, alpha),
    )


class PairLook(NamedTuple):
    """What few pairs show: their effect, the least loss that they would have shown (log ratios; infinite for
    fewer than three), and whether they show one."""

    n: int
    effect: float
    sees: float
    slower: bool


def look_at_pairs(log_ratios: ArrayLike, margin: float) -> PairLook:
    """Look at few pairs for a loss beyond `margin`: their mean lies beyond it, and beyond Student's one-sided
    99 % of its noise. A loss that exceeds both by his 95 % is missed in one look of twenty at most.
    """
    pairs = finite(log_ratios)
    if pairs.size < 3:
        return PairLook(int(pairs.size), float(np.mean(pairs)) if pairs.size else 0.0, math.inf, False)
    from scipy.special import stdtrit

    sigma = float(np.std(pairs, ddof=1)) / math.sqrt(pairs.size)
    strict, usual = (float(stdtrit(pairs.size - 1, level)) * sigma for level in (0.99, 0.95))
    effect, limit = float(np.mean(pairs)), max(margin, strict)
    return PairLook(int(pairs.size), effect, limit + usual, effect > limit)


def hodges_lehmann(values: FloatArray) -> float:
    """Median of the means of all pairs, each value with itself included (Hodges and Lehmann 1963,
    doi:10.1214/aoms/1177704172)."""
    i, j = np.triu_indices(values.size)
    return float(np.median((values[i] + values[j]) / 2.0))


def noise_floor(aa_log_ratios: ArrayLike, *, rounds: int = FLOOR_ROUNDS) -> float:
    """Smallest effect, as a log-ratio, that a series does not show between equal code; 0 where fewer than
    three A/A rounds are finite, as nothing is known then.

    It is |median| + t s / sqrt(``rounds``): the bias of the A/A log-ratios, and two-sided 95 % of the scatter
    of a mean of ``rounds`` rounds, with s the MAD sigma (of one round, inflated by sqrt(pi / 2) because a
    median is compared) and Student's t for the number of A/A rounds.
    """
    same = finite(aa_log_ratios)
    if same.size < 3:
        return 0.0
    from scipy.special import stdtrit

    scatter = float(stdtrit(same.size - 1, 0.975)) * mad_sigma(same) * math.sqrt(math.pi / 2.0 / rounds)
    return abs(float(np.median(same))) + scatter


def q_values(p: ArrayLike, *, tests: int | None = None) -> FloatArray:
    """Benjamini-Hochberg adjusted p-values, (n,) in the order of ``p``; reject those with q <= alpha.

    ``tests`` is the number of hypotheses that were looked at when it exceeds ``len(p)``: a series in which
    nothing was found takes part with p = 1 and need not be listed. ValueError for p outside [0, 1] or fewer
    ``tests`` than p-values.

    q_(i) = min over j >= i of m p_(j) / j (Benjamini and Hochberg 1995,
    doi:10.1111/j.2517-6161.1995.tb02031.x). The rate is controlled for independent and for positively
    dependent p-values (Benjamini and Yekutieli 2001): neighbouring series of one machine are of that kind.
    """
    values = np.asarray(p, dtype=np.float64)
    count = values.size if tests is None else tests
    if not ((values >= 0) & (values <= 1)).all() or count < values.size:
        raise ValueError(f"expected p-values inside [0, 1], and no fewer than {values.size} tests")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * count / np.arange(1, values.size + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return np.maximum(adjusted, values)  # n p / n may round to less than p


def e_select(log_e: ArrayLike, alpha: float) -> BoolArray:
    """Which of m hypotheses the e-Benjamini-Hochberg procedure rejects, from logarithms of e-values, (m,).

    The k largest are rejected for the greatest k with e_(k) >= m / (k alpha). The share of false rejections
    is alpha at most in expectation, whatever the dependence between e-values, and at any stopping time when
    each is the value of an e-process (Wang and Ramdas 2022, doi:10.1111/rssb.12489). Where all hypotheses are
    true any rejection is false, so that happens with probability alpha at most. ValueError for alpha outside
    (0, 1) or NaN.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie inside (0, 1), got {alpha}")
    values = np.asarray(log_e, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError("e-values must be one dimension of numbers")
    order = np.argsort(-values, kind="stable")
    ranks = np.arange(1, values.size + 1)
    enough = np.flatnonzero(values[order] >= np.log(values.size / (ranks * alpha)))
    chosen = np.zeros(values.size, dtype=np.bool_)
    if enough.size:
        chosen[order[: enough[-1] + 1]] = True
    return chosen
