"""Which change points make one event, what it is called, what became of it, and which flag it carries."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import history_samples as samples
import pytest
from history_samples import (
    ABSENT,
    BANDWIDTH,
    BYTES,
    CEILING,
    DISPATCHED,
    FAULTS,
    OPERATIONS,
    OUTPUT,
    PEAK_LIVE,
    PEAK_MEMORY,
    TIME,
    UPCAST,
    branch,
    change,
    commit,
    events,
    history,
    ledger,
    ledgers,
    noisy,
    numbers,
    record,
    series,
    steps,
)

from nbbench.history.events import build_events
from nbbench.history.flags import attach_flags
from nbbench.model import Cause, ChangePoint, Decision, Event, FlagState
from nbbench.report.causes import evidence_sentences

N = 30
ALL = branch(N)
PLAN = "PERF-PYTORCH-004"


def made(*changes: ChangePoint) -> list[Event]:
    """Events of these change points on a branch of N commits, without ledgers or telemetry."""
    return build_events(history(commits=ALL), changes)


def spans(found: list[Event]) -> list[tuple[int, int]]:
    return [numbers(event) for event in found]


# --- from series to events -------------------------------------------------------------------


def test_a_counter_and_a_time_that_move_together_are_one_event_at_the_exact_commit() -> None:
    (event,) = events(
        history(
            series(BYTES, steps(N, 100, (12, 1.2))),
            series(TIME, noisy(steps(N, 0.2, (12, 1.15)), 0.02)),
            ledgers=ledgers([ledger(per_pixel=100.0 if i < 12 else 120.0) for i in range(1, N + 1)]),
        )
    )
    assert numbers(event) == (12, 12)
    assert (event.id, event.cause, event.worse) == ("0000000c-slower", Cause.WORK, True)
    assert (event.subject, event.date) == ("change 12", commit(12).date)
    assert event.effect == pytest.approx(math.log(1.15), abs=0.02)  # time leads the headline
    assert {c.unit for c in event.changes} == {"B/pixel", "seconds"}
    assert event.recovered_by is None


def test_an_interval_over_unmeasured_commits_is_part_of_the_name() -> None:
    values = steps(N, 100, (12, 1.2))
    values[10] = values[11] = ABSENT
    (event,) = events(history(series(BYTES, values)))
    assert numbers(event) == (11, 13)
    assert event.id == "0000000b..0000000d-slower"


def test_a_false_gain_for_one_commit_gives_two_events_not_like_for_like() -> None:
    """d04f12f6 → 74a3ea81: polarization skipped by accident, -20 % and then +24 %."""
    work = [ledger(per_pixel=80.0, image=1.3) if i == 15 else ledger() for i in range(1, N + 1)]
    gain, loss = events(
        history(
            series(BYTES, steps(N, 100, (15, 0.8), (16, 1.25))),
            series(TIME, noisy(steps(N, 0.2, (15, 0.8), (16, 1.24)), 0.01)),
            ledgers=ledgers(work),
        )
    )
    assert (numbers(gain), gain.worse, gain.cause) == ((15, 15), False, Cause.IMAGE)
    assert (numbers(loss), loss.worse, loss.cause) == ((16, 16), True, Cause.IMAGE)
    for event in (gain, loss):
        assert {c.unit for c in event.changes} == {"B/pixel", "seconds"}
        assert any("not like for like" in told for told in evidence_sentences(event.evidence))


def test_default_dtype_halving_moves_the_default_series_only() -> None:
    """8c2ceb4f: float64 → float32 by default."""
    default = [
        ledger("bandwidth-default", per_pixel=200.0, dtype="float64")
        if i < 10
        else ledger("bandwidth-default")
        for i in range(1, N + 1)
    ]
    (event,) = events(
        history(
            series(BYTES, steps(N, 200, (10, 0.5)), dtype="None"),
            series(BYTES, steps(N, 100), dtype="float32"),
            series(TIME, noisy(steps(N, 0.2, (10, 0.55)), 0.02), dtype="None"),
            series(TIME, noisy(steps(N, 0.1), 0.02, seed=1), dtype="float32"),
            ledgers=ledgers(default),
        )
    )
    assert (numbers(event), event.worse, event.cause) == ((10, 10), False, Cause.DTYPE)
    assert {dict(c.key.params)["dtype"] for c in event.changes} == {"None"}


def test_an_upcast_from_nothing_is_kept_with_its_infinite_effect() -> None:
    (event,) = events(history(series(UPCAST, [0.0] * 8 + [504.0] * 8)))
    assert (event.cause, event.worse, event.effect) == (Cause.DTYPE, True, math.inf)
    assert numbers(event) == (9, 9)


def test_an_infinite_effect_beside_finite_ones_leaves_the_headline_finite() -> None:
    (event,) = events(
        history(
            series(UPCAST, [0.0] * 8 + [504.0] * 8),
            series(BYTES, steps(16, 100, (9, 1.5))),
            series(OPERATIONS, steps(16, 50, (9, 1.1))),
        )
    )
    assert event.effect == pytest.approx(math.log(1.5))
    assert len(event.changes) == 3


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("faults", Cause.ALLOCATOR),
        ("telemetry", Cause.CONTENTION),
        ("other machine's telemetry", Cause.UNEXPLAINED),
        ("nothing", Cause.UNEXPLAINED),
    ],
)
def test_a_time_only_change_with_an_unchanged_ledger(extra: str, expected: Cause) -> None:
    found = [series(TIME, noisy(steps(N, 0.2, (16, 1.4)), 0.01))]
    where = "elsewhere" if extra.startswith("other") else samples.MACHINE
    records = []
    if extra == "faults":
        found.append(series(FAULTS, noisy(steps(N, 1e4, (16, 90.0)), 0.05, seed=1)))
    if extra.endswith("telemetry"):
        records = [record(i, others=0.5 if i >= 16 else 0.0, machine=where) for i in range(1, N + 1)]
    given = history(*found, ledgers=ledgers([ledger()] * N), records=records)
    (event,) = events(given)
    assert event.cause is expected
    assert numbers(event) == (16, 16)
    assert "the ledger is unchanged: same operations, same bytes" in evidence_sentences(event.evidence)


def test_derived_figures_make_no_event_of_their_own_but_join_one() -> None:
    bandwidth = series(BANDWIDTH, noisy(steps(N, 1e9, (16, 0.7)), 0.01))
    dispatched = series(DISPATCHED, steps(N, 80, (7, 2.0)))
    assert events(history(bandwidth, dispatched)) == []
    (event,) = events(history(bandwidth, dispatched, series(BYTES, steps(N, 100, (16, 1.3)))))
    assert {c.unit for c in event.changes} == {"B/s", "B/pixel"}


def test_the_machines_own_series_make_no_event() -> None:
    assert events(history(series(CEILING, noisy(steps(N, 1e10, (16, 0.5)), 0.01)))) == []


def test_recovery_is_recorded_and_the_loss_stays() -> None:
    loss, gain = events(history(series(BYTES, steps(N, 100, (10, 1.5), (20, 1 / 1.5)))))
    assert (numbers(loss), loss.worse, loss.recovered_by) == ((10, 10), True, commit(20).hash)
    assert (numbers(gain), gain.worse, gain.recovered_by) == ((20, 20), False, None)


def test_half_a_recovery_counts_and_a_third_does_not() -> None:
    back = {share: steps(N, 100, (10, 2.0), (20, 2.0**-share)) for share in (0.55, 0.33)}
    assert events(history(series(BYTES, back[0.55])))[0].recovered_by == commit(20).hash
    assert events(history(series(BYTES, back[0.33])))[0].recovered_by is None


def test_one_gain_does_not_make_up_for_two_losses() -> None:
    first, second, gain = events(history(series(BYTES, steps(N, 100, (5, 1.5), (10, 1.5), (20, 1 / 1.5)))))
    assert first.recovered_by is None
    assert second.recovered_by == gain.hi_commit


def test_an_upcast_is_recovered_when_it_is_nearly_gone() -> None:
    full, partly = ([0.0] * 8 + [504.0] * 8 + [rest] * 8 for rest in (20.0, 400.0))
    assert events(history(series(UPCAST, full)))[0].recovered_by == commit(17).hash
    assert events(history(series(UPCAST, partly)))[0].recovered_by is None


def test_equal_trees_are_never_a_regression() -> None:
    same = [replace(c, tree="one") if c.position >= 10 else c for c in ALL]
    slow = series(TIME, noisy(steps(N, 0.2, (16, 1.4)), 0.01), same)
    assert events(history(slow, commits=same)) == []
    assert len(events(history(slow, commits=ALL))) == 1


def test_what_stays_below_the_thresholds_makes_no_event() -> None:
    assert events(history(series(BYTES, steps(N, 100, (10, 1.005))))) == []
    assert len(events(history(series(BYTES, steps(N, 100, (10, 1.02)))))) == 1


def test_peak_memory_alone_is_an_event() -> None:
    (event,) = events(history(series(PEAK_MEMORY, noisy(steps(N, 3e8, (16, 1.4)), 0.01))))
    assert (event.worse, numbers(event)) == (True, (16, 16))


def test_ledger_evidence_reaches_back_over_trees_without_a_ledger() -> None:
    work = [ledger() if i < 10 else None if i < 12 else ledger(per_pixel=150.0) for i in range(1, N + 1)]
    values = steps(N, 100, (12, 1.5))
    values[9] = values[10] = ABSENT
    (event,) = events(history(series(BYTES, values), ledgers=ledgers(work)))
    assert event.predicted == event.effect == pytest.approx(math.log(1.0192), abs=1e-4)
    assert "100.0 → 150.0 B/pixel" in evidence_sentences(event.evidence)[0]


def test_a_broken_ledger_is_no_evidence() -> None:
    work = [ledger(error="boom") if i == 11 else ledger(per_pixel=80.0) for i in range(1, N + 1)]
    (event,) = events(history(series(BYTES, steps(N, 80, (12, 1.5))), ledgers=ledgers(work)))
    assert not any("boom" in told for told in evidence_sentences(event.evidence))


# --- commits without a place -----------------------------------------------------------------


def test_another_projects_commits_without_positions() -> None:
    line = [replace(c, position=0, tree="") for c in ALL]
    (event,) = events(history(series(BYTES, steps(N, 100, (12, 1.2)), line), commits=line))
    assert (numbers(event), event.subject) == ((12, 12), "change 12")


def test_change_points_of_commits_that_nothing_knows_are_left_out() -> None:
    assert spans(made(change(99, 99, 0.5), change(3, 3, 0.5))) == [(3, 3)]


def test_no_changes_make_no_events() -> None:
    assert build_events(history(), []) == []
    assert events(history(series(TIME, [math.nan] * 12))) == []


# --- grouping --------------------------------------------------------------------------------


def test_a_noisy_step_joins_the_exact_event_of_its_direction_and_spares_its_neighbours() -> None:
    found = made(
        change(10, 10, 0.10, BYTES, "exact"),
        change(12, 12, -0.30, BYTES, "exact"),
        change(14, 14, 0.30, OPERATIONS, "exact"),
        change(8, 12, 0.18),
    )
    assert spans(found) == [(10, 10), (12, 12), (14, 14)]
    assert [len(event.changes) for event in found] == [2, 1, 1]


def test_a_noisy_step_against_the_direction_of_the_work_is_an_event_of_its_own() -> None:
    slower, faster = sorted(
        made(change(10, 10, -0.1, BYTES, "exact"), change(10, 10, 0.3)), key=lambda e: not e.worse
    )
    assert (slower.id, faster.id) == ("0000000a-slower", "0000000a-faster")


def test_noisy_steps_narrow_each_other() -> None:
    (event,) = made(change(5, 12, 0.3, n="1"), change(9, 15, 0.2, n="2"), change(8, 10, 0.1, n="3"))
    assert numbers(event) == (9, 10)
    assert event.id == "00000009..0000000a-slower"


def test_a_noisy_step_of_other_work_does_not_narrow() -> None:
    construction = ("cold_start.ColdStart.timeraw_construct", "seconds", "time")
    found = made(change(10, 15, 1.3, construction), change(8, 10, 0.07, samples.PEAK_MEMORY))
    assert spans(found) == [(8, 10), (10, 15)]


def test_a_noisy_step_never_moves_an_exact_event() -> None:
    (event,) = made(change(10, 12, 0.2, BYTES, "exact"), change(12, 15, 0.2))
    assert numbers(event) == (10, 12)


@pytest.mark.parametrize("wide", [(8, 12), (10, 14), (6, 10)])
def test_a_wide_exact_range_belongs_to_the_sharp_one_inside(wide: tuple[int, int]) -> None:
    (event,) = made(change(*wide, 0.1, OPERATIONS, "exact"), change(10, 10, 0.2, BYTES, "exact"))
    assert numbers(event) == (10, 10)
    assert len(event.changes) == 2


def test_exact_ranges_that_overlap_in_one_direction_are_one_cause_where_they_meet() -> None:
    (event,) = made(change(8, 11, 0.1, OPERATIONS, "exact"), change(10, 13, 0.2, BYTES, "exact"))
    assert numbers(event) == (10, 11)


def test_exact_ranges_of_opposite_direction_stay_apart_unless_they_are_the_same() -> None:
    assert len(made(change(8, 11, -0.3, OPERATIONS, "exact"), change(10, 13, 0.2, BYTES, "exact"))) == 2
    (event,) = made(change(8, 8, -0.5, OPERATIONS, "exact"), change(8, 8, 0.2, BYTES, "exact"))
    assert not event.worse


def test_two_steps_of_one_series_are_two_events() -> None:
    first, second = made(change(8, 11, 0.2), change(11, 14, 0.3))
    assert numbers(first) == (8, 11)
    assert numbers(second) == (11, 14)


def test_a_dtype_alone_is_no_loss() -> None:
    (event,) = made(change(4, 4, -0.69, OUTPUT, "exact"))
    assert not event.worse


def test_events_come_in_the_order_of_the_branch_with_names_of_their_own() -> None:
    found = made(*(change(i, i, 0.2, BYTES, "exact", n=str(i)) for i in (20, 3, 11)))
    assert spans(found) == [(3, 3), (11, 11), (20, 20)]
    assert len({event.id for event in found}) == 3


# --- flags -----------------------------------------------------------------------------------


def decision(event: str, state: FlagState, day: int = 0, plan: str = PLAN) -> Decision:
    return Decision(event, plan, state, "because", "ada", samples.START + timedelta(days=day))


def states(found: list[Event], *decisions: Decision) -> list[FlagState]:
    return [flag.state for flag in attach_flags(found, decisions, PLAN, ALL)]


WIDE = made(change(8, 12, 0.3, BYTES, "exact"))
NARROW = made(change(9, 10, 0.3, BYTES, "exact"))
SHARP = made(change(9, 9, 0.3, BYTES, "exact"))


def test_losses_are_flagged_and_gains_are_not() -> None:
    assert states(WIDE) == [FlagState.DETECTED]
    assert states(made(change(8, 8, -0.3, BYTES, "exact"))) == []


@pytest.mark.parametrize("state", [FlagState.REJECTED, FlagState.ACKNOWLEDGED, FlagState.CONFIRMED])
@pytest.mark.parametrize("now", [WIDE, NARROW, SHARP])
@pytest.mark.parametrize("then", [WIDE, NARROW, SHARP])
def test_a_decision_finds_its_event_after_the_range_changed(
    then: list[Event], now: list[Event], state: FlagState
) -> None:
    (flag,) = attach_flags(now, [decision(then[0].id, state)], PLAN, ALL)
    assert flag.state is state
    assert len(flag.decisions) == 1


def test_a_decision_that_names_a_single_commit_finds_the_range_around_it() -> None:
    assert states(WIDE, decision("0000000c-slower", FlagState.ACKNOWLEDGED)) == [FlagState.ACKNOWLEDGED]


@pytest.mark.parametrize(
    "name",
    [
        "0000000d-slower",
        "00000004..00000007-slower",
        "00000009-faster",
        "ffffffff-slower",
        "ffffffff..00000009-slower",
        "-slower",
        "",
        "nonsense",
    ],
)
def test_a_decision_on_something_else_is_not_taken(name: str) -> None:
    assert states(WIDE, decision(name, FlagState.REJECTED)) == [FlagState.DETECTED]


def test_the_newest_decision_counts_and_all_are_kept() -> None:
    told = [
        decision(WIDE[0].id, FlagState.VERIFIED, day=3),
        decision(SHARP[0].id, FlagState.CONFIRMED, day=1),
        decision(NARROW[0].id, FlagState.FIXED, day=2),
    ]
    (flag,) = attach_flags(SHARP, told, PLAN, ALL)
    assert flag.state is FlagState.VERIFIED
    assert [d.state for d in flag.decisions] == [FlagState.CONFIRMED, FlagState.FIXED, FlagState.VERIFIED]


def test_decisions_of_another_plan_are_not_taken() -> None:
    assert states(WIDE, decision(WIDE[0].id, FlagState.REJECTED, plan="OTHER")) == [FlagState.DETECTED]


def test_decisions_attach_by_position_and_not_by_date() -> None:
    backwards = [commit(i, day=-i) for i in range(1, N + 1)]
    (flag,) = attach_flags(SHARP, [decision(WIDE[0].id, FlagState.REJECTED)], PLAN, backwards)
    assert flag.state is FlagState.REJECTED


def test_a_wide_change_is_not_booked_on_a_small_sharp_one_inside_it() -> None:
    """A loop was turned up somewhere between two commits: +5 % of bytes do not make a run 10 × slower."""
    found = made(change(10, 10, 0.05, BYTES, "exact"), change(6, 12, 2.3))
    assert spans(found) == [(10, 10), (6, 12)]


def test_memory_given_back_does_not_recover_page_faults() -> None:
    slower, _ = made(
        change(8, 8, 2.0, FAULTS),
        *(change(8, 8, 0.2, PEAK_LIVE, "exact", 1e8, n=str(i)) for i in range(5)),
        *(change(12, 12, -0.2, PEAK_LIVE, "exact", 1e8, n=str(i)) for i in range(5)),
    )
    assert slower.recovered_by is None
