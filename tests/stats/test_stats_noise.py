import numpy as np
import pytest

from nbbench.stats.noise import (
    LEAST_SIGMA,
    clip_spikes,
    contrast_variance,
    estimate_noise,
    loudness,
    mean_variance,
    running_median,
    white_noise,
)
from tests.bench.calibration import noise_sample


def test_running_median_drops_short_excursions_and_keeps_longer_levels():
    values = np.array([0, 0, 0, 9, 9, 0, 0, 0, 5, 5, 5, 0, 0, 0, 7, 7, 7], dtype=float)
    expected = [0, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 0, 0, 0, 7, 7, 7]
    assert running_median(values, 2).tolist() == expected


def test_running_median_of_fewer_points_than_its_window():
    assert running_median(np.array([3.0, 1.0, 2.0]), 2).tolist() == [2.0, 2.0, 2.0]
    assert running_median(np.array([3.0, 1.0]), 2).tolist() == [3.0, 1.0]


def test_a_spike_is_pulled_back_and_a_level_is_not():
    values = 0.02 * np.random.default_rng(2).standard_normal(60)
    values[20] += 3.0
    values[40:] += 1.0
    clipped = clip_spikes(values, np.ones(values.size))
    assert abs(clipped[20]) < 0.1
    assert clipped[40:].min() > 0.9
    assert np.mean(clipped != values) < 0.1


def _direct_variance(weights, rho):
    lag = np.abs(np.subtract.outer(np.arange(weights.size), np.arange(weights.size)))
    return float(weights @ rho**lag @ weights)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 5), (40, 3)])
def test_variances_of_means_are_the_sums_of_autocovariances(rho, left, right):
    weights = np.r_[np.full(left, -1 / left), np.full(right, 1 / right)]
    assert mean_variance(float(left), rho) == pytest.approx(_direct_variance(weights[:left], rho))
    assert contrast_variance(float(left), float(right), rho) == pytest.approx(_direct_variance(weights, rho))


@pytest.mark.parametrize(("kind", "rho"), [("gaussian", 0.0), ("ar1", 0.5)])
def test_noise_is_found_under_steps_and_spikes(kind, rho):
    values = 0.03 * noise_sample(kind, 1200, np.random.default_rng(3))
    values[700:] += 0.5
    values[::97] += 2.0
    noise = estimate_noise(clip_spikes(values, np.ones(1200)), np.ones(1200))
    assert noise.sigma == pytest.approx(0.03, rel=0.12)
    assert noise.rho == pytest.approx(rho, abs=0.1)


def test_the_floor_holds_where_nothing_moves():
    assert white_noise(np.ones(10), np.ones(10)).sigma == LEAST_SIGMA
    assert estimate_noise(np.ones(10), np.ones(10)).sigma == LEAST_SIGMA


def test_a_coarse_clock_has_noise_though_most_differences_are_zero():
    values = np.where(np.random.default_rng(4).random(300) < 0.15, 1.0, 0.0)
    assert white_noise(values, np.ones(300)).sigma == pytest.approx(0.36, abs=0.08)


@pytest.mark.parametrize("seed", range(4))
def test_a_loud_part_beside_a_quiet_one_is_no_memory(seed):
    """A pool of machines for 540 commits and one machine for 360; no value remembers the one before."""
    rng = np.random.default_rng(seed)
    noise = 0.01 * rng.standard_normal(900)
    noise[:540] += np.log(rng.choice([0.97, 1.15, 1.32, 1.55, 1.95], 540))
    loud = loudness(noise)
    assert estimate_noise(clip_spikes(noise, loud), loud).rho < 0.2
