"""A gate replayed from recorded rounds through its own decisions: how often would it block, and when?

A recording holds what a gate would have measured: for each warm server a list of rounds, each with the pair
of every series. Replayed gates draw servers with replacement and their rounds in random order, so what the
processes of one server have in common stays together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from nbbench.gate.rounds import GateSession, SeriesState


@dataclass(frozen=True, slots=True)
class RecordedPair:
    """One interleaved pair: its log-ratio ln(head / base) and the seconds it took."""

    log_ratio: float
    seconds: float


RecordedRound = Mapping[str, RecordedPair]
"""The pairs of one round by series."""

Recording = Sequence[Sequence[RecordedRound]]
"""Rounds by warm server."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replayed gate decided: decision by series ("slower" only when confirmed), rounds and seconds."""

    decisions: Mapping[str, str]
    rounds: int
    seconds: float

    @property
    def blocks(self) -> bool:
        """Whether the gate would have exited with 3."""
        return "slower" in self.decisions.values()

    @property
    def passes(self) -> bool:
        """Whether it would have exited with 0."""
        return not self.blocks and "undecided" not in self.decisions.values()


def replay_gate(
    recording: Recording,
    random: Random,
    *,
    floors: Mapping[str, float],
    alpha: float = 0.01,
    budget_s: float = 300.0,
    server_s: float = 5.0,
    start_s: float = 15.0,
    swap: bool = False,
    only: str | None = None,
    equal: Recording | None = None,
) -> Replayed:
    """Run one gate on recorded rounds until every series is settled or the budget is spent.

    `floors` names the series. `server_s` seconds are charged for each warm server and `start_s` for what
    comes before the first round. `swap` exchanges base and head of whole servers at random, for recordings of
    equal code. With `only`, that series comes from `recording` and all others from `equal`, recorded
    alongside (the same servers and rounds): one series became slower and the others did not.
    """
    session = GateSession([SeriesState(label, floor) for label, floor in floors.items()], alpha)
    seconds, rounds = start_s, 0
    while session.open and seconds < budget_s:
        server = random.randrange(len(recording))
        sign = random.choice((-1.0, 1.0)) if swap else 1.0
        seconds += server_s
        for number in random.sample(range(len(recording[server])), len(recording[server])):
            if not session.open or seconds >= budget_s:
                break
            for state in session.due:
                source = equal if equal is not None and state.label != only else recording
                pair = source[server][number][state.label]
                state.add(sign * pair.log_ratio)
                seconds += pair.seconds
            rounds += 1
            if session.conclude():
                break  # losses are confirmed by a new server
    session.finish()
    return Replayed(_decisions(session), rounds, min(seconds, budget_s))


def _decisions(session: GateSession) -> dict[str, str]:
    told: dict[str, str] = {}
    for state in session.states:
        decision = state.decision.decision if state.decision else "undecided"
        told[state.label] = decision if decision != "slower" or state.confirmed else "undecided"
    return told


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    if trials == 0:
        return 0.0, 1.0
    share, square = successes / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return middle - half, middle + half
