"""Accepted losses do not block a gate until they grow or the acknowledgement ends."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gate_facts import gate_report, said
from history_samples import branch, ledger

from nbbench.gate.acknowledged import Acknowledged, accepted_loss, acknowledged_between
from nbbench.gate.judge import order_verdicts, series_verdict
from nbbench.gate.rounds import GateSession, SeriesState
from nbbench.growth import Quantity
from nbbench.model import (
    Cause,
    ChangePoint,
    Decision,
    Event,
    EventDirection,
    Flag,
    FlagState,
    Outcome,
    SeriesKey,
)
from nbbench.report.gate import gate_blocks
from nbbench.report.markdown import LIMIT_BYTES, as_markdown
from nbbench.work.count_diff import OrderChange
from nbbench.work.ledger_diff import diff_ledgers

NOW = datetime(2026, 11, 23, tzinfo=UTC)
COMMITS = branch(10)
TIME = SeriesKey("bandwidth.Warm.time_run", "1", (("size", "512"), ("dtype", "'float32'")), "m", "e")
WORK = SeriesKey(
    "bandwidth.Traffic.track_bytes_per_pixel", "1", (("workload", "bandwidth-512-float32"),), "m", "e"
)


def change(key: SeriesKey, effect: float, unit: str = "seconds") -> ChangePoint:
    culprit = COMMITS[5].hash
    return ChangePoint(
        key,
        unit,
        "step",
        culprit,
        culprit,
        1.0,
        1.1,
        effect,
        effect,
        effect,
        0.001,
        EventDirection.REGRESSION,
    )


def flag(expires: datetime | None = None, state: FlagState = FlagState.ACKNOWLEDGED) -> Flag:
    peak = replace(WORK, benchmark="bandwidth.Traffic.track_peak_live_bytes")
    changes = (change(TIME, 0.2), change(WORK, 0.3, "B/pixel"), change(peak, 0.9, "B (exact)"))
    culprit = COMMITS[5].hash
    event = Event(
        "e-worse", culprit, culprit, NOW, "s", EventDirection.REGRESSION, Cause.WORK, 0.2, (), changes
    )
    decision = Decision("e-worse", "P", state, "known", "Ann", NOW - timedelta(days=3), expires)
    return Flag(event, "P", state, (decision,))


def found(one: Flag, base: int = 4, head: int = 6) -> list[Acknowledged]:
    return acknowledged_between([one], COMMITS, COMMITS[base], COMMITS[head], NOW)


def test_series_are_named_as_the_gate_names_them() -> None:
    (one,) = found(flag())
    assert one.losses == {
        ("bandwidth.Warm.time_run(512, 'float32')", "seconds"): 0.2,
        ("ledger bandwidth-512-float32", "B/pixel"): 0.3,
        ("peak memory bandwidth-512-float32", "B (exact)"): 0.9,
    }
    assert one.new_image_at == ""
    assert one.name == "e-worse by Ann"


@pytest.mark.parametrize(("base", "head", "counts"), [(4, 5, 1), (4, 9, 1), (5, 6, 0), (3, 4, 0)])
def test_only_events_between_base_and_head_count(base: int, head: int, counts: int) -> None:
    assert len(found(flag(), base, head)) == counts


def test_an_acknowledgement_ends() -> None:
    assert found(flag(NOW + timedelta(days=1)))[0].name == "e-worse by Ann until 2026-11-24"
    assert not found(flag(NOW))
    assert not found(flag(state=FlagState.CONFIRMED))


def test_commits_outside_the_branch_acknowledge_nothing() -> None:
    stranger = replace(COMMITS[6], hash="f" * 40)
    assert not acknowledged_between([flag()], COMMITS, COMMITS[4], stranger, NOW)


@pytest.mark.parametrize(
    ("per_pixel", "outcome"),
    [(130.0, Outcome.ACKNOWLEDGED), (135.5, Outcome.ACKNOWLEDGED), (150.0, Outcome.REGRESSED)],
)
def test_exact_work_blocks_again_when_it_grows_beyond_what_was_accepted(
    per_pixel: float, outcome: Outcome
) -> None:
    """The accepted 0.3 are +35.0 %."""
    report = gate_report([diff_ledgers(ledger(), ledger(per_pixel=per_pixel))], acknowledged=found(flag()))
    assert report.outcome is outcome
    accepted = "acknowledged as e-worse by Ann" in said(report.verdicts[0])
    assert accepted == (outcome is Outcome.ACKNOWLEDGED)


def test_accepted_losses_of_several_events_add_up() -> None:
    both = acknowledged_between([flag(), flag()], COMMITS, COMMITS[4], COMMITS[6], NOW)
    assert accepted_loss(both, "ledger bandwidth-512-float32", "B/pixel") == pytest.approx(0.6)
    assert accepted_loss(both, "another", "B/pixel") == 0.0


@pytest.mark.parametrize(
    ("loss", "outcome"),
    [
        (0.2, Outcome.ACKNOWLEDGED),
        (0.205, Outcome.ACKNOWLEDGED),
        (0.25, Outcome.REGRESSED),
        (0.1, Outcome.ACKNOWLEDGED),  # better than was accepted, and still worse than base
        (0.0, Outcome.UNCHANGED),
        (-0.1, Outcome.IMPROVED),
    ],
)
def test_time_is_measured_against_what_was_accepted(loss: float, outcome: Outcome) -> None:
    """C3: a later loss of another kind does not pass with an accepted one."""
    one = SeriesState("bandwidth.Warm.time_run(512, 'float32')", math.log(1.01), accepted=0.2)
    session = GateSession([one], 0.01)
    for i in range(20):
        one.add(loss + 0.001 * (i % 3 - 1))
        session.conclude()
    verdict = series_verdict(one)
    assert verdict.outcome is outcome
    assert verdict.effect == pytest.approx(loss, abs=0.002)  # against base, as the reader expects
    assert said(verdict).startswith("beyond the accepted +22.1 %; change ")


def test_an_accepted_image_names_its_commit() -> None:
    one = flag()
    image = replace(one, event=replace(one.event, cause=Cause.IMAGE))
    assert found(image)[0].new_image_at == COMMITS[5].hash


def test_three_hundred_series_stay_below_githubs_64_kb() -> None:
    states = []
    for number in range(300):
        one = SeriesState(f"vectorisation.Tricubic.time_interpolate({number}, 'float32')", math.log(1.01))
        one.reproduce = f"nbbench gate --policy time --bench '{one.label}' 00000000 11111111"
        states.append(one)
    session = GateSession(states, 0.01)
    for turn in range(20):
        for number, one in enumerate(states):
            if not one.settled:
                one.add(0.1 * (number % 3) + 0.05 * (-1) ** turn * (number % 2))
        session.conclude()
    session.finish()
    report = gate_report(states=states)
    text = as_markdown(gate_blocks(report), limit=LIMIT_BYTES)
    assert len(text.encode()) < 64 * 1024
    assert text.count("time_interpolate(") > 100
    assert len({verdict.outcome for verdict in report.verdicts}) == 3


class TestOrders:
    """From a constant no ratio tells how much was accepted: the order that the event led to does."""

    @pytest.mark.parametrize(("order", "outcome"), [(1, Outcome.ACKNOWLEDGED), (2, Outcome.REGRESSED)])
    def test_an_accepted_order_covers_itself_and_no_higher_one(self, order, outcome):
        key = SeriesKey(f"ledger.{Quantity.WARM.metric}", "1", (("workload", "f-N"),), "any", "torch")
        grown = replace(change(key, math.inf, "order"), kind="exact", before=0.0, after=1.0)
        accepted = replace(flag(), event=replace(flag().event, changes=(grown,)))
        known = acknowledged_between([accepted], COMMITS, COMMITS[0], COMMITS[-1], NOW)
        found = OrderChange("f-N", Quantity.WARM, 0, order, ())
        (verdict,) = order_verdicts([found], [], known)
        assert verdict.outcome is outcome
        assert order_verdicts([found], [])[0].outcome is Outcome.REGRESSED
