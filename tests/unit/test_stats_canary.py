"""The machine's speed is taken out of a series where that is shown to help, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nbbench.stats.canary import LEAST_GAIN, canary_jumps, remove_drift


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


@pytest.mark.parametrize("n", [0, 3, 149])
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


def test_a_jump_of_the_canary():
    canary = np.array([1.0] * 10 + [1.5] * 10)
    canary[3] = np.nan
    assert canary_jumps(canary, 10) == pytest.approx(math.log(1.5))
    assert canary_jumps(canary, 15) == 0.0
    assert canary_jumps(np.full(20, np.nan), 10) == 0.0
