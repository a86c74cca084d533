"""The search as a whole: what it compares, what it keeps, how it resumes; comparisons are given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbbench.budget import Budget, BudgetSpentError
from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.gate import bisect as rooms
from nbbench.gate.bisect_search import Found, Mark
from nbbench.gate.compare import Comparison
from nbbench.ledger import Ledger
from nbbench.model import Commit

SERIES = "bandwidth.Warm.time_run(512, 'float32')"
WORKLOAD = "bandwidth-512-float32"
COMMITS = tuple(
    Commit(
        f"{n:08x}" + "0" * 32, f"{n:08x}" + "f" * 32, datetime(2025, 9, 1, tzinfo=UTC), f"commit {n}", n + 1
    )
    for n in range(12)
)


class Machine:
    """Answers comparisons from planted levels (log time), and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, levels: list[float], work: dict[int, int]) -> None:
        self.levels, self.work = levels, work
        self.broken: set[str] = set()
        self.made: list[tuple[str, str]] = []
        self.stop_after = 1000
        monkeypatch.setattr(rooms, "compare", self.compare)
        monkeypatch.setattr(rooms, "commit_ledgers", self.ledgers)
        monkeypatch.setattr(rooms, "matching_workloads", lambda settings, pattern: [WORKLOAD])

    def ledgers(self, settings, commits, names, *, say):
        size, found = 1_000_000_000, {}
        for index, commit in enumerate(COMMITS):
            size += self.work.get(index, 0)
            error = "NameError" if commit.short in self.broken else ""
            found[commit.tree] = {
                WORKLOAD: Ledger(WORKLOAD, 512 * 512, 1, 1, size, 0, 0, (), "", "", "", error=error)
            }
        return found

    def compare(self, settings, base, head, series, *, threshold=None, seed, budget):
        assert series == SERIES
        if len(self.made) >= self.stop_after:
            raise KeyboardInterrupt
        self.made.append((base.short, head.short))
        for commit in (base, head):
            if commit.short in self.broken:
                return Comparison(Mark.BROKEN, 0.0, f"{commit.short} cannot run it: NameError", commit.short)
        effect = self.levels[head.position - 1] - self.levels[base.position - 1]
        limit = 0.01 if threshold is None else threshold
        return Comparison(Mark.BAD if effect > limit else Mark.GOOD, effect, f"change {effect:+.2f}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def run(settings: Settings, **options) -> rooms.Answer:
    given = {"budget": Budget(1e6), "restart": False, "seed": 1, "show": lambda text: None} | options
    return rooms.bisect(settings, SERIES, COMMITS, **given)


def test_neighbours_are_compared_once(settings, monkeypatch):
    """A step of work, or a culprit after commits that cannot run, needs no second look at good and bad."""
    machine = Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {6: 400_000_000})
    given = {"budget": Budget(1e6), "restart": False, "seed": 1, "show": lambda text: None}
    answer = rooms.bisect(settings, SERIES, COMMITS[5:7], **given)
    assert (answer.stopped, machine.made) == ("located", [(COMMITS[5].short, COMMITS[6].short)])
    machine.broken, machine.made[:] = {COMMITS[5].short}, []
    answer = rooms.bisect(settings, SERIES, COMMITS[4:7], **{**given, "restart": True})
    assert (answer.stopped, answer.found.first, answer.found.last) == ("range", 1, 2)
    assert machine.made.count((COMMITS[4].short, COMMITS[6].short)) == 1


def test_work_is_compared_with_its_parent_at_once(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 7 + [0.3] * 5, {7: 400_000_000})
    answer = run(settings)
    assert (answer.stopped, answer.found.first, answer.found.last) == ("located", 7, 7)
    assert machine.made == [("00000000", "0000000b"), ("00000006", "00000007")]
    assert COMMITS[7].short in answer.sentence


def test_time_alone_is_bisected(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 4 + [0.3] * 8, {})
    answer = run(settings)
    assert (answer.stopped, answer.found.last, answer.found.verified) == ("located", 4, True)
    assert len(machine.made) <= 1 + 4 + 1


def test_nothing_to_find(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 12, {7: 400_000_000})
    answer = run(settings)
    assert (answer.stopped, answer.found) == ("unchanged", None) and len(machine.made) == 1
    assert "is not slower" in answer.sentence


def test_a_killed_search_goes_on_where_it_stopped(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 4 + [0.3] * 8, {})
    machine.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    first = list(machine.made)
    machine.stop_after = 1000
    said: list[str] = []
    answer = run(settings, show=said.append)
    assert answer.found.last == 4
    assert not set(machine.made[len(first) :]) & set(first)
    assert any("3 comparisons of an earlier search" in text for text in said)
    machine.made.clear()
    assert run(settings).found.last == 4 and machine.made == []
    assert run(settings, restart=True).found.last == 4 and machine.made != []


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"schema": "nbbench.bisect/1"}', '{"schema": 3, "made": 4}']
)
def test_a_damaged_state_is_forgotten(settings, monkeypatch, damage):
    machine = Machine(monkeypatch, [0.0] * 4 + [0.3] * 8, {})
    run(settings)
    [path] = (settings.state_dir / "bisect").glob("*.json")
    path.write_text(damage)
    machine.made.clear()
    assert run(settings).found.last == 4 and len(machine.made) > 1


