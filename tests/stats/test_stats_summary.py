import math

import numpy as np
import pytest
from scipy import stats as reference

from nbbench.stats.summary import difference_sigma, median_interval, ratio_percent


@pytest.mark.parametrize(
    ("n", "rank", "coverage"),
    [(1, 1, 0.0), (2, 1, 0.5), (5, 1, 1 - 2 / 32), (6, 1, 0.96875), (10, 2, 1002 / 1024), (100, 40, 0.9648)],
)
def test_the_median_interval_is_that_of_the_tables(n, rank, coverage):
    samples = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert median_interval(samples) == (rank, n + 1 - rank, pytest.approx(coverage, abs=1e-4))


@pytest.mark.parametrize("n", [7, 33, 250, 5000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_coverage_is_the_binomial_one_and_the_interval_the_narrowest(n, confidence):
    lo, _, coverage = median_interval(np.arange(1.0, n + 1), confidence)
    rank = int(lo)
    assert coverage == pytest.approx(1 - 2 * reference.binom.cdf(rank - 1, n, 0.5), rel=1e-8)
    assert coverage >= confidence or rank == 1
    assert rank == (n + 1) // 2 or 1 - 2 * reference.binom.cdf(rank, n, 0.5) < confidence


def test_missing_samples_are_left_out():
    assert median_interval([1.0, math.nan, 3.0, math.inf]) == median_interval([1.0, 3.0])


@pytest.mark.parametrize("samples", [[], [math.nan], [math.inf, -math.inf]])
def test_nothing_to_summarise_is_an_error(samples):
    with pytest.raises(ValueError, match="no finite sample"):
        median_interval(samples)


def test_wrong_shapes_are_errors():
    with pytest.raises(ValueError, match="one dimension"):
        median_interval([[1.0, 2.0]])


def test_a_log_ratio_as_percent():
    assert ratio_percent(math.log(1.1)) == pytest.approx(10.0)
    assert ratio_percent(math.log(0.5)) == pytest.approx(-50.0)
    assert ratio_percent(-math.inf) == -100.0
    assert ratio_percent(math.inf) == ratio_percent(1e6) == math.inf


def test_difference_sigma_sees_noise_and_neither_steps_nor_spikes():
    values = 0.02 * np.random.default_rng(1).standard_normal(2000)
    plain = difference_sigma(values)
    assert plain == pytest.approx(0.02, rel=0.05)
    values[300:] += 5.0
    values[900:] -= 9.0
    values[[100, 500, 1500]] += 40.0
    assert difference_sigma(values) == pytest.approx(plain, rel=0.02)


def test_difference_sigma_of_almost_nothing_is_zero():
    assert difference_sigma([]) == difference_sigma([1.0, 2.0]) == difference_sigma([3.0] * 9) == 0.0
