"""Rounds of a pair of commits: disturbed duels measured again; a gate's until all of it is settled."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nbbench.gate.session import GateSession
from nbbench.measure.pair import Pair
from nbbench.measure.paired import GateSeries, PairedRunner

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
        return self.pairs >= ENOUGH_PAIRS and sum(self.repeated.values()) > HOPELESS_SHARE * self.pairs

    @property
    def sentence(self) -> str:
        """The share of disturbed pairs, with the reasons."""
        again = sum(self.repeated.values())
        why = ", ".join(f"{reason}: {count}" for reason, count in self.repeated.most_common())
        share = f" ({100 * again / self.pairs:.0f} %)" if self.pairs and again else ""
        told = f"{again} of {self.pairs} pairs{share} were disturbed and measured again"
        told += f" ({why})" if why else ""
        pairs = "1 disturbed pair was" if self.kept == 1 else f"{self.kept} disturbed pairs were"
        kept = f"; {pairs} kept, as the machine was busy all the time"
        return told + (kept if self.kept else "")


def clean_round(
    runner: PairedRunner, series: Sequence[GateSeries], deadline: float, tally: Tally
) -> Mapping[GateSeries, Pair]:
    """One round, with disturbed pairs measured again while time and retries last."""
    measured = dict(runner.measure(series))
    tally.pairs += len(measured)
    for _ in range(RETRIES):
        spoilt = [item for item, pair in measured.items() if pair.contended]
        if not spoilt or time.monotonic() > deadline or tally.hopeless:
            break
        tally.repeated.update(measured[item].disturbed for item in spoilt)
        measured |= runner.measure(spoilt)
        tally.pairs += len(spoilt)
    tally.kept += sum(pair.contended for pair in measured.values())
    return measured


def run_rounds(
    runner: PairedRunner,
    series: Sequence[GateSeries],
    session: GateSession,
    *,
    coefficients: Mapping[str, float],
    deadline: float,
    say: Callable[[str], None],
) -> Tally:
    """Measure and decide, one round at least, until all is settled or `deadline` (time.monotonic) has passed.

    `coefficients` by label: how much of the canary's log-ratio is taken from the series'. `series` are those
    of the session, in its order.
    """
    tally, turn = Tally(), 0
    states = dict(zip(series, session.states, strict=True))
    while session.open and (not turn or time.monotonic() < deadline):
        turn += 1
        due = {state.label for state in session.due}
        todo = [item for item in states if item.label in due]
        for item, pair in clean_round(runner, todo, deadline, tally).items():
            state = states[item]
            state.errors += [side.error for side in (pair.base, pair.head) if side.error]
            state.disturbed = state.disturbed if math.isfinite(pair.log_ratio) else pair.disturbed
            state.base_s += [pair.base.seconds] if pair.base.seconds else []
            state.head_s += [pair.head.seconds] if pair.head.seconds else []
            drift = pair.canaries.log_ratio if pair.canaries else 0.0
            state.add(pair.log_ratio - coefficients.get(item.label, 0.0) * drift)
        if session.conclude():
            runner.renew()  # a loss is confirmed by processes of a new server
        settled = len(session.states) - len(session.open)
        say(
            f"round {turn}: {settled}/{len(states)} settled, {max(deadline - time.monotonic(), 0):.0f} s left"
        )
    session.finish()
    return tally