def test_broken_commits_leave_a_range(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {})
    machine.broken = {COMMITS[5].short, COMMITS[6].short}
    answer = run(settings)
    assert (answer.stopped, answer.found.first, answer.found.last) == ("range", 5, 7)
    assert "one of the 3 commits" in answer.sentence


def test_a_broken_parent_of_a_step_of_work(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {6: 400_000_000})
    machine.broken = {COMMITS[5].short}
    answer = run(settings)
    assert (answer.found.first, answer.found.last) == (5, 6)


def test_ends_that_cannot_run(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 12, {})
    machine.broken = {COMMITS[0].short}
    with pytest.raises(InconclusiveError, match="cannot run it: NameError") as caught:
        run(settings)
    assert caught.value.hint.startswith("GOOD and BAD both have to run")


def test_ends_that_cannot_be_told_apart(settings, monkeypatch):
    Machine(monkeypatch, [0.0] * 12, {})
    monkeypatch.setattr(
        rooms, "compare", lambda *a, **k: Comparison(Mark.UNCLEAR, 0.0, "the budget is spent")
    )
    answer = run(settings)
    assert (answer.stopped, answer.found) == ("range", None)
    assert answer.sentence == (
        "time cannot tell 0000000b from 00000000: the budget is spent; "
        f"the exact work of {WORKLOAD} grew nowhere"
    )


def test_exact_work_answers_where_time_cannot_tell(settings, monkeypatch):
    """H12: under load the ledgers know the commit, and no answer is without their word."""
    Machine(monkeypatch, [0.0] * 12, {7: 470_000_000})
    monkeypatch.setattr(rooms, "compare", lambda *a, **k: Comparison(Mark.UNCLEAR, 0.0, "noise"))
    answer = run(settings)
    assert (answer.stopped, answer.found) == ("work", Found(7, 7, False))
    assert f"grew by +47.0 % at {COMMITS[7].short}" in answer.sentence and "noise" in answer.sentence


def test_a_budget_that_ends_while_work_is_compared_leaves_its_answer(settings, monkeypatch):
    """H12, H13: whatever phase the budget ends in."""
    Machine(monkeypatch, [0.0] * 12, {7: 470_000_000})

    def ended(*arguments, **options):
        raise BudgetSpentError("ended")

    monkeypatch.setattr(rooms, "compare", ended)
    assert run(settings).stopped == "work"
    monkeypatch.setattr(rooms, "commit_ledgers", ended)
    answer = run(settings)
    assert answer.stopped == "budget" and "was not recorded" in answer.sentence


def test_a_long_range_is_not_listed_in_full(settings):
    from nbbench.cli.bisect import MOST_LISTED, _text

    commits = COMMITS * 5
    answer = rooms.Answer(rooms.Search(SERIES, commits), Found(1, len(commits) - 1, False), "why", "budget")
    lines = _text(answer).splitlines()
    assert lines[0] == "why" and COMMITS[1].short in lines[1]
    assert len(lines) == MOST_LISTED + 2 and lines[-1] == f"  … and {len(commits) - 1 - MOST_LISTED} more"


def test_a_spent_budget_gives_the_range_so_far(settings, monkeypatch):
    Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {})
    now = [0.0]
    measured = rooms.compare

    def slow(*arguments, **options):
        now[0] += 10.0
        return measured(*arguments, **options)

    monkeypatch.setattr(rooms, "compare", slow)
    answer = run(settings, budget=Budget(25.0, lambda: now[0]))
    assert answer.stopped == "budget" and answer.found.first <= 6 <= answer.found.last
    assert answer.sentence.startswith("the budget is spent: the culprit is one of the")


def test_a_comparison_that_the_budget_cut_short_is_made_again(settings, monkeypatch):
    machine = Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {})
    now = [0.0]

    def cut_short(*args, **options):
        if len(machine.made) == 2:
            now[0] = 100.0
            return Comparison(Mark.UNCLEAR, 0.0, "the budget is spent")
        return machine.compare(*args, **options)

    monkeypatch.setattr(rooms, "compare", cut_short)
    assert run(settings, budget=Budget(50.0, lambda: now[0])).stopped == "budget"
    monkeypatch.setattr(rooms, "compare", machine.compare)
    answer = run(settings)
    assert (answer.stopped, answer.found.last) == ("located", 6)
    assert Mark.UNCLEAR not in {step.mark for step in answer.search.made}


def test_series_without_a_ledger_are_bisected_by_time(settings, monkeypatch):
    Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {6: 400_000_000})
    search = rooms.Search("cold_start.ColdStart.timeraw_first_run", COMMITS)
    rooms._exact_work(settings, search, lambda text: None)
    assert (search.steps, search.workloads) == ({}, ())


def test_the_series_own_workload_is_asked_first(settings, monkeypatch):
    names = ["bandwidth-512-float32", "bandwidth-512-float64", "bandwidth-2048-float64"]
    monkeypatch.setattr(rooms, "matching_workloads", lambda settings, pattern: names)
    assert rooms._workloads(settings, SERIES, ("bandwidth-",)) == names[:1]
    assert rooms._workloads(settings, "c_ratio.Ratio.time_run", ("bandwidth-",)) == names[:2]


def test_a_step_is_kept_with_what_it_said(settings, monkeypatch):
    Machine(monkeypatch, [0.0] * 4 + [0.3] * 8, {})
    answer = run(settings)
    step = answer.search.made[0]
    assert (
        replace(step, sentence="")
        and step.mark in (Mark.GOOD, Mark.BAD)
        and step.sentence.startswith("change")
    )
