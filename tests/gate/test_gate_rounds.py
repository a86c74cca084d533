"""Rounds of a gate against a runner that needs no processes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from nbbench.gate.rounds import ENOUGH_PAIRS, RETRIES, Tally, clean_round, run_rounds
from nbbench.gate.session import GateSession, SeriesState
from nbbench.gate.verdicts import time_verdict
from nbbench.measure.pair import Canaries, Pair, Sample
from nbbench.measure.paired import GateSeries
from nbbench.model import Outcome

ITEM = GateSeries("time_run", None, "time_run", 60.0)
STEADY = {"base": (1.0, 1.0), "head": (1.0, 1.0)}
DRIFT = {"base": (1.0, 1.0), "head": (1.1, 1.1)}


class Runner:
    """Answers every round from a list (the last one for ever)."""

    def __init__(self, *pairs: Pair) -> None:
        self.pairs, self.rounds, self.renewals = list(pairs), 0, 0

    def measure(self, series: Sequence[GateSeries]) -> Mapping[GateSeries, Pair]:
        self.rounds += 1
        return dict.fromkeys(series, self.pairs.pop(0) if len(self.pairs) > 1 else self.pairs[0])

    def renew(self) -> None:
        self.renewals += 1


def pair(log_ratio: float, disturbed: str = "", canaries: Canaries | None = None) -> Pair:
    return Pair(Sample(1.0), Sample(1.0), log_ratio, 5, 0, disturbed, 1.0, canaries)


def drive(runner: Runner, seconds: float = 60.0, coefficient: float = 0.0) -> tuple[SeriesState, Tally]:
    state = SeriesState("time_run", 0.01)
    tally = run_rounds(
        runner,  # type: ignore[arg-type]
        [ITEM],
        GateSession([state], 0.01),
        coefficients={"time_run": coefficient},
        deadline=time.monotonic() + seconds,
        say=lambda _: None,
    )
    return state, tally


def test_a_loss_is_confirmed_by_a_new_server() -> None:
    runner = Runner(pair(0.1))
    state, tally = drive(runner)
    assert state.confirmed
    assert runner.renewals == 1
    assert tally.sentence.startswith("0 of ")


def test_one_round_is_measured_however_small_the_budget() -> None:
    state, _ = drive(Runner(pair(0.1)), seconds=-1.0)
    assert len(state.log_ratios) == 1
    assert state.decision is not None
    assert state.decision.decision == "undecided"


def test_a_disturbed_pair_is_measured_again_and_told() -> None:
    runner, tally = Runner(pair(0.5, "the canary jumped"), pair(0.0)), Tally()
    measured = clean_round(runner, [ITEM], time.monotonic() + 60, tally)  # type: ignore[arg-type]
    assert measured[ITEM].log_ratio == 0.0
    assert tally.sentence == ("1 of 2 pairs (50 %) were disturbed and measured again (the canary jumped: 1)")


def test_lasting_load_is_not_measured_again_for_ever() -> None:
    runner, tally = Runner(pair(0.0, "other processes ran")), Tally()
    for _ in range(ENOUGH_PAIRS + 20):
        clean_round(runner, [ITEM], time.monotonic() + 60, tally)  # type: ignore[arg-type]
    assert tally.hopeless
    assert sum(tally.repeated.values()) < RETRIES * ENOUGH_PAIRS
    assert tally.kept == ENOUGH_PAIRS + 20
    assert "the machine was busy all the time" in tally.sentence


def test_a_canary_that_helps_takes_its_drift_away() -> None:
    state, _ = drive(Runner(pair(0.1, canaries=Canaries(DRIFT, DRIFT))), seconds=-1, coefficient=1.0)
    assert abs(state.log_ratios[0] - 0.1 + 0.0953) < 1e-3
    state, _ = drive(Runner(pair(0.1, canaries=Canaries(STEADY, STEADY))), seconds=-1, coefficient=1.0)
    assert state.log_ratios == [0.1]


def test_a_series_without_a_clean_slice_is_measured_again_and_told() -> None:
    """No figure is no failure: the series stays open, and a later round settles it."""
    nothing = Pair(Sample(None), Sample(None), disturbed="every slice waited for a core")
    state, tally = drive(Runner(*[nothing] * 5, pair(0.1)))
    assert state.confirmed
    assert tally.repeated["every slice waited for a core"] == 4
    state, _ = drive(Runner(nothing), seconds=-1.0)
    assert (state.decision, state.errors) == (None, [])
    told = time_verdict(state, None)
    assert told.outcome is Outcome.INCONCLUSIVE
    assert told.sentence == "no pair could be measured: every slice waited for a core"


def test_a_side_that_cannot_run_settles_its_series_at_once() -> None:
    runner = Runner(Pair(Sample(None, "12345678: NameError"), Sample(None)))
    state, _ = drive(runner)
    assert runner.rounds == 1
    assert time_verdict(state, None).sentence == "12345678: NameError"


def test_a_loss_is_confirmed_before_anything_else_is_measured() -> None:
    """The budget ends at no known round: what decides the gate goes first."""
    slow, wavering = ITEM, GateSeries("time_other", None, "time_other", 60.0)
    measured: list[tuple[str, ...]] = []

    class Two:
        def measure(self, series: Sequence[GateSeries]) -> Mapping[GateSeries, Pair]:
            measured.append(tuple(item.label for item in series))
            wave = 0.1 * (-1) ** len(measured)
            return {item: pair(0.1 if item is slow else wave) for item in series}

        def renew(self) -> None:
            measured.append(("a new server",))

    session = GateSession([SeriesState(item.label, 0.01) for item in (slow, wavering)], 0.01)
    run_rounds(
        Two(),  # type: ignore[arg-type]
        [slow, wavering],
        session,
        coefficients={},
        deadline=time.monotonic() + 60,
        say=lambda _: None,
    )
    found = measured.index(("a new server",))
    assert set(measured[:found]) == {("time_run", "time_other")}
    assert measured[found + 1 : found + 4] == [("time_run",)] * 3
    assert set(measured[found + 4 :]) == {("time_other",)}
    assert session.states[0].confirmed
