"""Which tree is measured next: simulated branches whose truth is known."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from history_samples import commit

from nbbench.budget import Budget, BudgetSpentError
from nbbench.config import Settings
from nbbench.history import adaptive
from nbbench.history.next_tree import LEAST_PAIRS, Tree, TreeReading, Why, plan, steadied
from nbbench.model import Commit

WORKLOADS = {"warm": ("bandwidth",)}


class Branch:
    """A branch with planted work and times; `measure` reveals one tree, with noise."""

    def __init__(
        self, work: list[float], extra: dict[int, float], noise: float = 0.01, seed: int = 1
    ) -> None:
        self.times = []
        level = 0.0
        for i, cost in enumerate(work):
            level += extra.get(i, 0.0)
            self.times.append(math.log(cost) + level)
        self.noise, self.random = noise, random.Random(seed)
        self.trees = [Tree(cost={"bandwidth": cost}) for cost in work]

    def measure(self, index: int) -> None:
        old = self.trees[index]
        level = self.times[index] + self.random.gauss(0, self.noise)
        if old.measured:
            level = (old.readings["warm"].level * old.collections + level) / (old.collections + 1)
        error = self.noise / math.sqrt(old.collections + 1)
        self.trees[index] = Tree(old.cost, {"warm": TreeReading(level, error)}, old.collections + 1)

    def explore(self, *, min_effect: float = 0.05, limit: int = 1000) -> int:
        steps = 0
        while probes := plan(self.trees, WORKLOADS, min_effect=min_effect).probes:
            self.measure(probes[0].index)
            steps += 1
            assert steps <= limit, "it never ends"
        return sum(tree.measured for tree in self.trees)

    def located(self) -> list[int]:
        return sorted(found.index for found in plan(self.trees, WORKLOADS, min_effect=0.05).located)


def wandering(n: int, sigma: float, *, collections: int = 1) -> list[Tree]:
    """Trees of equal work on a machine that wanders far more than its readings say."""
    draw = random.Random(7)
    return [
        Tree({"bandwidth": 1.0}, {"warm": TreeReading(draw.gauss(0, sigma), 0.015)}, collections)
        for _ in range(n)
    ]


def test_trees_of_equal_work_tell_the_noise_of_the_machine() -> None:
    noisy = steadied(wandering(200, 0.05), min_effect=0.05)
    assert noisy[0].readings["warm"].error == pytest.approx(0.05, rel=0.2)
    twice = steadied(wandering(200, 0.05, collections=2), min_effect=0.05)
    assert twice[0].readings["warm"].error == pytest.approx(0.05 / math.sqrt(2), rel=0.2)
    # quieter than was said, or too few to tell: what was said stands
    for trees in (wandering(200, 0.001), wandering(LEAST_PAIRS, 0.05)):
        assert steadied(trees, min_effect=0.05) == trees


def test_what_the_canaries_show_is_taken_out() -> None:
    draw = random.Random(3)
    trees = []
    for i in range(60):
        machine = draw.gauss(0, 0.03)
        level = 0.4 * (i >= 30) + 1.7 * machine + draw.gauss(0, 0.005)
        cost = {"bandwidth": 1.5 if i >= 30 else 1.0}
        trees.append(Tree(cost, {"warm": TreeReading(level, 0.001, machine)}, 1))
    steady = [tree.readings["warm"] for tree in steadied(trees, min_effect=0.05)]
    assert [one.level for one in steady] == pytest.approx([0.4 * (i >= 30) for i in range(60)], abs=0.03)
    assert steady[0].error == pytest.approx(0.005, rel=0.4)


def test_canaries_that_know_nothing_change_no_level() -> None:
    draw = random.Random(3)
    trees = [
        Tree({"bandwidth": 1.0}, {"warm": TreeReading(draw.gauss(0, 0.05), 0.001, draw.gauss(0, 0.03))}, 1)
        for _ in range(60)
    ]
    steady = steadied(trees, min_effect=0.05)
    assert [t.readings["warm"].level for t in steady] == [t.readings["warm"].level for t in trees]


def test_a_change_of_work_is_no_noise() -> None:
    trees = [
        Tree({"bandwidth": 1.5 ** (i // 2)}, {"warm": TreeReading(0.4 * (i // 2), 0.01)}, 1)
        for i in range(40)
    ]
    assert steadied(trees, min_effect=0.05) == trees


def test_a_machine_that_wanders_is_not_chased() -> None:
    trees = wandering(200, 0.05)
    assert plan(trees, WORKLOADS, min_effect=0.05).probes
    assert not plan(steadied(trees, min_effect=0.05), WORKLOADS, min_effect=0.05).probes


def test_first_the_ends_then_the_rest() -> None:
    trees = [Tree() for _ in range(40)]
    assert [p.index for p in plan(trees, WORKLOADS, min_effect=0.05).probes] == [0, 39]
    assert {p.why for p in plan(trees, WORKLOADS, min_effect=0.05).probes} == {Why.COARSE}


def test_broken_trees_are_never_asked_for() -> None:
    branch = Branch([1.0] * 30 + [1.5] * 30, {})
    for i in (0, 15, 29, 30, 59):
        branch.trees[i] = Tree(broken=True)
    branch.explore()
    assert not any(branch.trees[i].measured for i in (0, 15, 29, 30, 59))
    assert branch.located() == [31]  # the first tree that runs and shows it


def test_a_change_between_broken_trees_stays_a_range() -> None:
    branch = Branch([1.0] * 30, {14: 0.4})
    for i in (12, 13, 14):
        branch.trees[i] = Tree(broken=True)
    branch.explore()
    [found] = plan(branch.trees, WORKLOADS, min_effect=0.05).located
    assert (found.first, found.index) == (12, 15)


def test_work_that_changes_is_located_by_the_ledger_with_two_looks() -> None:
    branch = Branch([1.0] * 7 + [1.5] * 8, {})
    assert branch.explore() == 2
    assert branch.located() == [7]


def test_time_that_moves_without_work_is_bisected_and_confirmed() -> None:
    branch = Branch([1.0] * 64, {37: 0.4})
    timed = branch.explore()
    assert branch.located() == [37]
    assert timed <= 2 + 6 + 64 // 16 + 4
    assert branch.trees[36].collections == branch.trees[37].collections == 2


def test_a_gain_and_a_loss_that_cancel_are_both_found() -> None:
    branch = Branch([1.0] * 20 + [1.4] * 3 + [1.0] * 20, {})
    branch.explore()
    assert branch.located() == [20, 23]


def test_work_that_hardly_changes_may_change_the_time() -> None:
    """On the real branch: one operation more, other values in it, a third more time, for two commits."""
    work = [1.0] * 20 + [1.0001] * 2 + [1.0] * 22
    branch = Branch(work, {20: 0.3, 22: -0.3})
    timed = branch.explore()
    assert branch.located() == [20, 22]
    assert timed <= 2 + 1 + 2 * 2 + 44 // 16


def test_work_that_time_does_not_follow_is_no_event() -> None:
    branch = Branch([1.0] * 8 + [1.2] * 8, {8: -math.log(1.2)})
    branch.explore()
    assert branch.located() == []


def test_a_false_alarm_dies_at_the_second_look() -> None:
    branch = Branch([1.0] * 2, {}, noise=0.0)
    branch.trees[0] = Tree(branch.trees[0].cost, {"warm": TreeReading(0.0, 0.001)}, 1)
    branch.trees[1] = Tree(branch.trees[1].cost, {"warm": TreeReading(0.2, 0.001)}, 1)
    [probe] = plan(branch.trees, WORKLOADS, min_effect=0.05).probes
    assert probe.why is Why.CONFIRM
    branch.trees[1] = Tree(branch.trees[1].cost, {"warm": TreeReading(0.01, 0.001)}, 2)
    assert plan(branch.trees, WORKLOADS, min_effect=0.05) == plan([], {}, min_effect=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_many_events_are_found_with_a_third_of_the_trees(seed: int) -> None:
    chance = random.Random(seed)
    work, level = [], 1.0
    steps = set(chance.sample(range(5, 220), 25))
    for i in range(225):
        level *= chance.choice([0.7, 1.3, 1.6]) if i in steps else 1.0
        work.append(level)
    hidden = {chance.choice(range(30, 200)): 0.3}
    branch = Branch(work, hidden, noise=0.01, seed=seed)
    timed = branch.explore()
    assert set(branch.located()) == steps | set(hidden)
    assert timed <= 0.35 * 225


def test_the_budget_ends_what_is_under_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """H13: in the second batch, by a clock of its own; what the first one measured is kept."""
    now, measured = [0.0], []

    def measure(settings: Settings, commits: Sequence[Commit], **options: object) -> int:
        now[0] += 40.0
        if now[0] > 60.0:  # what the alarm of `held` does
            raise BudgetSpentError("the budget ended")
        measured.extend(commit.hash for commit in commits)
        return 0

    def looked_at(*arguments: object) -> tuple[list[Tree], dict[str, list[str]]]:
        known = {0, 40} if measured else set()
        return [
            Tree({}, {"s": TreeReading(math.log(1.0 + (i > 20)), 0.001)} if i in known else {})
            for i in range(41)
        ], {"s": []}

    commits = tuple(replace(commit(i + 1), tree=f"t{i}") for i in range(41))
    for name, stub in {
        "measure_commits": measure,
        "_trees": looked_at,
        "import_all": lambda *a: None,
        "commit_ledgers": lambda *a, **k: {},
        "known_ledgers": lambda *a: {},
        "workload_names": lambda *a: [],
        "Budget": lambda seconds: Budget(seconds, lambda: now[0]),
    }.items():
        monkeypatch.setattr(adaptive, name, stub)
    (tmp_path / ".nbbench").mkdir()
    asked = adaptive.Search(commits, budget_s=60.0)
    silent = {"show": lambda text: None, "detail": lambda text: None}
    found = adaptive.search(Settings(root=tmp_path), None, asked, **silent)  # type: ignore[arg-type]
    assert (found.stopped, now[0]) == ("budget", 80.0)
    assert measured and found.timed == 2
