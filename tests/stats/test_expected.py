"""What a change of work, and the other series at its commit, let expect of a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbbench.stats.expected import LEAST_SPREAD, OWN_WAY, expected_effects

NONE = (0.0, 0.0)


def follows(count: int, noise: float = 0.0, share: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Effects (count,) that follow ``share`` of the change of bytes, and the changes of work (count, 2)."""
    work = np.random.default_rng(count).normal(0.0, 0.2, (count, 2))
    return share * work[:, 0] + noise * np.random.default_rng(count + 1).normal(size=count), work


def test_one_change_alone_says_nothing_of_itself():
    expected, spread = expected_effects([0.3], [0.01], [NONE], ["a"])
    assert (expected.tolist(), spread.tolist()) == ([0.0], [LEAST_SPREAD])
    expected, spread = expected_effects([0.3], [0.01], [(0.2, 0.1)], ["a"])
    assert expected == pytest.approx([0.0], abs=1e-12)
    assert LEAST_SPREAD < spread[0] < 0.2 + 0.1


def test_without_work_the_others_at_the_place_are_all_that_tells():
    effects = [0.3, 0.3, 0.3, 0.0, 0.5]
    expected, _ = expected_effects(effects, [0.01] * 5, [NONE] * 5, [*"aaaab"])
    assert expected == pytest.approx([0.3 * 3 / (3 + OWN_WAY)] * 4 + [0.0])


def test_the_others_count_by_how_well_they_are_known():
    expected, _ = expected_effects([0.3, 0.0, 0.0, 0.3], [0.01, 0.5, 0.5, 0.01], [NONE] * 4, [*"aaaa"])
    assert expected[1] == pytest.approx(0.3 * 3 / (3 + OWN_WAY))


def test_more_work_never_lets_expect_less_time():
    effects, work = follows(30, share=-1.0)
    assert (expected_effects(effects, np.full(30, 0.01), work, np.arange(30))[0] == 0.0).all()


def test_the_work_predicts_by_all_changes_but_the_one_asked_about():
    """Closed form: ridge regression through the origin without it."""
    effects, work = follows(30, noise=0.005)
    expected, _ = expected_effects(effects, np.full(30, 0.05), work, np.arange(30))
    for i in range(30):
        rest, variance = np.arange(30) != i, 0.05**2 + LEAST_SPREAD**2
        normal = work[rest].T @ work[rest] / variance + np.eye(2)
        slope = np.linalg.solve(normal, work[rest].T @ effects[rest] / variance)
        assert expected[i] == pytest.approx(work[i] @ np.maximum(slope, 0.0), abs=1e-9)


def test_a_change_that_does_not_follow_its_work_bends_no_other():
    effects, work = follows(40)
    effects[7] += 3.0
    expected, spread = expected_effects(effects, np.full(40, 0.01), work, np.arange(40))
    assert np.delete(expected, 7) == pytest.approx(np.delete(0.8 * work[:, 0], 7), abs=0.02)
    assert abs(expected[7] - 0.8 * work[7, 0]) < 0.03
    assert spread == pytest.approx(np.full(40, LEAST_SPREAD), rel=0.2)


def test_what_noise_tells_is_not_sure():
    """Three others that are known to 50 % each tell no more than one: the machine moves all at once."""
    _, spread = expected_effects([0.5, -0.4, 0.3, 0.1], [0.5] * 4, [NONE] * 4, [*"aaaa"])
    unsure = 3 / (3 + OWN_WAY) * 0.5
    assert spread == pytest.approx([np.hypot(unsure, LEAST_SPREAD)] * 4, rel=0.01)


def test_the_spread_is_what_the_errors_do_not_explain():
    effects, work = follows(400, noise=0.1)
    _, spread = expected_effects(effects, np.full(400, 0.06), work, np.arange(400))
    assert spread == pytest.approx(0.08, rel=0.2)


@given(st.permutations(range(8)))
def test_the_order_of_the_series_is_no_matter(order):
    effects, work = follows(8, noise=0.02)
    places = np.array([*"aaabbccc"])
    errors = np.linspace(0.01, 0.08, 8)
    first, spread = expected_effects(effects, errors, work, places)
    index = list(order)
    again, same = expected_effects(effects[index], errors[index], work[index], places[index])
    assert again == pytest.approx(first[index], abs=1e-9)
    assert same == pytest.approx(spread[index])
