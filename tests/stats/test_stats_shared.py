"""Places at which the series of a machine jump together."""

from __future__ import annotations

import numpy as np
import pytest

from nbbench.stats.shared import LEAST_SERIES, SharedJumps

N, AT = 60, 30


def levels(values, at=None):
    """The numbers of the shared levels of the rows of ``values``."""
    found = SharedJumps(values.shape[1])
    turns = np.full(values.shape[1], np.nan) if at is None else np.asarray(at, dtype=float)
    for row in values:
        found.add(np.arange(row.size), row, turns)
    return found.levels()


def quiet(count=8, seed=1):
    return 0.02 * np.random.default_rng(seed).standard_normal((count, N))


def ends(values, at=None):
    return (np.flatnonzero(np.diff(levels(values, at))) + 1).tolist()


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("size", [-0.3, 0.3])
def test_a_short_level_with_two_shared_ends_is_one(length, size):
    values = quiet()
    values[:, AT : AT + length] += size
    assert ends(values) == [AT, AT + length]


def test_a_burst_that_ends_within_a_commit_is_none():
    values = quiet()
    values[:, AT] += 0.4
    values[:4, AT + 1] += 0.4
    assert AT + 1 not in ends(values)  # where it began may still be a step, which the series show themselves


def test_one_series_in_six_need_not_follow_and_a_few_series_tell_nothing():
    values = quiet()
    values[1:, AT] += 0.3
    assert ends(values) == [AT, AT + 1]
    values[1:4, AT] -= 0.3
    assert ends(values) == []
    few = quiet(LEAST_SERIES - 1)
    few[:, AT] += 0.3
    assert ends(few) == []


def test_in_a_drawn_order_what_was_measured_next_tells():
    turns = np.random.default_rng(3).permutation(N)
    values = quiet()
    values[:, AT] += 0.3
    assert ends(values, turns) == [AT, AT + 1]
    after = int(np.flatnonzero(turns == turns[AT] + 1)[0])
    values[:, after] += 0.3
    assert ends(values, turns) == []


def test_the_newest_values_wait_for_their_end_and_wandering_of_all_is_no_level():
    values = quiet()
    values[:, -2:] += 0.3
    assert ends(values) == []
    together = quiet() + 0.05 * np.random.default_rng(5).standard_normal(N)
    assert ends(together) == []


def test_values_that_were_left_out_and_constant_series_do_not_disturb():
    values = quiet()
    values[:, AT] += 0.3
    values[0, AT] = np.nan
    assert ends(np.vstack([values, np.zeros(N)])) == [AT, AT + 1]
    assert levels(np.full((8, N), np.nan)).tolist() == [0] * N
