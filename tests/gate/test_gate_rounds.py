"""Rounds of a gate against a runner that needs no processes and no clock of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import pytest
from gate_facts import said

from nbbench.budget import Budget
from nbbench.gate.judge import series_verdict, without_base
from nbbench.gate.rounds import (
    CRASHES,
    ENOUGH_PAIRS,
    RETRIES,
    GateSession,
    SeriesState,
    Tally,
    clean_round,
    run_rounds,
)
from nbbench.measure.pair import Pair, Sample
from nbbench.measure.paired import GateSeries
from nbbench.model import NotJudged, NotJudgedReason, Outcome
from nbbench.report.gate_sentences import evidence_text

ITEM = GateSeries("time_run", None, "time_run", 60.0)
FOR_EVER = Budget(60.0, lambda: 0.0)


class Runner:
    """Answers every round from a list (the last one for ever), one second each by its own clock."""

    def __init__(self, *pairs: Pair) -> None:
        self.pairs, self.rounds, self.renewals, self.now = list(pairs), 0, 0, 0.0

    def measure(self, series: Sequence[GateSeries]) -> Iterator[tuple[GateSeries, Pair]]:
        self.rounds += 1
        for item in series:
            self.now += 1.0
            yield item, self.pairs.pop(0) if len(self.pairs) > 1 else self.pairs[0]

    def renew(self) -> None:
        self.renewals += 1


def pair(log_ratio: float, disturbed: str = "") -> Pair:
    return Pair(Sample(1.0), Sample(1.0), log_ratio, disturbed)


def drive(runner: Runner, seconds: float = 600.0) -> tuple[SeriesState, Tally]:
    state, tally = SeriesState("time_run", 0.01), Tally()
    session = GateSession([state], 0.01)
    run_rounds(
        runner,  # type: ignore[arg-type]
        [ITEM],
        session,
        budget=Budget(seconds, lambda: runner.now),
        tally=tally,
    )
    session.finish()
    return state, tally


def test_a_regression_is_confirmed_by_a_new_server() -> None:
    runner = Runner(pair(0.1))
    state, tally = drive(runner)
    assert state.confirmed
    assert runner.renewals == 1
    assert evidence_text([tally.record]).startswith("0 of ")


def test_nothing_begins_once_the_budget_is_spent() -> None:
    """H13: by a clock of its own, so that no load changes it."""
    runner = Runner(pair(0.1))
    state, _ = drive(runner, seconds=2.5)
    assert (runner.rounds, len(state.log_ratios)) == (3, 3)
    assert state.decision is not None
    assert state.decision.decision == "undecided"
    runner = Runner(pair(0.1))
    drive(runner, seconds=0.0)
    assert runner.rounds == 0


def test_the_budget_ends_a_round_between_its_pairs_and_before_it_repeats_any() -> None:
    """H13: what was measured by then counts, disturbed or not."""
    items = [GateSeries(name, None, name, 60.0) for name in "abc"]
    for disturbed, measured in (("", 2), ("other processes ran", 1)):
        runner = Runner(pair(0.0, disturbed))
        budget = Budget(1.5, lambda runner=runner: runner.now)
        found = list(clean_round(runner, items, budget, Tally()))  # type: ignore[arg-type]
        assert (sum(one.base.value is not None for _, one in found), runner.now) == (measured, 2.0)


def test_a_disturbed_pair_is_measured_again_and_told() -> None:
    runner, tally = Runner(pair(0.5, "the canary jumped"), pair(0.0)), Tally()
    measured = dict(clean_round(runner, [ITEM], FOR_EVER, tally))  # type: ignore[arg-type]
    assert measured[ITEM].log_ratio == 0.0
    assert evidence_text([tally.record]) == (
        "1 of 2 pairs (50 %) were disturbed and measured again (the canary jumped: 1)"
    )


def test_lasting_load_is_not_measured_again_for_ever() -> None:
    runner, tally = Runner(pair(0.0, "other processes ran")), Tally()
    for _ in range(ENOUGH_PAIRS + 20):
        list(clean_round(runner, [ITEM], FOR_EVER, tally))  # type: ignore[arg-type]
    assert tally.hopeless
    assert tally.repeated.total() < RETRIES * ENOUGH_PAIRS
    assert tally.kept == ENOUGH_PAIRS + 20
    assert "the machine was busy all the time" in evidence_text([tally.record])


def test_a_series_without_a_clean_slice_is_measured_again_and_told() -> None:
    """No figure is no failure: the series stays open, and a later round settles it."""
    nothing = Pair(Sample(None), Sample(None), disturbed="every slice waited for a core")
    state, tally = drive(Runner(*[nothing] * 5, pair(0.1)))
    assert state.confirmed
    assert tally.repeated["every slice waited for a core"] == 4
    state, _ = drive(Runner(nothing), seconds=3.0)
    assert (state.decision, state.errors) == (None, {})
    found = series_verdict(state)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert said(found) == "no pair could be measured: every slice waited for a core"


@pytest.mark.parametrize("skipped", [False, True])
def test_a_base_that_cannot_run_is_not_judged(skipped: bool) -> None:
    """C2, C7: whatever head does; a skip is settled by the first pair."""
    runner = Runner(Pair(Sample(None, "12345678: NameError", skipped), Sample(None)))
    state, _ = drive(runner)
    assert runner.rounds == (1 if skipped else CRASHES)
    gone = series_verdict(state)
    assert isinstance(gone, NotJudged)
    assert gone.reason is (NotJudgedReason.SKIPPED if skipped else NotJudgedReason.FAILING)
    assert gone.detail == "at base: 12345678: NameError"


def test_a_feature_that_fails_at_head_is_not_skipped() -> None:
    """C2, C7: base lacks the feature, and head's version of it crashes."""
    runner = Runner(Pair(Sample(None, "NotImplementedError: new", True), Sample(None, "NameError: n")))
    gone = series_verdict(drive(runner)[0])
    assert isinstance(gone, NotJudged)
    assert gone.reason is NotJudgedReason.FAILING
    assert gone.detail == "at base: NotImplementedError: new; at head: NameError: n"
    both = without_base("w", "NotImplementedError: new", "NotImplementedError: new", skipped=True)
    assert (both.reason, both.detail) == (
        NotJudgedReason.SKIPPED,
        "at base and at head: NotImplementedError: new",
    )


