"""Budgets of exact work: which rows are made, and what a commit does to them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from history_samples import ledger

from nbbench.config import load_settings
from nbbench.errors import UsageError
from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.record.atomic import write_text
from nbbench.report.exact_work import budget_message
from nbbench.work.budget_file import BUDGETS, read_budget
from nbbench.work.work_budget import BudgetRow, check_budget, grown_rows, made_budget

WORKLOAD = "bandwidth-512-float32"


def counted(ops: int, counts: tuple[tuple[str, float], ...]) -> Ledger:
    return dataclasses.replace(ledger(ops=ops), counts=counts)


BASE = {WORKLOAD: counted(1000, (("track_host_steps_warm_run", 5000.0), ("track_mapped_bytes", 9.0)))}
ROWS = made_budget(BASE, None)
BUDGET = (
    '{"schema": "nbbench.budgets/1", "torch": "2", "python": "3", "rows": '
    '[{"workload": "w", "metric": "m", "unit": "u", "value": VALUE, "most": 2}]}'
)


def row(metric: str) -> BudgetRow:
    return next(one for one in ROWS if one.metric == metric)


def test_a_row_for_each_exact_figure_with_what_the_gate_lets_pass() -> None:
    assert row("track_operations").most == pytest.approx(1105.2, abs=0.1)
    assert row("track_bytes_per_pixel").most == pytest.approx(101.005, abs=0.01)
    assert row("track_host_steps_warm_run").value == 5000.0
    assert "track_mapped_bytes" not in {one.metric for one in ROWS}  # the allocator's, not the program's
    assert all(one.most == one.value * 1.02 for one in made_budget(BASE, 0.02))


def test_no_growth_means_none() -> None:
    counts = (("track_host_steps_warm_run", 5001.0),)
    found = check_budget(made_budget(BASE, 0.0), {WORKLOAD: counted(1000, counts)})
    assert [one.metric for one, _ in found.over] == ["track_host_steps_warm_run"]


@pytest.mark.parametrize(("steps", "over"), [(99.0, 0), (100.0, 1)])
def test_few_steps_more_than_none_are_what_the_gate_lets_pass(steps: float, over: int) -> None:
    rows = made_budget({WORKLOAD: counted(1, (("track_host_steps_warm_run", 0.0),))}, None)
    now = {WORKLOAD: counted(1, (("track_host_steps_warm_run", steps),))}
    assert len(check_budget(rows, now).over) == over


def test_what_allows_more_is_named_with_both_figures_in_the_message() -> None:
    tight, loose = made_budget(BASE, 0.0), made_budget(BASE, 0.05)
    assert grown_rows(loose, tight) == grown_rows(tight, tight) == grown_rows((), loose) == []
    grown = grown_rows(tight, loose)
    assert grown == [(a, b) for a, b in zip(tight, loose, strict=True) if a.value]
    commit = Commit("a" * 40, "b" * 40, datetime(2025, 12, 12, tzinfo=UTC), "subject")
    text = budget_message(commit, "a second detector", grown)
    assert text.startswith("Budgets: a second detector\n\nExact work of aaaaaaaa.\nAllowed from now on:\n")
    assert f"{WORKLOAD}: host steps warm run 5,000 steps -> 5,250 steps (+5.00 %)" in text
    assert budget_message(commit, "", []).splitlines()[0] == "Budgets: renewed, nothing grows"


def test_what_failed_has_no_row() -> None:
    assert made_budget({WORKLOAD: ledger(error="NameError")}, None) == ()


def test_the_same_work_is_within_its_budget() -> None:
    found = check_budget(ROWS, BASE)
    assert (found.over, found.under, found.missing, found.held) == ((), (), (), len(ROWS))


def test_more_than_allowed_is_over_and_less_is_told() -> None:
    counts = (("track_host_steps_warm_run", 4000.0),)
    found = check_budget(ROWS, {WORKLOAD: counted(1200, counts)})
    assert [(one.metric, now) for one, now in found.over] == [("track_operations", 1200.0)]
    assert [(one.metric, now) for one, now in found.under] == [("track_host_steps_warm_run", 4000.0)]


def test_growth_that_is_allowed_is_held() -> None:
    found = check_budget(ROWS, {WORKLOAD: counted(1100, (("track_host_steps_warm_run", 5050.0),))})
    assert not found.over and found.held == len(ROWS)


def test_a_figure_that_is_gone_is_missing_and_not_held() -> None:
    found = check_budget(ROWS, {WORKLOAD: ledger(ops=1000)})
    assert [one.metric for one in found.missing] == ["track_host_steps_warm_run"]
    assert check_budget(ROWS, {}).held == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema": "x"}',
        '{"schema": "nbbench.budgets/1", "rows": [1]}',
        BUDGET.replace("VALUE", "NaN"),
        BUDGET.replace("VALUE", "-1"),
        BUDGET.replace("VALUE", "3"),
    ],
)
def test_a_file_that_is_none_is_refused_with_a_hint(text: str, tmp_path: Path) -> None:
    write_text(tmp_path / "asv.conf.json", '{"project": "p", "branches": ["main"]}')
    write_text(tmp_path / BUDGETS, text)
    with pytest.raises(UsageError, match=r"budgets\.json cannot be read"):
        read_budget(load_settings(tmp_path, environ={}))
