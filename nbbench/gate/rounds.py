"""Rounds of pairs: which series need more, what is decided, what is confirmed; disturbed pairs are measured
again, until all is settled or the budget is spent.

This is the one stopping rule of everything that compares two commits: the gate with all its series, `bisect`
with one series at a time.
"""

import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from nbbench.budget import Budget
from nbbench.gate.unseen import CountedWork
from nbbench.measure.pair import SIDES, Pair, Sample
from nbbench.measure.paired import GateSeries, PairedRunner
from nbbench.metrics import Better, Metric, Role
from nbbench.model import EvidenceRecord, Phase
from nbbench.stats.paired import (
    EQUIVALENCE_ALPHA,
    PairDecision,
    PairEvidence,
    e_select,
    estimate_pairs,
    look_at_pairs,
)

CONFIRM_ROUNDS = 3
"""Fresh rounds, from a new warm server, whose median has to lie beyond the floor as well."""

CONFIRM_MOST = 6
"""Rounds after which a regression that was not confirmed is refuted."""

CHECK_PAIRS = 6
"""Pairs of a series of which exact work says that nothing became slower (docs/gate.md): no proof, a look."""

MOST_CHECKED = 20
"""Pairs after which a loss that the first showed, and exact work rules out, is not looked for any more."""

CHECK_S = 20.0
"""Seconds after which half as many pairs must do."""

RESOLUTION = math.log(1.03)
"""The change that the gate promises to find, and so the margin of "unchanged". Between it and the smaller
floor lies an indifference zone (Wald 1947, Sequential Analysis): with one limit for both, equal code sits as
close to the limit as a real regression does, and noise decides neither (docs/statistics.md)."""

MAX_ROUNDS = 60
"""Rounds of a series at most: at the default floor more would decide one noisy series in twenty."""

CRASHES = 2
"""Crashes of one side alone that are no accident: the series is settled then."""

SECONDS = Metric("time", "seconds", Better.LOWER, False, Role.TIME, Phase.WARM, 0.05)
"""What is compared where nothing else is said."""