@pytest.mark.parametrize("skipped", [False, True])
def test_what_ran_at_base_and_cannot_run_at_head_is_a_regression(skipped: bool) -> None:
    """C2: at once where it skips itself, by the second crash where it fails."""
    state, _ = drive(Runner(Pair(Sample(None), Sample(None, "NameError: phi", skipped))))
    found = series_verdict(state)
    assert found.outcome is Outcome.REGRESSED
    assert said(found) == "runs at base but not at head: NameError: phi"


def crashing(head: int, base: int) -> list[Pair]:
    """Clean rounds and, between them, some that crash."""
    crashes = [Pair(Sample(None), Sample(None, "killed"))] * head
    crashes += [Pair(Sample(None, "killed"), Sample(None))] * base
    return [one for both in zip_longest([pair(0.0)] * 6, crashes) for one in both if one]


@pytest.mark.parametrize(
    ("head", "base", "outcome", "words"),
    [
        (5, 0, Outcome.REGRESSED, "crashed at head in 2 of N rounds: killed; "),
        (1, 0, Outcome.INCONCLUSIVE, "crashed at head in 1 of N rounds: killed; change"),
        (1, 1, Outcome.INCONCLUSIVE, "crashed at base in 1 and at head in 1 of N rounds: killed; change"),
        (0, 5, Outcome.UNCHANGED, "crashed at base in 5 of N rounds: killed; change"),
    ],
)
def test_a_head_that_crashes_in_some_rounds_is_never_unchanged(
    head: int, base: int, outcome: Outcome, words: str
) -> None:
    """C5: crashes of head alone are a regression of reliability; one accident leaves it open."""
    state, _ = drive(Runner(*crashing(head, base)))
    found = series_verdict(state)
    assert found.outcome is outcome
    assert re.sub(r"of \d+ rounds", "of N rounds", said(found)).startswith(words)


def test_a_regression_is_confirmed_before_anything_else_is_measured() -> None:
    """The budget ends at no known round: what decides the gate goes first."""
    slow, wavering = ITEM, GateSeries("time_other", None, "time_other", 60.0)
    measured: list[tuple[str, ...]] = []

    class Two:
        def measure(self, series: Sequence[GateSeries]) -> Iterator[tuple[GateSeries, Pair]]:
            measured.append(tuple(item.label for item in series))
            wave = 0.1 * (-1) ** len(measured)
            yield from ((item, pair(0.1 if item is slow else wave)) for item in series)

        def renew(self) -> None:
            measured.append(("a new server",))

    session = GateSession([SeriesState(item.label, 0.01) for item in (slow, wavering)], 0.01)
    run_rounds(Two(), [slow, wavering], session, budget=FOR_EVER, tally=Tally())  # type: ignore[arg-type]
    found = measured.index(("a new server",))
    assert set(measured[:found]) == {("time_run", "time_other")}
    assert measured[found + 1 : found + 4] == [("time_run",)] * 3
    assert set(measured[found + 4 :]) == {("time_other",)}
    assert session.states[0].confirmed
