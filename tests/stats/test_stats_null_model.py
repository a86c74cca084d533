import itertools

import numpy as np
import pytest
from scipy import stats as reference

from nbbench.stats.noise import Noise
from nbbench.stats.scan import (
    compare,
    critical_value,
    equivalent_statistic,
    max_p_value,
    null_parameters,
    pick,
    scan,
    window_lengths,
)
from tests.bench.calibration import fit_null, null_maxima, null_table


@pytest.mark.parametrize("n", [6, 13, 60, 245, 1200, 5000])
@pytest.mark.parametrize("p", [0.2, 0.01, 1e-6])
def test_critical_values_invert_p_values(n, p):
    assert max_p_value(critical_value(n, p), n) == pytest.approx(p, rel=1e-4)
    assert max_p_value(-critical_value(n, p), n) == pytest.approx(p, rel=1e-4)


def test_p_values_fall_with_the_contrast_and_stay_probabilities():
    p = [max_p_value(t, 245) for t in np.linspace(0, 60, 200)]
    assert all(a >= b for a, b in itertools.pairwise(p))
    assert 0.0 <= p[-1] < 1e-12
    assert p[0] == pytest.approx(1.0)


def test_longer_series_need_greater_contrasts():
    values = [critical_value(n, 0.01) for n in (30, 60, 120, 245, 500, 1200, 4000, 20000)]
    assert values == sorted(values)
    assert null_parameters(2400)[0] == pytest.approx(2 * null_parameters(1200)[0])


def test_a_contrast_from_few_points_is_worth_less():
    assert equivalent_statistic(8.0, 4.0, 60) < 5.0
    assert equivalent_statistic(8.0, 1e9, 60) == 8.0


def test_the_fit_recovers_a_known_family():
    levels = np.array([0.1, 0.05, 0.02, 0.01, 0.005, 0.002])
    quantiles = reference.t.isf(-np.expm1(np.log1p(-levels) / 80) / 2, 15)
    tests, freedom, error = fit_null(quantiles, levels)
    assert tests == pytest.approx(80, rel=0.1)
    assert freedom == pytest.approx(15, rel=0.05)
    assert error < 1.02


@pytest.mark.parametrize(("n", "series"), [(12, 600), (60, 500), (245, 150)])
def test_the_table_still_describes_the_scan(n, series):
    # 1.37 is the table's own error; three standard errors for counting
    share = np.mean(null_maxima("laplace", n, series, seed=20260113) > critical_value(n, 0.05))
    assert share <= 1.37 * 0.05 + 3 * np.sqrt(0.05 / series)


def test_a_row_of_the_table_can_be_recomputed():
    ((n, tests, freedom, error),) = null_table((20,), 150, seed=1)
    assert n == 20
    assert 2 < tests < 40
    assert 2 <= freedom <= 100
    assert error >= 1.0


def test_windows_grow_and_leave_room_for_the_other_side():
    assert window_lengths(30).tolist() == [3, 4, 6, 9, 13, 19]
    assert window_lengths(5).size == 0


def test_the_scan_by_hand():
    values = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    found = scan(compare(values), Noise(0.5, 0.0, np.ones(6)))
    assert (found.left.tolist(), found.right.tolist()) == ([3], [3])
    # (1 - 0)^2 / (0.25 (1/3 + 1/3)) at the split, and nothing elsewhere
    assert found.squared[0].tolist() == pytest.approx([0, 0, 0, 6, 0, 0, 0])


def test_picked_cuts_do_not_look_across_each_other():
    values = np.repeat([0.0, 1.0, 0.0, 2.0], 10) + 0.01 * np.random.default_rng(1).standard_normal(40)
    assert pick(scan(compare(values), Noise(0.01, 0.0, np.ones(40))), 10.0) == [10, 20, 30]
