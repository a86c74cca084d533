"""The minimal set against brute force on small sets, and the bound on the number of tests."""

from __future__ import annotations

from itertools import chain, combinations
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbbench.stats.minimal_set import TooManyTests, Trial, shrinking_sets

ITEMS = 6


class Asked:
    """A test of sets that counts what it is asked; nothing may be asked twice."""

    def __init__(self, outcome):
        self.outcome, self.sets = outcome, []

    def __call__(self, sets):
        assert sets and not set(sets) & set(self.sets)
        self.sets += sets
        return [self.outcome(one) for one in sets]


def minimal_set(items, test, **options):
    found = tuple(items)
    try:
        for smaller in shrinking_sets(found, test, **options):
            found = smaller
    except TooManyTests:
        return found, False
    return found, True


def subsets(items):
    return map(frozenset, chain.from_iterable(combinations(items, n) for n in range(len(items) + 1)))


def shows_if(*causes):
    """Shows the change where all items of one of the causes are there."""
    return lambda one: Trial.SHOWS if any(cause <= one for cause in map(frozenset, causes)) else Trial.LACKS


@given(
    st.sets(st.frozensets(st.integers(0, ITEMS - 1), min_size=1), min_size=1, max_size=3),
    st.sets(st.frozensets(st.integers(0, ITEMS - 1), min_size=1, max_size=ITEMS - 1), max_size=5),
    st.lists(st.frozensets(st.integers(0, ITEMS - 1)), max_size=2),
    st.integers(1, 3),
)
def test_against_brute_force(causes, broken, starts, width):
    """Of each kind of program: one or several causes, some combinations that do not run, any guesses."""

    def outcome(one):
        return Trial.UNRESOLVED if one in broken else shows_if(*causes)(one)

    asked = Asked(outcome)
    found, minimal = minimal_set(range(ITEMS), asked, starts=starts, width=width)
    assert minimal
    assert len(asked.sets) <= ITEMS**2 + 3 * ITEMS + len(starts) + width
    whole = set(found) == set(range(ITEMS))
    assert whole or outcome(frozenset(found)) is Trial.SHOWS
    assert len(found) == 1 or not any(outcome(frozenset(found) - {one}) is Trial.SHOWS for one in found)
    if not broken:  # then a set of which nothing can be left out is one of the smallest by inclusion
        smallest = [s for s in subsets(range(ITEMS)) if shows_if(*causes)(s) is Trial.SHOWS]
        assert frozenset(found) in [s for s in smallest if not any(other < s for other in smallest)]


@pytest.mark.parametrize("width", [1, 2])
def test_one_cause_among_many_takes_few_tests(width):
    for cause in range(64):
        asked = Asked(shows_if({cause}))
        assert minimal_set(range(64), asked, width=width) == ((cause,), True)
        assert len(asked.sets) <= 2 * log2(64)


def test_a_right_guess_is_all_that_is_tried():
    asked = Asked(shows_if({7}))
    assert minimal_set(range(30), asked, starts=[[7], [7, 8, 9]]) == ((7,), True)
    assert asked.sets == [frozenset([7])]


def test_a_wrong_guess_costs_one_test():
    asked = Asked(shows_if({7}))
    assert minimal_set(range(8), asked, starts=[[], [1, 2], range(8)]) == ((7,), True)
    assert asked.sets[0] == frozenset([1, 2])


def test_the_items_keep_their_order():
    found, _ = minimal_set("gaterb", Asked(shows_if("ab")))
    assert found == ("a", "b")


def test_the_bound_leaves_the_smallest_set_so_far():
    asked = Asked(shows_if({0, 63}))
    found, minimal = minimal_set(range(64), asked, starts=[range(0, 64, 3)], most=4)
    assert not minimal and {0, 63} <= set(found) < set(range(64))
    assert len(asked.sets) <= 4


def test_one_item_needs_no_test():
    asked = Asked(shows_if({3}))
    assert minimal_set([3], asked) == ((3,), True)
    assert not asked.sets
