"""The search for a culprit on simulated branches whose truth is known; comparisons are given."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gate_facts import telling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbbench.budget import Budget, BudgetSpentError
from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.gate import bisect as rooms
from nbbench.gate.culprit import BisectAnswer, CommitMark, ComparedCommit, CulpritSearch, Stopped
from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.report.gate import MOST_LISTED, bisect_sentence, bisect_text

SERIES = "bandwidth.Warm.time_run(512, 'float32')"
WORKLOAD = "bandwidth-512-float32"
FIXED = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def branch(count: int) -> tuple[Commit, ...]:
    date = datetime(2025, 9, 1, tzinfo=UTC)
    return tuple(
        Commit(f"{n:08x}" + "0" * 32, f"{n:08x}" + "f" * 32, date, f"commit {n}", n + 1) for n in range(count)
    )


COMMITS = branch(12)


class Machine:
    """Answers comparisons from planted levels (log time) and work (log bytes), and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, levels: list[float], work: dict[int, float]) -> None:
        self.levels, self.commits = levels, branch(len(levels))
        self.work = [sum(size for at, size in work.items() if at <= i) for i in range(len(levels))]
        self.broken: set[int] = set()
        self.unclear: set[int] = set()
        self.made: list[int] = []
        self.now = 0.0
        monkeypatch.setattr(rooms, "compare_commit", self.compare)
        monkeypatch.setattr(rooms, "commit_ledgers", self.ledgers)
        monkeypatch.setattr(rooms, "matching_workloads", lambda settings, pattern: [WORKLOAD])

    def ledgers(self, settings, commits, names, *, say):
        found = {}
        for i, commit in enumerate(self.commits):
            error = "NameError" if i in self.broken else ""
            size = int(1e9 * math.exp(self.work[i]))
            found[commit.tree] = {
                WORKLOAD: Ledger(WORKLOAD, 512 * 512, 1, 1, size, 0, 0, (), "", "", "", error=error)
            }
        return found

    def compare(self, settings, search, index, *, seed, budget):
        assert search.series == SERIES
        self.made.append(index)
        self.now += 10.0
        assert len(self.made) <= 3 * len(self.levels), "it never ends"
        for at in (0, index):
            if at in self.broken:
                error = f"{self.commits[at].short} cannot run it: NameError: phi"
                return ComparedCommit(index, CommitMark.BROKEN, 0.0, telling(error))
        if index in self.unclear:
            return ComparedCommit(index, CommitMark.UNCLEAR, 0.0, telling("noise"))
        effect = self.levels[index] - self.levels[0]
        mark = CommitMark.BAD if effect > (0.5 * search.effect or 0.01) else CommitMark.GOOD
        return ComparedCommit(index, mark, effect, telling(f"change {effect:+.2f}"))

    def run(self, root: Path, seconds: float = 1e6):
        return rooms.find_culprit(
            Settings(root=root),
            SERIES,
            self.commits,
            budget=Budget(seconds, lambda: self.now),
            seed=1,
            say=lambda text: None,
        )