@dataclass(slots=True)
class SeriesState:
    """The rounds of one series so far, its floor, and what was decided.

    ``log_ratios`` are losses: ln(head / base), or its negative where more is better, less ``accepted``, a
    regression that somebody acknowledged. ``decision`` is None until something is decided or it ends.
    ``confirming`` are the fresh rounds after a regression was found; ``confirmed`` is None until they say yes
    or no; without ``confirm`` none is needed. ``crashes`` counts failures by side, ``errors`` has the first
    reason of each, ``skipped`` the sides that skip themselves; ``disturbed`` says what disturbed the newest
    pair that gave no figure, which is no error. Where exact work `settles` a series, CHECK_PAIRS pairs are
    looked at, disturbed or not; only what they show slower is measured on.
    """

    label: str
    floor: float
    reproduce: str = ""
    metric: Metric = SECONDS
    accepted: float = 0.0
    confirm: bool = True
    resolution: float = RESOLUTION
    counted: CountedWork | None = None
    log_ratios: list[float] = field(default_factory=list)
    confirming: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    rounds: int = 0
    crashes: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    disturbed: str = ""
    tries: int = 0
    wanted: int = CHECK_PAIRS
    suspect: bool = False
    decision: PairDecision | None = None
    confirmed: bool | None = None
    evidence: PairEvidence = field(init=False)

    def __post_init__(self) -> None:
        self.evidence = PairEvidence(self.floor, self.margin)

    @property
    def margin(self) -> float:
        """Limit of "unchanged", as a log-ratio."""
        return max(self.floor, self.resolution)

    @property
    def sign(self) -> int:
        """-1 where more is better: its losses are falls."""
        return -1 if self.metric.better is Better.HIGHER else 1

    @property
    def checked(self) -> bool:
        """Whether its time is only checked: exact work settles it, and no pairs speak against that."""
        return self.counted is not None and self.counted.settles and not self.suspect

    @property
    def crashed(self) -> str:
        """The one side that crashed, often enough to be no accident; '' where none did or both."""
        [side, other] = SIDES if self.crashes["base"] else SIDES[::-1]
        return side if self.crashes[side] >= CRASHES and not self.crashes[other] else ""

    @property
    def settled(self) -> bool:
        """Whether more rounds can change nothing: decided and, for a regression, confirmed or refuted."""
        if self.skipped or self.crashed == "head":
            return True
        if not self.log_ratios and self.crashes.total() >= CRASHES:
            return True
        if self.metric.exact:
            return bool(self.log_ratios)
        if self.decision is None or self.decision.decision == "undecided":
            most = MOST_CHECKED if self.counted and self.counted.sure else MAX_ROUNDS
            return self.tries >= self.wanted if self.checked else len(self.log_ratios) >= most
        return not self.confirms or self.confirmed is not None

    @property
    def confirms(self) -> bool:
        """Whether its rounds now go to the confirmation of a regression: one direction is known as a loss."""
        wanted = self.confirm and self.metric.better in (Better.LOWER, Better.HIGHER)
        return wanted and self.decision is not None and self.decision.decision == "slower"

    def take(self, pair: Pair) -> None:
        """Take one pair into account."""
        self.tries += 1
        self.rounds += any(one.value is not None or one.error for one in (pair.base, pair.head))
        for side, sample in zip(SIDES, (pair.base, pair.head), strict=True):
            if sample.skipped:
                self.skipped.add(side)
            if sample.error:
                self.errors.setdefault(side, sample.error)
                self.crashes[side] += not sample.skipped
            if sample.value is not None:
                self.values[side].append(sample.value)
        self.disturbed = self.disturbed if math.isfinite(pair.log_ratio) else pair.disturbed
        self.add(pair.log_ratio)
        if self.checked and self.tries >= self.wanted and self.log_ratios:
            self.suspect = look_at_pairs(self.log_ratios, self.margin).slower

    def add(self, log_ratio: float) -> None:
        """Take one round into account; after a regression was found, rounds go to its confirmation."""
        if not math.isfinite(log_ratio):
            return
        loss = self.sign * log_ratio - self.accepted
        if not self.confirms:
            self.log_ratios.append(loss)
            self.evidence.add(loss)
            return
        self.confirming.append(loss)
        agrees = median(self.confirming) > self.floor
        if len(self.confirming) >= CONFIRM_ROUNDS and agrees:
            self.confirmed = True
        elif len(self.confirming) >= CONFIRM_MOST:
            self.confirmed = False


class GateSession:
    """All series of a gate with one error rate.

    After each round `conclude` weighs the evidence of every series by the e-Benjamini-Hochberg procedure:
    with e-processes it holds at whatever round a series stops, for any dependence between series. `alpha` is
    the rate of false regressions; in a gate where nothing became slower it is the probability of any.
    `inside_alpha` is the rate at which a change beyond the margin is called none. Exact series are settled by
    their first figures and have no part in it.
    """

    def __init__(
        self, states: Sequence[SeriesState], alpha: float, inside_alpha: float = EQUIVALENCE_ALPHA
    ) -> None:
        self.states = tuple(states)
        self.alpha, self.inside_alpha = alpha, inside_alpha
        self._noisy = tuple(state for state in self.states if not state.metric.exact)

    @property
    def open(self) -> tuple[SeriesState, ...]:
        """Series that need more rounds."""
        return tuple(state for state in self.states if not state.settled)

    @property
    def due(self) -> tuple[SeriesState, ...]:
        """Series of the next round: regressions that wait for their confirmation, else all that are open.

        One confirmed regression decides the gate, so what is left of the budget goes there first. Which
        series are measured depends on past rounds alone, and leaves their evidence valid.
        """
        return tuple(state for state in self.open if state.confirms) or self.open

    def conclude(self) -> bool:
        """Decide what can be decided; True when a regression was found that now needs its confirmation."""
        slower = e_select([state.evidence.slower for state in self._noisy], self.alpha)
        faster = e_select([state.evidence.faster for state in self._noisy], self.alpha)
        found = False
        for state, worse, better in zip(self._noisy, slower, faster, strict=True):
            if state.decision is not None or not state.log_ratios:
                continue
            if worse or better:
                level = self.alpha * int((slower if worse else faster).sum()) / len(self._noisy)
                state.decision = _beyond(state, level, worse=bool(worse))
                found |= state.confirms
            elif state.evidence.equivalent >= -math.log(self.inside_alpha):
                state.decision = _inside(state, self.inside_alpha)
        return found

    def finish(self) -> None:
        """Estimate what the rounds of every series that is still open showed."""
        for state in self._noisy:
            if state.decision is None and state.log_ratios:
                found = estimate_pairs(state.log_ratios, alpha=self.inside_alpha)
                state.decision = PairDecision("undecided", found)


