"""Figures as Plotly specs: what they hold, without drawing them."""

from __future__ import annotations

import figure_samples
import pytest
import work_samples as work

from nbbench.report.figures import change_icicle, cost_icicle, roofline_figure
from nbbench.work.ledger_diff import diff_ledgers


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
