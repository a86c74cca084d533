"""A gate's rounds: which series need more, what is decided, what is confirmed. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from nbbench.stats.fdr import e_select
from nbbench.stats.paired import (
    EQUIVALENCE_ALPHA,
    Decision,
    Evidence,
    PairedEstimate,
    estimate_pairs,
    interval,
    percent,
)

CONFIRM_ROUNDS = 3
"""Fresh rounds, from a new warm server, whose median has to lie beyond the floor as well."""

CONFIRM_MOST = 6
"""Rounds after which a loss that was not confirmed is refuted."""

RESOLUTION = math.log(1.03)
"""The change that the gate promises to find, and so the margin of "unchanged". Between it and the smaller
floor lies an indifference zone (Wald 1947, Sequential Analysis): with one limit for both, equal code sits as
close to the limit as a real loss does, and noise decides neither (docs/statistics.md)."""

MAX_ROUNDS = 60
"""Rounds of a series at most: at the default floor more would decide one noisy series in twenty."""


@dataclass(slots=True)
class SeriesState:
    """The rounds of one series so far (log-ratios), its floor, and what was decided.

    ``decision`` is None until something is decided or the gate ends. ``confirming`` are the fresh rounds
    after a loss was found; ``confirmed`` is None until they say yes or no. ``errors`` tell why a side cannot
    run; ``disturbed`` what disturbed the newest pair that gave no figure, which is no error.
    """

    label: str
    floor: float
    reproduce: str = ""
    log_ratios: list[float] = field(default_factory=list)
    confirming: list[float] = field(default_factory=list)
    base_s: list[float] = field(default_factory=list)
    head_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    disturbed: str = ""
    decision: Decision | None = None
    confirmed: bool | None = None
    evidence: Evidence = field(init=False)

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.floor, self.margin)

    @property
    def margin(self) -> float:
        """Limit of "unchanged", as a log-ratio."""
        return max(self.floor, RESOLUTION)

    @property
    def settled(self) -> bool:
        """Whether more rounds can change nothing: decided and, for a loss, confirmed or refuted."""
        if self.errors and not self.log_ratios:
            return True
        if self.decision is None or self.decision.decision == "undecided":
            return len(self.log_ratios) >= MAX_ROUNDS
        return self.decision.decision != "slower" or self.confirmed is not None

    @property
    def confirms(self) -> bool:
        """Whether its rounds now go to the confirmation of a loss."""
        return self.decision is not None and self.decision.decision == "slower"

    def add(self, log_ratio: float) -> None:
        """Take one round into account; after a loss was found, rounds go to its confirmation."""
        if not math.isfinite(log_ratio):
            return
        if not self.confirms:
            self.log_ratios.append(log_ratio)
            self.evidence.add(log_ratio)
            return
        self.confirming.append(log_ratio)
        agrees = median(self.confirming) > self.floor
        if len(self.confirming) >= CONFIRM_ROUNDS and agrees:
            self.confirmed = True
        elif len(self.confirming) >= CONFIRM_MOST:
            self.confirmed = False


class GateSession:
    """All series of a gate with one error rate.

    After each round `conclude` weighs the evidence of every series by the e-Benjamini-Hochberg procedure:
    with e-processes it holds at whatever round a series stops, for any dependence between series. `alpha` is
    the rate of false losses; in a gate where nothing became slower it is the probability of any.
    """

    def __init__(self, states: Sequence[SeriesState], alpha: float) -> None:
        self.states = tuple(states)
        self.alpha = alpha

    @property
    def open(self) -> tuple[SeriesState, ...]:
        """Series that need more rounds."""
        return tuple(state for state in self.states if not state.settled)

    @property
    def due(self) -> tuple[SeriesState, ...]:
        """Series of the next round: losses that wait for their confirmation, else all that are open.

        One confirmed loss decides the gate, so what is left of the budget goes there first. Which series are
        measured depends on past rounds alone, and leaves their evidence valid.
        """
        return tuple(state for state in self.open if state.confirms) or self.open

    def conclude(self) -> bool:
        """Decide what can be decided; True when a loss was found that now needs its confirmation."""
        slower = e_select([state.evidence.slower for state in self.states], self.alpha)
        faster = e_select([state.evidence.faster for state in self.states], self.alpha)
        losses = False
        for state, worse, better in zip(self.states, slower, faster, strict=True):
            if state.decision is not None or not state.log_ratios:
                continue
            if worse or better:
                level = self.alpha * int((slower if worse else faster).sum()) / len(self.states)
                state.decision = _beyond(state, level, worse=bool(worse))
                losses |= state.confirms
            elif state.evidence.equivalent >= -math.log(EQUIVALENCE_ALPHA):
                state.decision = _inside(state)
        return losses

    def finish(self) -> None:
        """Say of every series that is still open what its rounds showed."""
        for state in self.states:
            if state.decision is None and state.log_ratios:
                found = estimate_pairs(state.log_ratios, alpha=EQUIVALENCE_ALPHA)
                state.decision = Decision("undecided", found, _open_reason(state, found))


def _beyond(state: SeriesState, level: float, *, worse: bool) -> Decision | None:
    """The decision that a series left its floor; None when its estimate contradicts the evidence."""
    found = estimate_pairs(state.log_ratios, alpha=level)
    if worse and found.lo > state.floor and found.effect > state.floor:
        return Decision("slower", found, f"{interval(found)} lies above the floor of {percent(state.floor)}")
    if not worse and found.hi < -state.floor and found.effect < -state.floor:
        return Decision("faster", found, f"{interval(found)} lies below the floor of {percent(-state.floor)}")
    return None


def _inside(state: SeriesState) -> Decision | None:
    found = estimate_pairs(state.log_ratios, alpha=EQUIVALENCE_ALPHA)
    if not -state.margin < found.lo <= found.effect <= found.hi < state.margin:
        return None
    return Decision("equivalent", found, f"{interval(found)} lies inside ±{percent(state.margin)[1:]}")


def _open_reason(state: SeriesState, found: PairedEstimate) -> str:
    if not found.lo <= found.effect <= found.hi:
        return f"early and late rounds contradict each other over {found.n} rounds"
    if not (math.isfinite(found.lo) and math.isfinite(found.hi)):
        return f"{found.n} rounds are too few"
    return (
        f"{interval(found)} neither lies beyond the floor of {percent(state.floor)[1:]} "
        f"nor inside ±{percent(state.margin)[1:]}"
    )


def make_session(floors: Mapping[str, float], alpha: float) -> GateSession:
    """A session for series by label with their floors (log-ratios)."""
    return GateSession([SeriesState(label, floor) for label, floor in floors.items()], alpha)
