"""The search for a culprit, against simulated branches whose truth is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbbench.gate.bisect_search import Found, Knowledge, Mark, Probe, bounds, next_probe, work_steps


def search(
    levels: list[float],
    steps: dict[int, float] | None = None,
    broken: set[int] = frozenset(),
    unclear: set[int] = frozenset(),
) -> tuple[Found, list[Probe]]:
    """Run the search on known log levels; returns the answer and the comparisons made."""
    marks: dict[int, Mark] = {}
    verified: dict[int, Mark] = {}
    made: list[Probe] = []
    while True:
        known = Knowledge(len(levels), levels[-1] - levels[0], steps or {}, marks, verified)
        answer = next_probe(known)
        if isinstance(answer, Found):
            return answer, made
        made.append(answer)
        assert len(made) <= 3 * len(levels), "it never ends"
        if answer.index in broken:
            marks[answer.index] = Mark.BROKEN
            continue
        if answer.reference in broken:
            marks[answer.reference] = Mark.BROKEN
            continue
        slower = levels[answer.index] - levels[answer.reference] > answer.threshold
        mark = Mark.BAD if slower else Mark.GOOD
        if answer.index in unclear:
            mark = Mark.UNCLEAR
        (verified if answer.verify else marks)[answer.index] = mark


@given(st.integers(2, 60), st.data())
def test_a_single_step_is_found_and_verified(count: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, count - 1))
    found, made = search([0.0] * at + [0.2] * (count - at))
    assert found == Found(at, at, True)
    assert len(made) <= math.ceil(math.log2(count)) + 2


def test_work_that_accounts_for_it_needs_one_comparison() -> None:
    found, made = search([0.0] * 50 + [0.2] * 50, steps={20: 0.02, 50: 0.18})
    assert found == Found(50, 50, True)
    assert made == [Probe(50, 49, 0.09, verify=True)]


def test_work_that_grew_without_costing_time_is_refuted_and_time_decides() -> None:
    found, made = search([0.0] * 30 + [0.2] * 20, steps={10: 0.3})
    assert found == Found(30, 30, True)
    assert made[0].index == 10


def test_broken_commits_are_passed_over_and_give_a_range() -> None:
    found, _ = search([0.0] * 8 + [0.2] * 8, broken={7, 8, 9})
    assert found == Found(7, 10, True)


def test_the_parent_of_a_step_of_work_may_be_broken() -> None:
    found, _ = search([0.0] * 8 + [0.2] * 8, steps={8: 0.2}, broken={7})
    assert found == Found(7, 8, True)


def test_what_cannot_be_told_ends_in_a_range() -> None:
    found, _ = search([0.0] * 8 + [0.2] * 8, unclear={7, 8})
    assert found == Found(7, 9, False) or (found.first <= 8 <= found.last)
    assert not (found.verified and found.first == found.last)


def test_neighbours_need_no_further_comparison() -> None:
    assert search([0.0, 0.3]) == (Found(1, 1, True), [])


@given(
    st.lists(st.sampled_from([-0.1, 0.0, 0.0, 0.0, 0.15, 0.4]), min_size=1, max_size=30),
    st.sets(st.integers(1, 28)),
    st.sets(st.integers(1, 28)),
)
def test_it_always_ends_inside_the_range(moves: list[float], broken: set[int], unclear: set[int]) -> None:
    levels = [0.0]
    for move in moves:
        levels.append(levels[-1] + move)
    if levels[-1] <= 0:
        return
    last = len(levels) - 1
    found, _ = search(levels, broken=broken - {last}, unclear=unclear - {last})
    assert 1 <= found.first <= found.last <= last


def test_bounds_take_the_first_bad_and_the_good_before_it() -> None:
    marks = {3: Mark.GOOD, 6: Mark.BAD, 8: Mark.GOOD, 4: Mark.BROKEN}
    assert bounds(Knowledge(10, 0.2, {}, marks, {})) == (3, 6)


@pytest.mark.parametrize(
    ("costs", "steps"),
    [
        ([{"w": 1.0}, {"w": 1.0}, {"w": 2.0}], {2: math.log(2)}),
        ([{"w": 1.0}, {}, {"w": 2.0}], {2: math.log(2)}),
        ([{"w": 2.0}, {"w": 1.0}], {}),
        ([{"w": 1.0, "v": 1.0}, {"w": 1.1, "v": 4.0}], {1: math.log(4)}),
    ],
)
def test_steps_of_work(costs: list[dict[str, float]], steps: dict[int, float]) -> None:
    assert work_steps(costs) == pytest.approx(steps)
