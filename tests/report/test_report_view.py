"""The rules of the view model: order, what counts as open, which figures lead."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import report_samples as samples

from nbbench.model import Decision, FlagState, Outcome, Status
from nbbench.report.run_view import run_view
from nbbench.report.view import (
    commit_range,
    flag_row,
    gate_view,
    headline_changes,
    interval,
    largest,
    regressions_view,
)
from nbbench.words import clean, clean_lines, display_width, plural, truncate, truncate_middle

IMPROVED, RECOVERED, OPEN = samples.FLAGS


def test_open_losses_come_first_and_gains_last() -> None:
    view = regressions_view(samples.FLAGS)
    assert [row.event_id for row in view.rows] == ["E-28ff00aa", "E-12ab34cd", "E-20b1c0de"]
    assert view.open_count == 1
    assert [row.event_id for row in view.improvements] == ["E-20b1c0de"]


def test_nothing_on_record_is_not_called_a_pass() -> None:
    assert regressions_view(()).headline == "No change is on record."


def test_a_recovered_regression_stays_on_record_but_is_not_open() -> None:
    flag = replace(RECOVERED, state=FlagState.CONFIRMED)
    row = flag_row(flag)
    assert not row.is_open
    assert row.recovered_by == samples.COMMITS[32].short


def test_an_acknowledgement_past_its_expiry_is_open_again() -> None:
    decision = Decision("E", "P", FlagState.ACKNOWLEDGED, "known", "ada", samples.START, samples.NOW)
    flag = replace(OPEN, state=FlagState.ACKNOWLEDGED, decisions=(decision,))
    assert not flag_row(flag, samples.NOW - timedelta(days=1)).is_open
    late = flag_row(flag, samples.NOW + timedelta(days=1))
    assert late.is_open
    assert late.state == "acknowledged (expired 2025-10-15)"
    assert not flag_row(flag).is_open  # without a clock nothing expires
    recovered = replace(flag, event=replace(flag.event, recovered_by="ab" * 20))
    assert not flag_row(recovered, samples.NOW + timedelta(days=1)).is_open


def test_the_headline_names_time_and_work_in_the_events_own_direction() -> None:
    time, work = headline_changes(RECOVERED.event)
    assert time is not None
    assert time.key.label.startswith("bandwidth.Warm.time_run(size=512")
    assert work is not None
    assert work.unit == "B/pixel"
    against = replace(time, effect=-3.0, worse=False)
    event = replace(RECOVERED.event, changes=(*RECOVERED.event.changes, against))
    assert headline_changes(event) == (time, work)


def test_an_event_without_changes_still_shows_its_effect() -> None:
    row = flag_row(replace(OPEN, event=replace(OPEN.event, changes=(), effect=0.5)))
    assert row.change == "+64.9 %"
    assert row.series_count == 0


def test_largest_ignores_figures_that_are_not_numbers() -> None:
    change = OPEN.event.changes[0]
    assert largest([replace(change, effect=math.nan)]) is None
    assert largest([replace(change, effect=math.nan), change]) is change


def test_series_are_counted_once_however_often_they_changed() -> None:
    event = replace(OPEN.event, changes=OPEN.event.changes * 3)
    assert flag_row(replace(OPEN, event=event)).series_count == 1


def test_gate_rows_are_ordered_by_outcome_and_size() -> None:
    view = gate_view(samples.GATE)
    assert [row.outcome for row in view.rows] == [
        Outcome.REGRESSED,
        Outcome.INCONCLUSIVE,
        Outcome.IMPROVED,
        Outcome.UNCHANGED,
    ]
    assert view.counts_line == "1 regressed, 1 inconclusive, 1 improved, 1 unchanged"
    assert view.ledger[1][2] == ""


def test_ranges_and_intervals() -> None:
    assert commit_range("a" * 40, "a" * 40) == "aaaaaaaa"
    assert commit_range("a" * 40, "b" * 40) == "aaaaaaaa..bbbbbbbb"
    assert interval(None, 1.0) == "n/a"
    assert interval(math.nan, 1.0) == "n/a"
    assert interval(-math.inf, math.inf) == "[to zero, from zero]"


def test_a_run_names_failures_outside_any_benchmark_too() -> None:
    lost = replace(samples.RECORDS[0], benchmark="", kind="discover", timed_out=True)
    view = run_view((), records=(lost,))
    assert view.headline == "Nothing was measured."
    assert [(f.what, f.error) for f in view.failures] == [("(no benchmark)", "timed out after 10 s")]


def test_a_failure_without_telemetry_says_so() -> None:
    failed = [result for result in samples.RESULTS if result.status is Status.FAILED]
    assert run_view(failed).failures[0].error == "no error output was kept"


def test_outside_text_loses_what_could_repaint_a_terminal() -> None:
    assert clean("a\x1b[2J\x1b]0;title\x07b\r\nc\u202ed\ud800e\u2028f") == "ab c d e f"
    assert clean_lines("a\tb\x1b[1m \nc\x00\n") == "a    b\nc"


def test_widths_count_columns() -> None:
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    assert truncate("日本語", 5) == "日本…"
    assert truncate("abc", 3) == "abc"
    assert truncate("abcd", 3) == "ab…"
    assert display_width(truncate_middle("name(size=2048, dtype='float64')", 20)) == 20
    assert truncate_middle("name(size=2048, dtype='float64')", 20).endswith("'float64')")
    assert plural(1, "series", "series") == "1 series"
