"""Figures as Plotly specs: what they hold, without drawing them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import figure_samples
import pytest
import report_samples as samples
import work_samples as work
from hypothesis import given
from hypothesis import strategies as st

from nbbench.model import ChangePoint, Point, Series, Status
from nbbench.report.blocks import Chart
from nbbench.report.figures import change_icicle, cost_icicle, history_figure, roofline_figure
from nbbench.work.ledger_diff import diff_ledgers

COMMITS = {commit.hash: commit for commit in samples.COMMITS}


def drawn(points: tuple[Point, ...], changes: tuple[tuple[str, ChangePoint], ...] = ()) -> Chart:
    return history_figure(Series(samples.key(), "seconds", "time", points), changes, COMMITS, "E")


def of(values: tuple[float | None, ...]) -> tuple[Point, ...]:
    return tuple(Point(i, f"{i:040x}", value, Status.OK) for i, value in enumerate(values))


def test_a_history_has_its_dots_bands_and_levels() -> None:
    change = samples.FLAGS[1].event.changes[0]
    chart = history_figure(samples.SERIES[0], (("E", change),), COMMITS, "E")
    dots = chart.data[0]
    assert len(dots["x"]) == len(dots["y"]) == len(dots["customdata"]) == len(samples.SERIES[0].points)
    [band] = chart.layout["shapes"]
    assert band["x0"] < COMMITS[change.hi_commit].position < band["x1"]
    assert [level["y"][0] for level in chart.data[1:]] == [change.before, change.after]
    [said] = chart.layout["annotations"]
    assert said["text"] == "+43.2 %"


def test_a_failed_commit_breaks_the_line_and_is_marked() -> None:
    chart = history_figure(samples.SERIES[1], (), COMMITS)
    assert chart.data[0]["y"].count(None) == 2
    assert len(chart.data[-1]["x"]) == 2 and chart.data[-1]["marker"]["symbol"] == "x"
    assert "2 failed" in chart.note


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_values_that_are_not_numbers_are_not_drawn(value: float | None) -> None:
    assert drawn(of((1.0, value, 2.0))).data[0]["y"] == [1.0, None, 2.0]


@given(st.lists(st.floats(), max_size=20))
def test_any_series_is_sound_json(values: list[float]) -> None:
    chart = drawn(of(tuple(values)))
    json.dumps([chart.data, chart.layout], allow_nan=False)


def test_a_wide_range_gets_a_logarithmic_axis() -> None:
    assert drawn(of((1.0, 9.0))).layout["yaxis"]["type"] == "log"
    assert "type" not in drawn(of((0.0, 9.0))).layout["yaxis"]


def test_unordered_positions_are_spread_evenly() -> None:
    points = tuple(Point(0, c.hash, 1.0, Status.OK) for c in samples.COMMITS[:5])
    assert drawn(points).data[0]["x"] == [0, 1, 2, 3, 4]


def test_a_change_outside_of_the_series_is_left_out() -> None:
    change = replace(samples.FLAGS[2].event.changes[0], lo_commit="f" * 40)
    assert drawn(samples.SERIES[0].points, (("E", change),)).layout["shapes"] == []


def test_a_level_lasts_until_the_next_change() -> None:
    change = samples.FLAGS[1].event.changes[0]
    back = replace(change, lo_commit=samples.COMMITS[32].hash, hi_commit=samples.COMMITS[32].hash)
    chart = drawn(samples.SERIES[0].points, (("E", change), ("F", back)))
    assert chart.data[2]["x"][1] == COMMITS[back.lo_commit].position


def test_text_from_outside_is_escaped_for_plotly() -> None:
    one = replace(samples.SERIES[0], unit="<b>")
    assert "<b>" not in json.dumps(history_figure(one, (), COMMITS).layout)


def test_an_icicle_adds_up_to_the_ledger() -> None:
    one = work.before()
    [trace] = cost_icicle(one).data
    assert sum(trace["values"]) == pytest.approx(one.bytes_per_pixel)
    assert {trace["ids"][0], ""} >= {trace["parents"][0]}
    assert set(trace["parents"]) - {""} <= set(trace["ids"])
    assert "marker" not in trace


def test_a_comparison_is_coloured_by_what_became_more() -> None:
    diff = diff_ledgers(work.before(), work.after())
    [trace] = change_icicle(diff).data
    assert sum(trace["values"]) == pytest.approx(diff.head.bytes_per_pixel)
    assert max(trace["marker"]["colors"]) == trace["marker"]["cmax"] > 0


def test_a_roofline_has_every_workload_and_its_roofs() -> None:
    chart = roofline_figure("roofline", figure_samples.ROOF, figure_samples.ROWS)
    names = " ".join(trace["name"] for trace in chart.data)
    assert all(f"{row.workload} ({row.bound})" in names for row in figure_samples.ROWS)
    assert "memory (STREAM)" in names and "dispatch: 1 µs an operation" in names
    assert chart.layout["xaxis"]["type"] == chart.layout["yaxis"]["type"] == "log"
