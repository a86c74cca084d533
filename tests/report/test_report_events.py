"""Events in words: order, what counts as open, which figures lead, what is asked."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import history_samples
import pytest
import report_samples as samples

from nbbench.model import Decision, EventDirection, Flag, FlagState, NotJudged, NotJudgedReason, Status
from nbbench.report.events import (
    change_text,
    commit_range,
    event_machines,
    evidence_lines,
    headline,
    headline_changes,
    in_reading_order,
    interval,
    is_open,
    largest,
    not_judged_blocks,
    regressions_blocks,
    state_text,
)
from nbbench.report.gate import counts_line
from nbbench.report.gate import in_reading_order as verdicts_in_order
from nbbench.report.markdown import as_markdown
from nbbench.report.run_view import failures, run_blocks
from nbbench.report.text import as_text

IMPROVED, RECOVERED, OPEN = samples.FLAGS


def moved(what: tuple[str, str, str], effect: float, **more: object) -> Flag:
    """A flag of one change of a series."""
    kind = "exact" if what[1] in ("operations", "B/pixel") else "step"
    change = history_samples.change(2, 2, effect, what, kind)
    event = replace(
        OPEN.event,
        id=what[0],
        changes=(change,),
        effect=effect,
        evidence=(),
        direction=change.direction,
        **more,  # type: ignore[arg-type]
    )
    return replace(OPEN, event=event)


def test_open_regressions_come_first_and_improvements_last() -> None:
    assert in_reading_order(samples.FLAGS) == [OPEN, RECOVERED, IMPROVED]
    assert [is_open(flag) for flag in (OPEN, RECOVERED, IMPROVED)] == [True, False, False]


def test_H9_what_the_user_waits_for_gives_the_order() -> None:
    time = moved(history_samples.TIME, math.log(1.97))
    scalars = moved(history_samples.OPERATIONS, math.log(604 / 193), predicted=math.log(1.02))
    bytes_ = moved(history_samples.BYTES, math.log(2.5), predicted=math.log(2.3))
    memory = moved(history_samples.PEAK_MEMORY, math.log(5))
    assert in_reading_order([memory, scalars, time, bytes_]) == [bytes_, time, scalars, memory]
    assert change_text(scalars.event) == "time +2.00 % predicted, work 3.13×"
    assert change_text(time.event) == "time +97.0 %"


def test_nothing_on_record_is_not_called_a_pass() -> None:
    assert headline(()) == "No change is on record."
    assert headline((), samples.NOT_JUDGED) == "No change is on record; 2 series not judged."
    nothing = as_markdown(regressions_blocks((), not_judged=samples.NOT_JUDGED, nothing=True))
    assert nothing.startswith("## ❔ Nothing could be judged; 2 series not judged.")


def test_H10_a_recovered_regression_stays_on_record_but_is_not_open() -> None:
    flag = replace(RECOVERED, state=FlagState.CONFIRMED)
    assert not is_open(flag)
    assert state_text(flag) == "recovered"
    assert state_text(RECOVERED) == "fixed"  # what somebody said is kept
    assert "recovered by 00210000" in evidence_lines(flag)


def test_an_acknowledgement_past_its_expiry_is_open_again() -> None:
    decision = Decision("E", "P", FlagState.ACKNOWLEDGED, "known", "ada", samples.START, samples.NOW)
    flag = replace(OPEN, state=FlagState.ACKNOWLEDGED, decisions=(decision,))
    late = samples.NOW + timedelta(days=1)
    assert not is_open(flag, samples.NOW - timedelta(days=1))
    assert is_open(flag, late)
    assert state_text(flag, late) == "acknowledged (expired 2025-10-15)"
    assert not is_open(flag)  # without a clock nothing expires
    assert not is_open(replace(flag, event=replace(flag.event, recovered_by="ab" * 20)), late)


def test_the_headline_names_time_and_work_in_the_events_own_direction() -> None:
    time, work = headline_changes(RECOVERED.event)
    assert time is not None
    assert time.key.label.startswith("bandwidth.Warm.time_run(size=512")
    assert work is not None
    assert work.unit == "B/pixel"
    against = replace(time, effect=-3.0, direction=EventDirection.IMPROVEMENT)
    event = replace(RECOVERED.event, changes=(*RECOVERED.event.changes, against))
    assert headline_changes(event) == (time, work)


def test_an_event_without_changes_still_shows_its_effect() -> None:
    assert change_text(replace(OPEN.event, changes=(), effect=0.5)) == "+64.9 %"


@pytest.mark.parametrize(
    ("what", "factor", "shown"),
    [
        (("other.track_steps", "steps/s", "track"), 0.5, "steps ÷2"),
        (("other.track_loss", "points", "track"), 0.5, "loss ÷2"),
        (history_samples.PEAK_MEMORY, 4.0, "peak memory 4×"),
    ],
)
def test_F2_what_is_neither_time_nor_work_is_named_with_its_values(
    what: tuple[str, str, str], factor: float, shown: str
) -> None:
    flag = moved(what, math.log(factor))
    text = as_text(regressions_blocks([flag]))
    assert shown in text
    assert f"{what[0]}: 1 " in text
    assert f"→ {factor:g} " in text


def test_B1_an_unknown_direction_is_a_change_and_says_how_to_declare_it() -> None:
    flag = moved(("other.track_score", "points", "track"), math.log(0.5))
    assert flag.event.direction is EventDirection.CHANGE
    assert not is_open(flag)
    assert headline([flag]) == "No open regression; 1 change of unknown direction."
    assert any("[tool.nbbench.units]" in line for line in evidence_lines(flag))


@pytest.mark.parametrize("factor", [10.0, 0.001, 998.0, 1024.0, 1e6, 60.0])
def test_B2_a_factor_between_units_is_asked_about(factor: float) -> None:
    flag = moved(("other.track_x", "ms", "track"), math.log(factor))
    assert any("did its unit change?" in line for line in evidence_lines(flag))


@pytest.mark.parametrize("factor", [1.5, 3.0, 9.0, 12.0, 500.0, math.inf])
def test_B2_other_factors_are_not(factor: float) -> None:
    flag = moved(("other.track_x", "ms", "track"), math.log(factor))
    assert not any("unit" in line for line in evidence_lines(flag))
    exact = moved(history_samples.OPERATIONS, math.log(10))
    assert not any("unit" in line for line in evidence_lines(exact))


def test_largest_ignores_figures_that_are_not_numbers() -> None:
    change = OPEN.event.changes[0]
    assert largest([replace(change, effect=math.nan)]) is None
    assert largest([replace(change, effect=math.nan), change]) is change


def test_the_machine_is_named_and_series_are_counted_once() -> None:
    event = replace(OPEN.event, changes=OPEN.event.changes * 3)
    text = as_text(regressions_blocks([replace(OPEN, event=event)]))
    assert event_machines([OPEN]) == ["runner"]
    assert "Times and memory are those of runner." in text
    assert "detected         1  " in text


def test_C1_what_was_not_judged_is_counted_by_reason_and_named() -> None:
    many = [NotJudged(f"a.time_{i}", NotJudgedReason.VANISHED, f"{i:040}") for i in range(30)]
    text = as_text(not_judged_blocks([*samples.NOT_JUDGED, *many]))
    assert text.startswith("Not judged: 32 series (30 vanished, 1 too short, 1 failing)")
    assert "sources.Time.time_many" in text
    assert "and 12 more" in text
    assert not_judged_blocks(()) == []


def test_gate_rows_are_ordered_by_outcome_and_size() -> None:
    assert [str(v.outcome) for v in verdicts_in_order(samples.GATE.verdicts)] == [
        "regressed",
        "inconclusive",
        "improved",
        "unchanged",
    ]
    assert counts_line(samples.GATE) == "1 regressed, 1 inconclusive, 1 improved, 1 unchanged, 1 not judged"


def test_ranges_and_intervals() -> None:
    assert commit_range("a" * 40, "a" * 40) == "aaaaaaaa"
    assert commit_range("a" * 40, "b" * 40) == "aaaaaaaa..bbbbbbbb"
    assert interval(None, 1.0) == "n/a"
    assert interval(math.nan, 1.0) == "n/a"
    assert interval(-math.inf, math.inf) == "[to zero, from zero]"


def test_a_run_names_failures_outside_any_benchmark_too() -> None:
    lost = replace(samples.RECORDS[0], benchmark="", kind="discover", timed_out=True)
    assert as_text(run_blocks((), (), records=(lost,))).startswith("Nothing was measured.")
    assert [row[1:] for row in failures((), (lost,))] == [("(no benchmark)", "timed out after 10 s")]


def test_what_failed_once_and_then_ran_is_no_failure() -> None:
    """J3: the reason is that of the last try."""
    first = replace(samples.RECORDS[0], exit_code=-9, timed_out=False, stderr_tail="killed from outside")
    later = replace(first, started_at=first.started_at + timedelta(minutes=1), exit_code=0, stderr_tail="")
    other = replace(later, exit_code=1, stderr_tail="ValueError: x")
    unpacked = replace(first, benchmark="", kind="install")
    assert failures((), (later, first)) == failures((), (unpacked, later)) == []
    assert [row[2] for row in failures((), (other, first))] == ["ValueError: x"]


def test_a_failure_without_telemetry_says_so() -> None:
    failed = [result for result in samples.RESULTS if result.status is Status.FAILED]
    assert failures(failed, ())[0][2] == "no error output was kept"


def test_what_values_say_comes_before_what_has_none() -> None:
    """Of a large suite thousands are skipped, each at a commit of its own: the list is cut before its end."""
    skipped = [NotJudged(f"a.time_{n}", NotJudgedReason.SKIPPED, f"{n:040}") for n in range(200)]
    turns = NotJudged("z.time_turns", NotJudgedReason.MULTIMODAL, "0" * 40, "15 turns between 1 s, 2 s")
    recent = NotJudged("z.time_new", NotJudgedReason.TOO_RECENT, "1" * 40, "the newest value", 0.5)
    text = as_text(not_judged_blocks([*skipped, turns, recent]))
    assert text.index("z.time_turns") < text.index("z.time_new") < text.index("a.time_0")


def test_many_that_are_too_short_in_the_same_way_are_one_line() -> None:
    """A machine with one commit; what says something of its own keeps its line."""
    short = [
        NotJudged(f"suite.time_x({n})", NotJudgedReason.TOO_SHORT, "0" * 40, "1 of the 6 values")
        for n in range(379)
    ]
    gone = NotJudged("suite.time_y", NotJudgedReason.VANISHED, "0" * 40, "nothing newer is on record")
    text = as_text(not_judged_blocks([*short, gone, replace(short[0], since="1" * 40)]))
    assert "Not judged: 381 series (380 too short, 1 vanished)" in text
    assert text.count("suite.time") == 3 and "379 series, as suite.time_x(0)" in text