@FIXED
@given(count=st.integers(2, 60), data=st.data())
def test_a_step_of_time_is_found(count, data, tmp_path_factory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at = data.draw(st.integers(1, count - 1))
        machine = Machine(patch, [0.0] * at + [0.2] * (count - at), {})
        answer = machine.run(tmp_path_factory.mktemp("s"))
        assert (answer.stopped, list(answer.culprits)) == (Stopped.TIME, [at])
        assert len(machine.made) <= math.ceil(math.log2(count)) + 2


@FIXED
@given(
    moves=st.lists(st.sampled_from([-0.1, 0.0, 0.0, 0.0, 0.15, 0.4]), min_size=1, max_size=30),
    broken=st.sets(st.integers(1, 28)),
    unclear=st.sets(st.integers(1, 28)),
)
def test_it_always_ends_inside_the_range(moves, broken, unclear, tmp_path_factory) -> None:
    levels = [0.0]
    for move in moves:
        levels.append(levels[-1] + move)
    last = len(levels) - 1
    if levels[-1] <= 0.01:
        return
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(patch, levels, {})
        machine.broken, machine.unclear = broken - {last}, unclear - {last}
        answer = machine.run(tmp_path_factory.mktemp("s"))
        assert answer.culprits and 1 <= answer.culprits[0] <= answer.culprits[-1] <= last


@pytest.mark.parametrize(
    ("levels", "work", "culprit", "comparisons"),
    [
        ([0.0] * 7 + [0.3] * 5, {7: 0.3}, 7, 1),  # the work explains all of it
        ([0.0] * 7 + [0.3] * 5, {2: 0.02, 7: 0.3}, 7, 1),
        ([0.0] * 4 + [0.3] * 8, {}, 4, 5),
        ([0.0] * 8 + [0.5] * 4, {2: 0.06}, 8, 6),  # the work explains a tenth of it: time decides
        ([0.0, 0.3], {}, 1, 1),
    ],
)
def test_time_is_for_what_exact_work_does_not_explain(
    monkeypatch, tmp_path, levels, work, culprit, comparisons
) -> None:
    machine = Machine(monkeypatch, levels, work)
    answer = machine.run(tmp_path)
    assert answer.stopped in (Stopped.TIME, Stopped.EXPLAINED)
    assert list(answer.culprits) == [culprit]
    assert len(machine.made) <= comparisons
    assert machine.commits[culprit].short in bisect_sentence(answer) and "exact work" in bisect_sentence(
        answer
    )


def test_exact_work_answers_where_time_cannot_tell(monkeypatch, tmp_path) -> None:
    """H12: under load the ledgers know the commit, and no answer is without their word."""
    machine = Machine(monkeypatch, [0.0] * 12, {7: math.log(1.47)})
    machine.unclear = {11}
    answer = machine.run(tmp_path)
    assert (answer.stopped, list(answer.culprits)) == ("work", [7])
    told = bisect_sentence(answer)
    assert f"grew at {COMMITS[7].short} (bytes +47.0 %, operations +0.00 %)" in told and "noise" in told
    machine.work = [0.0] * 12
    answer = machine.run(tmp_path)
    assert (answer.stopped, list(answer.culprits)) == ("range", [])
    assert bisect_sentence(answer) == (
        f"time cannot tell 0000000b from 00000000: noise; the exact work of {WORKLOAD} grew nowhere"
    )


def test_a_step_of_work_after_a_commit_without_a_ledger_may_be_either_s(monkeypatch, tmp_path) -> None:
    machine = Machine(monkeypatch, [0.0] * 12, {6: 0.4})
    machine.broken, machine.unclear = {5}, {11}
    answer = machine.run(tmp_path)
    assert (answer.stopped, list(answer.culprits)) == ("range", [5, 6])


@pytest.mark.parametrize("ends_in", ["compare_commit", "commit_ledgers"])
def test_a_budget_may_end_in_any_phase(monkeypatch, tmp_path, ends_in) -> None:
    """H12, H13: what is known by then is the answer."""
    machine = Machine(monkeypatch, [0.0] * 12, {7: 0.4})

    def ended(*arguments, **options):
        raise BudgetSpentError("ended")

    monkeypatch.setattr(rooms, ends_in, ended)
    answer = machine.run(tmp_path)
    if ends_in == "compare_commit":
        assert (answer.stopped, list(answer.culprits)) == ("work", [7])
    else:
        assert answer.stopped == "budget" and "was not recorded" in bisect_sentence(answer)


def test_a_spent_budget_gives_the_range_so_far(monkeypatch, tmp_path) -> None:
    machine = Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {})
    answer = machine.run(tmp_path, seconds=25.0)
    assert answer.stopped == "budget" and 6 in answer.culprits and len(machine.made) == 3
    assert bisect_sentence(answer).startswith("the budget is spent: the culprit is one of the")


def test_nothing_to_find(monkeypatch, tmp_path) -> None:
    machine = Machine(monkeypatch, [0.0] * 12, {7: 0.3})
    answer = machine.run(tmp_path)
    assert (answer.stopped, list(answer.culprits), machine.made) == ("unchanged", [], [11])
    assert "is not slower" in bisect_sentence(answer) and "(bytes +35.0 %" in bisect_sentence(answer)


def test_broken_commits_leave_a_range(monkeypatch, tmp_path) -> None:
    machine = Machine(monkeypatch, [0.0] * 6 + [0.3] * 6, {})
    machine.broken = {5, 6}
    answer = machine.run(tmp_path)
    assert (answer.stopped, list(answer.culprits)) == ("range", [5, 6, 7])
    assert "one of the 3 commits" in bisect_sentence(answer)


def test_ends_that_cannot_run(monkeypatch, tmp_path) -> None:
    machine = Machine(monkeypatch, [0.0] * 12, {})
    machine.broken = {0}
    with pytest.raises(InconclusiveError, match="cannot run it: NameError") as caught:
        machine.run(tmp_path)
    assert caught.value.hint.startswith("GOOD and BAD both have to run")


def test_a_long_range_is_not_listed_in_full() -> None:
    commits = COMMITS * 5
    search = CulpritSearch(SERIES, commits)
    lines = bisect_text(BisectAnswer(search, range(1, len(commits)), Stopped.BUDGET)).splitlines()
    assert lines[0].startswith("the budget is spent") and COMMITS[1].short in lines[1]
    assert len(lines) == MOST_LISTED + 3
    assert lines[-2] == f"  … and {len(commits) - 1 - MOST_LISTED} more"
    assert lines[-1].startswith("  nbbench bisect 00000000 0000000b --series ")


def test_series_without_a_ledger_are_bisected_by_time(monkeypatch, tmp_path) -> None:
    Machine(monkeypatch, [0.0] * 12, {6: 0.4})
    search = CulpritSearch("cold_start.ColdStart.timeraw_first_run", COMMITS)
    monkeypatch.setattr(rooms, "ledger_families", lambda key: ())
    rooms._exact_work(Settings(root=tmp_path), search, lambda text: None)
    assert search.steps == {}
    told = bisect_sentence(BisectAnswer(search, range(0), Stopped.RANGE))
    assert told.endswith("no ledger counts what this series runs")


def test_the_series_own_workload_is_asked_first(monkeypatch, tmp_path) -> None:
    names = ["bandwidth-512-float32", "bandwidth-512-float64", "bandwidth-2048-float64"]
    monkeypatch.setattr(rooms, "matching_workloads", lambda settings, pattern: names)
    asked = Settings(root=tmp_path)
    assert rooms._workloads(asked, SERIES, ("bandwidth-",)) == names[:1]
    assert rooms._workloads(asked, "c_ratio.Ratio.time_run", ("bandwidth-",)) == names[:2]