def _beyond(state: SeriesState, level: float, *, worse: bool) -> PairDecision | None:
    """The decision that a series left its floor; None when its estimate contradicts the evidence."""
    found = estimate_pairs(state.log_ratios, alpha=level)
    if worse and min(found.lo, found.effect) > state.floor:
        return PairDecision("slower", found)
    if not worse and max(found.hi, found.effect) < -state.floor:
        return PairDecision("faster", found)
    return None


def _inside(state: SeriesState, alpha: float) -> PairDecision | None:
    found = estimate_pairs(state.log_ratios, alpha=alpha)
    inside = -state.margin < found.lo <= found.effect <= found.hi < state.margin
    return PairDecision("equivalent", found) if inside else None


RETRIES = 2
"""How often a disturbed pair is measured again in its round; the last one counts, disturbed or not."""

HOPELESS_SHARE = 1 / 3
"""Share of disturbed pairs above which no more are measured again: it would cost half of the rounds."""

ENOUGH_PAIRS = 12
"""Pairs before that is judged."""


@dataclass(slots=True)
class Tally:
    """Pairs measured, and why some were measured again."""

    pairs: int = 0
    repeated: Counter[str] = field(default_factory=Counter)
    kept: int = 0

    @property
    def hopeless(self) -> bool:
        """Whether the load is no burst but lasts: measuring again meets it again."""
        return self.pairs >= ENOUGH_PAIRS and self.repeated.total() > HOPELESS_SHARE * self.pairs

    @property
    def record(self) -> EvidenceRecord:
        """How many pairs were disturbed, with the reasons."""
        figures = {"pairs": self.pairs, "repeated": dict(self.repeated.most_common()), "kept": self.kept}
        return EvidenceRecord("pairs", figures)


def clean_round(
    runner: PairedRunner,
    series: Sequence[GateSeries],
    budget: Budget,
    tally: Tally,
    checked: Container[GateSeries] = (),
) -> Iterator[tuple[GateSeries, Pair]]:
    """One round's pairs as they come in; disturbed ones are measured again while budget and retries last.

    A pair that will be measured again comes without figures, so that its reason is known at any time. Those
    of `checked` are taken as they are.
    """
    todo = list(series)
    for attempt in range(RETRIES + 1):
        again = []
        for item, pair in runner.measure(todo):
            tally.pairs += 1
            again_if = pair.disturbed and attempt < RETRIES and item not in checked
            if again_if and not tally.hopeless and not budget.spent:
                tally.repeated[pair.disturbed] += 1
                again.append(item)
                yield item, Pair(Sample(None), Sample(None), disturbed=pair.disturbed)
            else:
                tally.kept += bool(pair.disturbed)
                yield item, pair
            if budget.spent:
                return
        if not again:
            return
        todo = again


def run_rounds(
    runner: PairedRunner,
    series: Sequence[GateSeries],
    session: GateSession,
    *,
    budget: Budget,
    tally: Tally,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Measure and decide until all is settled or the budget is spent.

    `series` are those of the session, in its order. What was measured before an exception is in the session.
    """
    turn, begun = 0, budget.elapsed_s
    states = dict(zip(series, session.states, strict=True))
    while session.open and not budget.spent:
        turn += 1
        due = {state.label for state in session.due}
        todo = [item for item in states if item.label in due]
        checked = {item for item in todo if states[item].checked}
        for item, pair in clean_round(runner, todo, budget, tally, checked):
            states[item].take(pair)
        if budget.elapsed_s - begun > CHECK_S:
            for state in session.states:
                state.wanted = CHECK_PAIRS // 2  # half of the pairs do where time is only checked
        if session.conclude():
            runner.renew()  # a regression is confirmed by processes of a new server
        settled = len(session.states) - len(session.open)
        say(f"round {turn}: {settled}/{len(states)} settled, {budget.left_s:.0f} s left")
