"""The hooks into asv's commands."""

from __future__ import annotations

from typing import Any

import pytest
from asv import results, util
from asv.plugins import github
from asv.runner import BenchmarkResult

from nbbench.measure import asv_hooks
from nbbench.measure.asv_environment import NbbenchEnvironment


def test_what_git_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(cls: Any) -> None:
        raise util.ProcessError(["git", "push"], 128, "", "warning: x\nfatal: 'origin' is no repository\n")

    monkeypatch.setattr(github.GithubPages, "run", classmethod(refused))
    asv_hooks._wrap(github.GithubPages, "run", asv_hooks._say_what_git_refuses)
    with pytest.raises(util.UserError, match=r"^git refuses: fatal: 'origin' is no repository$"):
        github.GithubPages.run()


def tracked(unit: str, *figures: float) -> results.Results:
    """What asv keeps of a tracked benchmark whose first run gave `figures[0]`, and so on."""
    kept = results.Results({"machine": "box"}, {}, "c0ffee00", 0, "3.11", "env", {})
    declared = {
        "name": "c.track_ratio",
        "type": "track",
        "version": "1",
        "params": [["1", "2"]],
    }
    for run, figure in enumerate(figures):
        result = BenchmarkResult([figure, float("nan")], [None, None], [None, None], 0, "", None)
        kept.add_result(declared | {"unit": unit}, result, append_samples=run > 0, record_samples=run > 0)
    return kept


@pytest.mark.parametrize(
    ("unit", "figures", "value", "samples"),
    [
        ("ratio", [0.9], 0.9, None),
        ("ratio", [0.9, 0.7, 0.8], 0.8, [0.9, 0.7, 0.8]),
        ("operations", [9.0, 7.0], 7.0, None),
    ],
)
def test_a_tracked_figure_that_is_measured_again_joins_the_earlier_ones(
    monkeypatch: pytest.MonkeyPatch,
    unit: str,
    figures: list[float],
    value: float,
    samples: list[float] | None,
) -> None:
    """Nobody can measure a ratio until it pleases; a count is what it is now."""
    monkeypatch.setattr(results.Results, "add_result", results.Results.add_result)
    monkeypatch.setattr(NbbenchEnvironment, "appends", True)
    asv_hooks._wrap(results.Results, "add_result", asv_hooks._append_tracked_figures)
    kept = tracked(unit, *figures)
    params = [["1", "2"]]
    assert kept.get_result_value("c.track_ratio", params)[0] == value
    assert kept.get_result_samples("c.track_ratio", params) == [samples, None]


def test_what_is_skipped_now_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that a ratio needs may be gone, and a parameter may be new."""
    monkeypatch.setattr(results.Results, "add_result", results.Results.add_result)
    monkeypatch.setattr(NbbenchEnvironment, "appends", True)
    asv_hooks._wrap(results.Results, "add_result", asv_hooks._append_tracked_figures)
    before, now = tracked("ratio", 0.9, 0.7), tracked("ratio", 0.9, 0.7)
    more = {"name": "c.track_ratio", "type": "track", "unit": "ratio", "version": "1"}
    skipped = BenchmarkResult([float("nan")] * 2 + [0.5], [None] * 3, [None] * 3, 0, "", None)
    params = [["1", "2", "4"]]
    now.add_result(more | {"params": params}, skipped, append_samples=True, record_samples=True)
    asv_hooks._restore(now, before, "c.track_ratio")
    assert now.get_result_value("c.track_ratio", params)[::2] == pytest.approx([0.8, 0.5])
    assert now.get_result_samples("c.track_ratio", params) == [[0.9, 0.7], None, [0.5]]
