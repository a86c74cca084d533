"""Rounds of pairs: disturbed pairs are measured again, until all is settled or the budget is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

from nbbench.budget import Budget
from nbbench.gate.session import CHECK_S, GateSession
from nbbench.measure.pair import Pair, Sample
from nbbench.measure.paired import GateSeries, PairedRunner
from nbbench.model import EvidenceRecord

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
            session.hurry()
        if session.conclude():
            runner.renew()  # a regression is confirmed by processes of a new server
        settled = len(session.states) - len(session.open)
        say(f"round {turn}: {settled}/{len(states)} settled, {budget.left_s:.0f} s left")
