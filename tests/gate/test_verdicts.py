"""The gate decides from exact work first and paired times second, and says when it cannot tell."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import history_samples as samples
import numpy as np
import pytest
from gate_facts import gate_report, said, telling, whole
from history_samples import ledger

from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION
from nbbench.gate.judge import (
    EXIT_BY_OUTCOME,
    exact_verdict,
    host_verdicts,
    series_verdict,
    workload_verdicts,
)
from nbbench.gate.rounds import CONFIRM_MOST, CONFIRM_ROUNDS, MAX_ROUNDS, GateSession, SeriesState
from nbbench.host import HostMetric
from nbbench.ledger import BYTES_PER_OPERATION
from nbbench.measure.pair import Pair, Sample
from nbbench.metrics import Better, metric_of
from nbbench.model import Cause, EvidenceRecord, NotJudged, NotJudgedReason, Outcome, Phase, SeriesKey
from nbbench.report.gate import figures
from nbbench.report.gate_sentences import format_floor, report_sentence
from nbbench.verdicts import Verdict
from nbbench.work.count_diff import HostDiff
from nbbench.work.ledger_diff import LedgerDiff, diff_ledgers

LEDGER_TOLERANCE, OPS_TOLERANCE = 0.01, 0.10
ALPHA = 0.01
FLOOR = 0.03
SERIES = 8


def state(*log_ratios: float, floor: float = FLOOR) -> SeriesState:
    """A series of its own gate after these rounds."""
    one = SeriesState("time_run(512)", floor, "nbbench gate …")
    session = GateSession([one], ALPHA)
    for value in log_ratios:
        one.add(value)
        session.conclude()
    return one


def ended(one: SeriesState) -> SeriesState:
    """The series when the budget ends now."""
    GateSession([one], ALPHA).finish()
    return one


def diff(**head: Any) -> LedgerDiff:
    return diff_ledgers(ledger(), ledger(**head))


def traffic_verdict(found: LedgerDiff) -> Verdict:
    """The verdict on bytes and operations."""
    return workload_verdicts(found)[0]


def verdict(outcome: Outcome, effect: float | None = 0.0, name: str = "a") -> Verdict:
    return Verdict(name, outcome, effect, None, None, FLOOR, 10, telling(f"{name} is {outcome}"))


CRASH = Pair(Sample(None), Sample(None, "0badc0de: NameError: phi"))
SLOW = [0.2 + 0.001 * i for i in range(8)]
NOTHING = [0.001, -0.001] * 6


# --- one timed series ------------------------------------------------------------------------


def test_no_verdict_before_the_least_number_of_rounds() -> None:
    for rounds in range(1, len(SLOW)):
        one = ended(state(*SLOW[:rounds]))
        assert not one.settled
        assert series_verdict(one).outcome is Outcome.INCONCLUSIVE


def test_a_regression_asks_for_confirmation_before_it_blocks() -> None:
    one = state(*SLOW)
    assert one.decision is not None
    assert one.decision.decision == "slower"
    assert (one.settled, one.confirmed) == (False, None)
    found = series_verdict(one)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "the budget ended before the confirming re-run" in said(found)


def test_a_confirmed_loss_blocks_and_counts_all_rounds() -> None:
    one = state(*SLOW, *[0.18] * CONFIRM_ROUNDS)
    assert (one.settled, one.confirmed) == (True, True)
    assert len(one.log_ratios) == len(SLOW)  # fresh rounds confirm, they do not join the evidence
    found = series_verdict(one, Cause.WORK)
    assert (found.outcome, found.cause) == (Outcome.REGRESSED, Cause.WORK)
    assert found.rounds == len(SLOW) + CONFIRM_ROUNDS
    assert said(found).endswith("confirmed by 3 fresh rounds")
    assert found.effect == pytest.approx(0.2035)
    assert found.reproduce


@pytest.mark.parametrize("fresh", [[0.0, 0.01, 0.2], [0.0, 0.0, 0.0], [FLOOR, FLOOR, 0.5]])
def test_a_confirmation_that_disagrees_is_inconclusive(fresh: list[float]) -> None:
    one = state(*SLOW, *fresh)
    assert (one.settled, one.confirmed) == (False, None)  # three more may still agree
    one = state(*SLOW, *fresh, *[0.0] * (CONFIRM_MOST - len(fresh)))
    assert (one.settled, one.confirmed) == (True, False)
    found = series_verdict(one, Cause.WORK)
    assert (found.outcome, found.cause) == (Outcome.INCONCLUSIVE, None)
    assert "the confirming re-run does not agree" in said(found)


def test_a_gain_and_no_change_need_no_confirmation() -> None:
    faster = state(*[-x for x in SLOW])
    assert (faster.settled, series_verdict(faster, None).outcome) == (True, Outcome.IMPROVED)
    same = state(*NOTHING)
    assert (same.settled, series_verdict(same, Cause.WORK).outcome) == (True, Outcome.UNCHANGED)
    assert series_verdict(same, Cause.WORK).cause is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_rounds_without_a_ratio_are_left_out(value: float) -> None:
    one = state(value, value)
    assert (one.log_ratios, one.decision, one.settled) == ([], None, False)
    one = state(*SLOW, value, 0.2, value, 0.2)
    assert (len(one.confirming), one.settled) == (2, False)


def test_a_series_that_always_fails_at_head_is_a_regression_with_its_error() -> None:
    one = state(math.nan)
    one.take(CRASH)
    one.take(CRASH)
    assert one.settled
    found = series_verdict(one, Cause.WORK)
    assert (found.outcome, said(found)) == (
        Outcome.REGRESSED,
        "runs at base but not at head: 0badc0de: NameError: phi",
    )
    assert (found.effect, found.cause) == (None, None)


def test_a_single_failure_does_not_end_a_series() -> None:
    one = state(0.0, 0.0)
    one.take(CRASH)
    assert not one.settled


def test_a_series_that_was_never_measured_says_so() -> None:
    assert series_verdict(state(), None).reason is NotJudgedReason.NOT_MEASURED


def test_infinite_bounds_are_none_in_the_report() -> None:
    found = series_verdict(ended(state(0.1)), None)
    assert said(found) == "change +10.5 %, 1 round is too few for an interval"
    assert (found.effect_lo, found.effect_hi) == (None, None)


def test_an_open_series_says_between_which_limits_it_lies() -> None:
    rng = np.random.default_rng(11)
    found = series_verdict(ended(state(*rng.normal(0.015, 0.03, 12), floor=0.01)), None)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "neither lies beyond the floor of 1 % nor inside ±3 %" in said(found)


def test_a_series_ends_at_the_most_rounds() -> None:
    assert state(*[0.1, -0.1] * (MAX_ROUNDS // 2)).settled


def test_many_slow_series_are_believed_sooner_than_one() -> None:
    def rounds_until_slower(slow: int) -> int:
        states = [SeriesState(f"s{i}", 0.01) for i in range(SERIES)]
        session = GateSession(states, ALPHA)
        for turn in range(1, 30):
            for i, one in enumerate(states):
                one.add((0.1 if i < slow else 0.0) + 0.001 * (turn % 3))
            if session.conclude():
                return turn
        raise AssertionError("never decided")

    assert rounds_until_slower(SERIES) < rounds_until_slower(1)


# --- exact work ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({}, Outcome.UNCHANGED),
        ({"per_pixel": 100.0 * math.exp(LEDGER_TOLERANCE) - 0.01}, Outcome.UNCHANGED),
        ({"per_pixel": 100.0 * math.exp(LEDGER_TOLERANCE) + 0.01}, Outcome.REGRESSED),
        ({"per_pixel": 100.0 * math.exp(-LEDGER_TOLERANCE) + 0.01}, Outcome.UNCHANGED),
        ({"per_pixel": 98.9}, Outcome.IMPROVED),
        ({"ops": 55}, Outcome.UNCHANGED),
        ({"ops": 56}, Outcome.REGRESSED),
        ({"ops": 46}, Outcome.UNCHANGED),
        ({"ops": 40}, Outcome.IMPROVED),
        ({"per_pixel": 80.0, "ops": 55}, Outcome.IMPROVED),
    ],
)
def test_ledger_tolerances(head: dict[str, Any], expected: Outcome) -> None:
    found = traffic_verdict(diff(**head))
    assert found.outcome is expected
    assert (found.cause is None) == (expected is Outcome.UNCHANGED)
    assert found.rounds == 0


def test_the_figures_of_a_ledger_verdict_are_those_that_decided() -> None:
    by_bytes, by_operations = traffic_verdict(diff(per_pixel=150.0, ops=52)), traffic_verdict(diff(ops=60))
    assert (by_bytes.unit, by_bytes.floor, by_bytes.head_value) == ("B/pixel", LEDGER_TOLERANCE, 150.0)
    assert (by_operations.unit, by_operations.floor) == ("operations", OPS_TOLERANCE)
    assert (by_operations.base_value, by_operations.head_value) == (50, 60)
    assert by_operations.effect == pytest.approx(math.log(60 / 50))


def test_a_loop_that_became_tensors_is_no_loss_for_a_few_bytes_more() -> None:
    """90c3379e: 3,969 sources one by one, then all at once, 117 times faster."""
    loop = ledger("sources-3969", per_pixel=300.0, ops=80_000, pixels=3969)
    tensors = ledger("sources-3969", per_pixel=330.0, ops=40, pixels=3969)
    assert traffic_verdict(diff_ledgers(loop, tensors)).outcome is Outcome.IMPROVED
    assert traffic_verdict(diff_ledgers(tensors, loop)).outcome is Outcome.REGRESSED


def test_fewer_operations_do_not_pay_for_bytes_on_a_large_frame() -> None:
    base = replace(ledger(per_pixel=1685.0, ops=1530), pixels=2048**2, bytes=1685 * 2048**2)
    head = replace(base, ops=1000, bytes=int(base.bytes * 1.05))
    assert (base.ops - head.ops) * BYTES_PER_OPERATION < head.bytes - base.bytes
    assert traffic_verdict(diff_ledgers(base, head)).outcome is Outcome.REGRESSED


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        ({"per_pixel": 150.0}, Cause.WORK),
        ({"per_pixel": 150.0, "upcast": 50.0}, Cause.DTYPE),
        ({"per_pixel": 150.0, "upcast": 50.0, "image": 2.0}, Cause.IMAGE),
        ({"per_pixel": 200.0, "dtype": "float64"}, Cause.DTYPE),
    ],
)
def test_cause_of_a_traffic_verdict(head: dict[str, Any], cause: Cause) -> None:
    assert traffic_verdict(diff(**head)).cause is cause


def test_work_from_nothing_is_a_loss_without_a_finite_effect() -> None:
    found = traffic_verdict(diff_ledgers(ledger(per_pixel=0.0), ledger()))
    assert (found.outcome, found.effect) == (Outcome.REGRESSED, None)


def test_an_unchanged_ledger_says_so_and_a_changed_one_names_its_line() -> None:
    assert said(traffic_verdict(diff())) == "the ledger is unchanged: same operations, same bytes"
    lines = (("run", "aten.mul", 150_000, 10),)
    assert "simulator.py:10 run: aten.mul" in said(traffic_verdict(diff(per_pixel=150.0, lines=lines)))


# --- the whole -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("", Outcome.INCONCLUSIVE),
        ("u", Outcome.UNCHANGED),
        ("ui", Outcome.IMPROVED),
        ("u?i", Outcome.INCONCLUSIVE),
        ("ui?r", Outcome.REGRESSED),
        ("u?x", Outcome.NOT_COMPARABLE),
        ("rx", Outcome.REGRESSED),
        ("r", Outcome.REGRESSED),
    ],
)
def test_precedence(outcomes: str, expected: Outcome) -> None:
    letters = {
        "r": Outcome.REGRESSED,
        "?": Outcome.INCONCLUSIVE,
        "i": Outcome.IMPROVED,
        "u": Outcome.UNCHANGED,
        "x": Outcome.NOT_COMPARABLE,
    }
    assert whole([verdict(letters[letter]) for letter in outcomes])[0] is expected


def test_the_sentence_names_the_worst_the_open_or_the_best() -> None:
    worst = [verdict(Outcome.REGRESSED, 0.05, "small"), verdict(Outcome.REGRESSED, 0.5, "large")]
    assert "2 of 2 series are worse; the worst is large (+64.9 %)" in whole(worst)[1]
    open_ = [verdict(Outcome.UNCHANGED), verdict(Outcome.INCONCLUSIVE, None, "noisy")]
    assert whole(open_)[1] == "cannot tell for 1 of 2 series: noisy: noisy is inconclusive"
    better = [verdict(Outcome.IMPROVED, -0.1, "some"), verdict(Outcome.IMPROVED, -0.6, "more")]
    assert "most more (-45.1 %)" in whole(better)[1]
    assert whole([])[1] == "nothing was measured"


def test_another_image_is_told_in_one_sentence() -> None:
    outcome, told = whole(workload_verdicts(diff(image=2.0)))
    assert outcome is Outcome.NOT_COMPARABLE
    assert told.endswith("ledger bandwidth-512-float32: another image (sum × 2), so not like for like")


def test_a_regression_from_nothing_is_the_worst() -> None:
    told = [verdict(Outcome.REGRESSED, 0.5, "large"), verdict(Outcome.REGRESSED, None, "from zero")]
    assert "2 series are worse; from zero" in whole(told)[1]
    crashed = replace(
        told[1],
        base_value=1.0,
        evidence=(EvidenceRecord("no figure", {"error": "it died", "disturbed": ""}),),
    )
    assert whole([crashed])[1] == "1 of 1 series is worse; from zero it died"
    printed = HostDiff("w", Phase.WARM, HostMetric.OUTPUT, 0, 4, ())
    (one,) = host_verdicts([printed], [])
    assert whole([one])[1] == (
        "1 of 1 series is worse; the worst is host w, warm run (0 B printed → 4 B printed, cause: output)"
    )
    assert figures(one)[0] == "from zero"
    quiet = HostDiff("w", Phase.WARM, HostMetric.OUTPUT, 4, 0, ())
    better = [*host_verdicts([quiet], []), verdict(Outcome.IMPROVED, -0.6, "more")]
    assert whole(better)[1].endswith("2 of 2 improved, most host w, warm run (4 B printed → 0 B printed)")


def test_exit_codes_cover_every_outcome_and_only_a_shown_pass_is_zero() -> None:
    assert set(EXIT_BY_OUTCOME) == set(Outcome)
    assert EXIT_BY_OUTCOME[Outcome.REGRESSED] == EXIT_REGRESSION
    assert EXIT_BY_OUTCOME[Outcome.INCONCLUSIVE] == EXIT_INCONCLUSIVE
    assert EXIT_BY_OUTCOME[Outcome.NOT_COMPARABLE] == EXIT_INCONCLUSIVE
    assert {o for o, code in EXIT_BY_OUTCOME.items() if code == EXIT_OK} == {
        Outcome.IMPROVED,
        Outcome.UNCHANGED,
        Outcome.CHANGED,  # nobody said which direction is better
        Outcome.ACKNOWLEDGED,  # accepted by somebody, as large as it was then
    }


def test_a_report_of_nothing_is_inconclusive() -> None:
    assert gate_report().outcome is Outcome.INCONCLUSIVE
    assert gate_report(states=[state()]).outcome is Outcome.INCONCLUSIVE


def test_exact_work_is_the_cause_of_a_slower_time() -> None:
    slow = state(*SLOW, 0.2, 0.2, 0.2)
    by_work = gate_report([diff(per_pixel=150.0)], [slow])
    assert [v.cause for v in by_work.verdicts] == [Cause.WORK, None, Cause.WORK]  # None: the same peak
    unknown = gate_report([diff()], [slow])
    assert unknown.verdicts[-1].cause is Cause.UNEXPLAINED
    assert unknown.outcome is Outcome.REGRESSED
    assert gate_report(states=[slow]).verdicts[-1].cause is None


@pytest.mark.parametrize(
    ("head", "accepted", "outcome"),
    [
        ({"image": 2.0}, (), Outcome.NOT_COMPARABLE),
        ({"image": 0.1, "per_pixel": 70.0}, (), Outcome.NOT_COMPARABLE),
        ({"image": 0.1, "per_pixel": 70.0}, ("bandwidth-512-float32",), Outcome.IMPROVED),
        ({"image": 2.0, "per_pixel": 150.0}, (), Outcome.REGRESSED),
        ({"image": 1.0 + 3e-6}, (), Outcome.UNCHANGED),
        ({}, (), Outcome.UNCHANGED),
    ],
)
def test_another_image_is_neither_a_gain_nor_a_pass(
    head: dict[str, Any], accepted: tuple[str, ...], outcome: Outcome
) -> None:
    """C4, H2: until somebody says that it is right; what was measured is shown."""
    report = gate_report([diff(**head)], images=accepted)
    assert report.outcome is outcome
    assert report.verdicts[0].head_value == pytest.approx(head.get("per_pixel", 100.0))
    states = {"same bits": {}, "same within rounding": {"image": 1.0 + 3e-6}, "different": {"image": 2.0}}
    assert [diff(**how).image for how in states.values()] == list(states)


def test_a_larger_peak_at_equal_traffic_names_the_line() -> None:
    """H3: half as much memory again is a regression, and a little is none."""
    same, size = diff(), 40 * 2**20
    base = replace(same.base, peak_live_bytes=size, peak_line=("physics.py", 24, "sincg"))
    head = replace(same.head, peak_live_bytes=size * 3 // 2, peak_line=("simulator.py", 131, "run"))
    found = workload_verdicts(replace(same, base=base, head=head))[1]
    assert (found.outcome, found.series) == (Outcome.REGRESSED, "peak memory bandwidth-512-float32")
    assert said(found) == (
        "bandwidth-512-float32: peak memory 40 MiB → 60 MiB (+50.0 %) "
        "reached at simulator.py:131 run, before at physics.py:24 sincg"
    )
    little = workload_verdicts(replace(same, base=base, head=replace(head, peak_live_bytes=size + 2**20)))
    assert little[1].outcome is Outcome.UNCHANGED
    assert len(workload_verdicts(replace(same, base=replace(base, peak_live_bytes=0)))) == 1


@pytest.mark.parametrize(
    ("reason", "outcome", "words"),
    [
        (NotJudgedReason.FAILING, Outcome.INCONCLUSIVE, "1 of 3 series could not be judged: w is failing"),
        (NotJudgedReason.SKIPPED, Outcome.UNCHANGED, "all 2 series are unchanged; 1 not judged (skipped)"),
    ],
)
def test_what_was_not_judged_is_counted(reason: NotJudgedReason, outcome: Outcome, words: str) -> None:
    """C2: a base that cannot run is never a pass. C7: what skips itself does not block for ever."""
    missing = (NotJudged("w", reason, detail="at base: NameError"),)
    report = gate_report([diff()], not_judged=missing)
    assert report.outcome is outcome
    assert report_sentence(report).startswith(words)
    assert report.not_judged == missing
    assert gate_report(not_judged=missing).outcome is Outcome.INCONCLUSIVE


# --- any metric of the registry ----------------------------------------------------------------


def track(unit: str, *log_ratios: float, name: str = "suite.track_x", **declared: Better) -> SeriesState:
    """A `track_` series after these rounds, of values around 100."""
    metric = metric_of(SeriesKey(name, "", (), "", ""), unit, "track", declared)
    one = SeriesState(name, FLOOR, metric=metric)
    session = GateSession([one], ALPHA)
    for value in log_ratios:
        one.take(Pair(Sample(100.0), Sample(100.0 * math.exp(value)), value))
        session.conclude()
    return one


CONFIRMED = [*SLOW, *[0.2] * CONFIRM_ROUNDS]


@pytest.mark.parametrize(
    ("unit", "sign", "outcome"),
    [
        ("steps/s", -1, Outcome.REGRESSED),  # more is better
        ("steps/s", 1, Outcome.IMPROVED),
        ("seconds", 1, Outcome.REGRESSED),
        ("seconds", -1, Outcome.IMPROVED),
        ("widgets", 1, Outcome.CHANGED),  # nobody said which direction is better
        ("widgets", -1, Outcome.CHANGED),
    ],
)
def test_noisy_metrics_are_judged_by_their_own_direction(unit: str, sign: int, outcome: Outcome) -> None:
    one = track(unit, *[sign * x for x in CONFIRMED])
    assert one.settled
    found = series_verdict(one)
    assert found.outcome is outcome
    assert found.effect == pytest.approx(sign * 0.2035, abs=0.002)  # as it was measured
    assert found.effect_lo < found.effect < found.effect_hi
    assert (found.base_value, found.unit) == (100.0, unit)
    assert EXIT_BY_OUTCOME[outcome] == (EXIT_REGRESSION if outcome is Outcome.REGRESSED else EXIT_OK)


def test_a_declared_direction_decides() -> None:
    assert series_verdict(track("widgets", *CONFIRMED, widgets=Better.LOWER)).outcome is Outcome.REGRESSED


@pytest.mark.parametrize(
    ("unit", "before", "after", "outcome"),
    [
        ("operations", 100, 120, Outcome.REGRESSED),
        ("operations", 100, 105, Outcome.UNCHANGED),  # below the least effect of this metric
        ("operations", 0, 3, Outcome.REGRESSED),
        ("B/pixel", 100, 50, Outcome.IMPROVED),
        ("dtype code", 4, 8, Outcome.CHANGED),
        ("B (exact)", 100, 200, Outcome.UNCHANGED),  # below the least change: 2 MiB
    ],
)
def test_exact_metrics_are_judged_exactly(unit: str, before: int, after: int, outcome: Outcome) -> None:
    metric = metric_of(SeriesKey("suite.track_x", "", (), "", ""), unit, "track")
    assert exact_verdict("x", metric, before, after).outcome is outcome
    one = SeriesState("x", FLOOR, metric=metric)
    one.take(Pair(Sample(before), Sample(after), 0.0 if before == after else 1.0))
    GateSession([one], ALPHA).conclude()
    assert one.settled  # by its first figures
    assert series_verdict(one).outcome is outcome


def test_floors_are_round() -> None:
    shown = {0.01: "1 %", 0.03: "3 %", 0.0123: "1.2 %", 0.25: "25 %"}
    assert {floor: format_floor(math.log1p(floor)) for floor in shown} == shown
    assert [format_floor(least) for least in (LEDGER_TOLERANCE, 0.05, OPS_TOLERANCE)] == [
        "1 %",
        "5 %",
        "10 %",
    ]


# --- error rates -----------------------------------------------------------------------------


def gate(rounds: np.ndarray[Any, Any]) -> list[SeriesState]:
    """Series of a gate as `nbbench gate` drives them, fed with log ratios of shape (series, rounds)."""
    states = [SeriesState(f"s{i}", math.log(1.01)) for i in range(len(rounds))]
    session = GateSession(states, ALPHA)
    for column in rounds.T:
        for one, value in zip(states, column, strict=True):
            if not one.settled:
                one.add(float(value))
        session.conclude()
    session.finish()
    return states


def noise(rng: np.random.Generator, gates: int, kind: str) -> np.ndarray[Any, Any]:
    """Log ratios of two processes, each with a noise of 3 %."""
    shape = (2, gates, SERIES, 30)
    one = 0.03 * rng.standard_normal(shape)
    if kind == "spikes":  # one process in twenty runs into something and takes 30 % longer
        one += np.where(rng.random(shape) < 0.05, 0.26, 0.0)
    elif kind == "heavy":
        one = 0.03 * rng.standard_t(3, shape)
    return np.asarray(one[0] - one[1])


@pytest.mark.parametrize("kind", ["gaussian", "spikes", "heavy"])
def test_equal_code_is_blocked_in_one_per_cent_of_the_gates_at_most(kind: str) -> None:
    gates = noise(np.random.default_rng(20260101), 60, kind)
    called = [[one for one in gate(rounds) if one.decision and one.confirms] for rounds in gates]
    assert sum(map(bool, called)) <= 2  # 1 % of 60, and two standard errors


def test_a_regression_of_a_tenth_is_found() -> None:
    rng = np.random.default_rng(20260102)
    gates = noise(rng, 20, "gaussian")
    gates[:, 0] += math.log(1.10)
    outcomes = []
    for rounds in gates:
        (slow,) = gate(rounds[:1])
        outcomes.append(series_verdict(slow, None).outcome)
    assert outcomes.count(Outcome.REGRESSED) / len(outcomes) >= 0.9
    assert Outcome.IMPROVED not in outcomes
    assert Outcome.UNCHANGED not in outcomes


def test_history_samples_are_deterministic() -> None:
    assert samples.noisy([1.0] * 3) == samples.noisy([1.0] * 3)
