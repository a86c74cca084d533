"""Places at which the series of a machine jump together."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from nbbench.stats.shared import (
    LEAST_SERIES,
    REACH,
    SharedJumps,
    SharedSlowness,
    SharedSpeed,
    slow_alone,
    slow_in_a_row,
)

N, AT = 60, 30


def levels(values, at=None):
    """The numbers of the shared levels of the rows of ``values``."""
    found = SharedJumps(values.shape[1])
    turns = np.full(values.shape[1], np.nan) if at is None else np.asarray(at, dtype=float)
    for row in values:
        found.add(np.arange(row.size), row[None], turns)
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


def part(length=4, count=5):
    """Quiet series of which ``count`` stand out together, and those that do, as rows."""
    values = quiet()
    values[:count, AT : AT + length] += 0.3
    return values


@pytest.mark.parametrize("length", [3, 4, 6])
@pytest.mark.parametrize("count", [4, 5, 6])
def test_a_level_over_all_of_which_those_that_stand_out_do_so_is_one(length, count):
    assert ends(part(length, count)) == [AT, AT + length]


def test_too_few_series_that_stand_out_are_no_level():
    assert ends(part(count=3)) == []
    assert ends(part(count=LEAST_SERIES - 1)[: LEAST_SERIES - 1]) == []


@pytest.mark.parametrize("end", [AT, AT + 3])
def test_a_burst_meets_a_part_of_the_series_at_its_ends(end):
    values = part(count=6)
    values[:2, end] -= 0.3
    assert ends(values) == []
    values[1, end] += 0.3  # one in six of those that stand out may have been disturbed
    assert ends(values) == [AT, AT + 4]


def test_a_value_that_was_left_out_speaks_for_no_place():
    values = part(count=6)
    values[0, AT] = values[1, AT - 1] = values[2, AT + 3] = np.nan
    assert ends(values) == [AT, AT + 4]
    values[:4, AT] = np.nan  # three must show the place
    assert ends(values) == []


def test_a_level_of_which_more_is_left_out_than_beside_it_is_a_burst():
    values = part(length=6, count=6)
    values[:5, [AT + 1, AT + 4]] = np.nan
    assert ends(values) == []
    values[:5, [AT - 2, AT - 5, AT + 7, AT + 10]] = np.nan  # as much is left out beside it
    assert ends(values) == [AT, AT + 6]


def test_series_of_which_the_time_of_one_value_is_known():
    at = np.full(N, np.nan)
    at[-1] = 5.0
    assert ends(part(), at) == [AT, AT + 4]


def test_series_of_few_of_a_long_branch_take_no_memory_for_all_of_it():
    found = SharedJumps(100_000)
    places, row, at = np.arange(0, 100_000, 5_000), quiet()[:1, :20], np.full(20, np.nan)
    tracemalloc.start()
    for _ in range(50):
        found.add(places, row, at)
    assert not found.levels().any()
    assert tracemalloc.get_traced_memory()[0] < 10_000_000
    tracemalloc.stop()


def test_what_wavers_is_no_level_of_the_code():
    values = part(count=6)
    values[:6, AT : AT + 4] += [0.0, 0.15, 0.1, -0.1]
    assert ends(values) == []


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


def test_half_of_the_series_tell_where_the_level_was_measured_at_several_times():
    turns = np.random.default_rng(4).permutation(N)
    values = quiet()
    values[:5, AT : AT + 2] += 0.4
    assert ends(values, turns) == [AT, AT + 2]
    values = quiet()
    values[:5, AT] += 0.4
    assert ends(values, turns) == []


def test_a_burst_lies_over_all_that_is_measured_while_it_lasts():
    values = quiet()
    values[:5, AT : AT + 2] += 0.4
    assert ends(values) == [AT, AT + 2]  # three series were measured in between, and stay
    values = quiet()
    values[5:, AT] += 0.4
    values[:, AT + 1] += 0.4
    values[:5, AT + 2] += 0.4
    assert ends(values) == []


def test_half_of_the_series_tell_of_a_lone_commit_where_it_is_faster():
    values = quiet()
    values[:5, AT] -= 0.4
    assert ends(values) == [AT, AT + 1]
    assert ends(-values) == []
    between = quiet()
    between[:5, [AT - 1, AT + 1]] += 0.4  # two bursts leave what was there
    assert ends(between) == []


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


def test_what_was_measured_twice_jumps_where_it_does_so_both_times():
    once, again = quiet(), quiet(seed=2)
    once[:, [AT, AT + 9]] += 0.3
    again[:, AT] += 0.3
    found = SharedJumps(N)
    for pair in zip(once, again, strict=True):
        found.add(np.arange(N), np.array(pair), np.full(N, np.nan))
    assert (np.flatnonzero(np.diff(found.levels())) + 1).tolist() == [AT, AT + 1]


def factors(values, at):
    found = SharedSpeed(values.shape[1])
    for row in values:
        found.add(np.arange(row.size), row[None], np.asarray(at, dtype=float))
    return found.factors()


def test_what_was_measured_beside_a_commit_tells_how_slow_the_machine_was():
    turns = np.random.default_rng(3).permutation(N)
    values = quiet()
    values[:, (turns >= 20) & (turns < 20 + 2 * REACH)] += 0.4
    slow = (turns >= 20 + 1) & (turns < 20 + 2 * REACH - 1)
    found = np.log(factors(values, turns))
    assert np.nanmin(found[slow]) > 0.3
    assert np.nanmax(np.abs(found[(turns < 20 - REACH) | (turns > 20 + 3 * REACH)])) < 0.05


def test_what_a_commit_does_is_not_the_machines_speed():
    turns = np.random.default_rng(3).permutation(N)
    values = quiet()
    values[:, AT:] += 0.4
    values[:, 10] += 0.4
    assert np.nanmax(np.abs(np.log(factors(values, turns)))) < 0.05


@pytest.mark.parametrize("at", [np.arange(N), np.full(N, np.nan)])
def test_commit_after_commit_the_speed_is_not_known(at):
    values = quiet()
    values[:, AT : AT + 9] += 0.4
    assert np.isnan(factors(values, at)).all()


def shares(values):
    found = SharedSlowness(values.shape[1])
    for row in values:
        found.add(np.arange(row.size), row[None], np.full(row.size, np.nan))
    return found.shares()


def test_a_share_of_the_series_is_slow_at_a_commit():
    values = quiet()
    values[:3, AT] += 0.4
    values[:2, AT + 9] -= 0.4  # faster than around it
    values[7, AT] = np.nan
    found = shares(values)
    assert found[AT] == pytest.approx(3 / 7)
    assert np.delete(found, AT).max() <= 1 / 8  # by noise
    assert shares(np.full((2, N), np.nan)).tolist() == [0.0] * N


def test_a_value_is_slow_alone_away_from_what_half_of_the_series_do():
    values = quiet()
    values[0, [AT, AT + 5, AT + 9]] += 0.4
    values[1:5, AT + 6] += 0.4
    known = shares(values)
    assert np.flatnonzero(slow_alone(values[0], known)).tolist() == [AT, AT + 9]
    assert not slow_alone(values[1], known).any()
    assert not slow_alone(np.zeros(N), known).any()
    assert not slow_alone(values[0, :20], known[:20]).any()  # too few to tell
    none = np.zeros(0)
    assert slow_alone(none, none).size == slow_in_a_row(none, none, none).size == 0


def test_what_lies_on_a_series_for_a_while_is_slow_in_a_row_of_measuring():
    """A regression is slow on commits in a row, a burst on what was measured in a row."""
    turns = np.random.default_rng(16).permutation(N).astype(float)
    values = quiet()
    burst = (turns >= 20) & (turns < 23)
    values[0, burst] += 0.4
    values[1, AT : AT + 3] += 0.4
    known = shares(values)
    apart = np.abs(np.subtract.outer(np.flatnonzero(burst), np.flatnonzero(burst)))
    assert apart[apart > 0].min() > 10
    assert (slow_in_a_row(values[0], known, turns) == burst).all()
    assert not slow_in_a_row(values[1], known, np.arange(float(N))).any()
    assert not slow_in_a_row(values[1], known, turns).any()
    assert not slow_in_a_row(values[0], known, np.full(N, np.nan)).any()
    values[:4, burst] += 0.4
    assert not slow_in_a_row(values[1], shares(values), turns).any()  # all show it: `SharedSpeed` tells


def test_a_jump_that_all_but_the_disturbed_show_is_shared():
    values = quiet()
    values[:, AT:] -= 0.3
    values[:2, AT] += 3.0
    known = shares(values)
    assert ends(values) == []
    alone = np.array([slow_alone(row, known) for row in values])
    assert ends(np.where(alone, np.nan, values)) == [AT]
