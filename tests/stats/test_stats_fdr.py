import math

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from nbbench.stats.paired import e_select, q_values


@pytest.mark.parametrize("n", [1, 2, 17, 400])
def test_agrees_with_scipy(n):
    p = np.random.default_rng(n).random(n) ** 3
    np.testing.assert_allclose(q_values(p), false_discovery_control(p), rtol=1e-12)


def test_by_hand():
    # Benjamini and Hochberg (1995), section 4: of these, the four smallest are rejected at 0.05
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    assert int((q_values(p) <= 0.05).sum()) == 4


def test_unlisted_tests_count_as_ones():
    p = np.array([0.001, 0.03])
    np.testing.assert_allclose(q_values(p, tests=50), false_discovery_control(np.r_[p, np.ones(48)])[:2])


def test_nothing_in_nothing_out():
    assert q_values([]).shape == (0,)


@pytest.mark.parametrize("p", [[-0.1], [1.1], [np.inf], [np.nan]])
def test_values_that_are_no_probabilities_are_errors(p):
    with pytest.raises(ValueError, match="inside"):
        q_values(p)


def test_too_few_tests_are_an_error():
    with pytest.raises(ValueError, match="fewer"):
        q_values([0.1, 0.2], tests=1)


def test_e_select_rejects_the_largest_step_up():
    logs = np.log([900.0, 450.0, 10.0, 1.0])
    assert e_select(logs, 0.01).tolist() == [True, True, False, False]
    assert e_select(logs[::-1], 0.01).tolist() == [False, False, True, True]
    # one alone needs 4 / 0.01, all four 1 / 0.01 each
    assert not e_select(np.log([399.0, 1.0, 1.0, 1.0]), 0.01).any()
    assert e_select(np.log([101.0] * 4), 0.01).all()
    assert e_select([], 0.01).size == 0


def test_e_select_finds_nothing_in_true_hypotheses_but_for_alpha():
    rng = np.random.default_rng(12)
    # e-values that reach 1/alpha as often as Markov's inequality allows, all dependent
    worst = np.where(rng.random(4000) < 0.05, math.log(20.0), -math.inf)
    assert np.mean([e_select(np.full(5, value), 0.05).any() for value in worst]) <= 0.06


@pytest.mark.parametrize(
    ("values", "alpha"), [([math.nan], 0.01), ([[1.0]], 0.01), ([1.0], 0.0), ([1.0], 1.0)]
)
def test_e_select_rejects_bad_input(values, alpha):
    with pytest.raises(ValueError, match=r"alpha|dimension"):
        e_select(values, alpha)
