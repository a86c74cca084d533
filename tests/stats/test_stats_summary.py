import math

import numpy as np
import pytest
from scipy import stats as reference

from nbbench.stats.summary import difference_sigma, median_interval_ranks, ratio_percent, summarise


def test_figures_of_a_small_sample_by_hand():
    s = summarise([5.0, 1.0, 4.0, 2.0, 3.0])
    assert s.n == 5
    assert (s.ci_lo, s.ci_hi, s.ci_coverage) == (1.0, 5.0, pytest.approx(1 - 2 / 32))


@pytest.mark.parametrize(
    ("n", "rank", "coverage"),
    [(1, 1, 0.0), (2, 1, 0.5), (6, 1, 0.96875), (10, 2, 1002 / 1024), (100, 40, 0.9648)],
)
def test_ranks_of_the_median_interval_are_those_of_the_tables(n, rank, coverage):
    found = median_interval_ranks(n, 0.95)
    assert found == (rank, pytest.approx(coverage, abs=1e-4))


@pytest.mark.parametrize("n", [7, 33, 250, 5000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_coverage_is_the_binomial_one_and_the_interval_the_narrowest(n, confidence):
    rank, coverage = median_interval_ranks(n, confidence)
    assert coverage == pytest.approx(1 - 2 * reference.binom.cdf(rank - 1, n, 0.5), rel=1e-8)
    assert coverage >= confidence or rank == 1
    assert rank == (n + 1) // 2 or 1 - 2 * reference.binom.cdf(rank, n, 0.5) < confidence


def test_one_sample_has_no_coverage():
    s = summarise([2.5])
    assert (s.ci_lo, s.ci_hi, s.ci_coverage) == (2.5, 2.5, 0.0)


def test_missing_samples_are_left_out():
    assert summarise([1.0, math.nan, 3.0, math.inf]) == summarise([1.0, 3.0])


@pytest.mark.parametrize("samples", [[], [math.nan], [math.inf, -math.inf]])
def test_nothing_to_summarise_is_an_error(samples):
    with pytest.raises(ValueError, match="no finite sample"):
        summarise(samples)


def test_wrong_shapes_and_confidences_are_errors():
    with pytest.raises(ValueError, match="one dimension"):
        summarise([[1.0, 2.0]])
    with pytest.raises(ValueError, match="confidence"):
        summarise([1.0], confidence=1.0)


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
