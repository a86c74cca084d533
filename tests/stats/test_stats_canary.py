"""The machine's speed is taken out of a series where that is shown to help, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbbench.stats.canary import (
    LEAST_DISTURBED,
    LEAST_GAIN,
    LEAST_POINTS,
    MANY_LEFT,
    NEIGHBOURS,
    canary_jump,
    disturbed_beside,
    quiet_beside,
    remove_drift,
    without_disturbed,
)


def machine(n=300, seed=1):
    """A canary that wanders by some per cent over tens of points, and the noise of a series of its own."""
    rng = np.random.default_rng(seed)
    return np.exp(0.05 * np.sin(np.arange(n) / 12.0)), np.exp(0.01 * rng.standard_normal(n))


def test_what_the_canary_shows_is_removed_and_a_step_stays():
    canary, noise = machine()
    values = 2.0 * canary**0.8 * noise
    values[150:] *= 1.2
    corrected, share = remove_drift(values, canary)
    assert share < 0.5
    for part in (slice(0, 150), slice(150, 300)):
        assert np.std(np.log(values[part])) > 0.025
        # the noise of its own, 0.01, and what the running mean cannot follow
        assert np.std(np.log(corrected[part])) < 0.015
    assert np.median(corrected[150:]) / np.median(corrected[:150]) == pytest.approx(1.2, rel=0.01)


def test_a_canary_that_knows_nothing_is_left_alone():
    used = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values, canary = np.exp(0.03 * rng.standard_normal((2, 300)))
        corrected, share = remove_drift(values, canary)
        used += share < 1.0
        assert share == 1.0 or share <= LEAST_GAIN
        if share == 1.0:
            np.testing.assert_array_equal(corrected, values)
    assert used <= 5


def test_missing_values_stay_missing_and_do_not_disturb():
    canary, noise = machine()
    values = canary * noise
    values[5], canary[9] = np.nan, np.nan
    corrected, share = remove_drift(values, canary)
    assert share < 0.5
    assert np.isnan(corrected[5])
    assert corrected[9] == values[9]


@pytest.mark.parametrize("n", [0, 3, LEAST_POINTS - 1])
def test_few_points_come_back_as_they_are(n):
    values = np.arange(1.0, n + 1)
    corrected, share = remove_drift(values, values)
    np.testing.assert_array_equal(corrected, values)
    assert share == 1.0


def test_constant_series_and_constant_canary_come_back_as_they_are():
    wander, _ = machine()
    for values, canary in ((np.ones(300), wander), (wander, np.ones(300))):
        assert remove_drift(values, canary)[1] == 1.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        remove_drift(np.ones(30), np.ones(29))


def test_of_several_programs_the_one_that_helps_most_is_used():
    canary, noise = machine()
    other = np.exp(0.02 * np.random.default_rng(7).standard_normal(300))
    both = remove_drift(canary * noise, [other, canary])
    alone = remove_drift(canary * noise, canary)
    np.testing.assert_array_equal(both[0], alone[0])
    assert both[1] == alone[1] < 0.5


@given(level=st.floats(1e-6, 1e3), seed=st.integers(0, 1000))
def test_a_constant_canary_changes_nothing(level, seed):
    values = np.exp(0.03 * np.random.default_rng(seed).standard_normal(160)) * machine(160)[0]
    canary = np.full(160, level)
    corrected, share = remove_drift(values, canary)
    np.testing.assert_array_equal(corrected, values)
    assert share == 1.0
    assert not disturbed_beside(canary).any()
    assert canary_jump(canary[:80], canary[80:]) == 0.0


def test_what_was_disturbed_beside_stands_out_of_its_canary():
    canary = np.exp(0.002 * np.random.default_rng(1).standard_normal((2, 60)))
    canary[1, 20:23] *= 1.03
    canary[0, 40] *= 0.9  # faster is no contention
    canary[0, 50] = np.nan
    np.testing.assert_array_equal(np.flatnonzero(disturbed_beside(canary)), [20, 21, 22])
    assert not disturbed_beside(np.where(canary > 1.02, 1.0, canary)).any()


def test_a_burst_is_sought_in_the_order_of_measuring():
    rng = np.random.default_rng(1)
    speed = 1.0 + 0.05 * np.sin(np.arange(60) / 15)  # the machine wanders, and is disturbed for three points
    speed[30:33] *= 1.1
    timed = speed * np.exp(0.002 * rng.standard_normal(60))
    at = rng.permutation(60)
    canary = timed[at]
    assert not disturbed_beside(canary).any()
    np.testing.assert_array_equal(np.sort(at[disturbed_beside(canary, at)]), [30, 31, 32])


def test_a_quiet_canary_does_not_leave_points_out_for_nothing():
    canary = np.ones(60)
    canary[12:48:7] = math.exp(0.99 * LEAST_DISTURBED)
    assert not disturbed_beside(canary).any()
    canary[30] = math.exp(1.01 * LEAST_DISTURBED)
    np.testing.assert_array_equal(np.flatnonzero(disturbed_beside(canary)), [30])


def test_few_canaries_say_nothing():
    near = NEIGHBOURS[0]
    canary = np.ones(2 * near)
    canary[near] = 9.0
    assert not disturbed_beside(canary).any()
    assert disturbed_beside(np.append(canary, 1.0))[near]
    canary = np.ones(60)
    canary[[3, 55]] = 9.0
    assert not disturbed_beside(canary).any()


def test_others_that_stay_for_long_are_seen_in_a_long_series_only():
    canary = np.exp(0.002 * np.random.default_rng(1).standard_normal(200))
    canary[90:120] *= 1.12
    np.testing.assert_array_equal(np.flatnonzero(disturbed_beside(canary)), np.arange(90, 120))
    assert not disturbed_beside(canary[:150])[:90].any()
    assert not disturbed_beside(canary[50:130]).any()


def test_a_machine_that_stays_slower_is_another_machine():
    canary = np.exp(0.002 * np.random.default_rng(1).standard_normal(200))
    canary[140:] *= 1.12
    assert not disturbed_beside(canary).any()


def test_a_slow_wander_holds_nothing_up():
    canary, _ = machine()
    assert not disturbed_beside(canary).any()


def test_a_jump_is_the_ratio_of_medians_where_it_is_certain():
    before, after = [1.0, 1.01, 0.99, np.nan, 1.0, 9.0], [1.2, 1.21, 1.19, 1.2]
    assert canary_jump(before, after) == pytest.approx(math.log(1.2 / 1.0))
    assert canary_jump(after, before) == -canary_jump(before, after)
    assert canary_jump([1.0, 1.3, 0.8, 1.1], [1.1, 1.2, 0.9, 1.2]) == 0.0  # within its noise
    assert canary_jump(before, [1.2, 1.2]) == 0.0  # too few
    assert canary_jump([], []) == 0.0


def test_a_canary_as_loud_as_the_work_of_others_never_says_that_it_was_quiet():
    noise = np.random.default_rng(4).standard_normal(100)
    canaries, at = np.exp(np.array([0.01, 0.05])[:, None] * noise), np.arange(100.0)
    assert quiet_beside(canaries[:1], at).mean() > 0.95
    assert not quiet_beside(canaries, at).any()


@pytest.mark.parametrize(("left", "kept"), [(MANY_LEFT, False), (MANY_LEFT - 1, True)])
def test_few_undisturbed_values_are_not_judged_without_the_others(left, kept):
    values, disturbed = np.ones(60), np.arange(60) >= left
    assert np.isfinite(without_disturbed(values, disturbed)[disturbed]).all() == kept
    assert np.isfinite(without_disturbed(values, disturbed)[~disturbed]).all()
    assert np.isnan(without_disturbed(values[:9], disturbed[-9:] & (np.arange(9) < 4))).sum() == 4
