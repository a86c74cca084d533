"""Steps at known places, by closed forms and by their error rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from nbbench.stats.changepoint import detect_steps
from nbbench.stats.known import known_steps, lent_values, place_tests

ASKED = {"alpha": 0.05, "min_effect": 0.05}


def noise(n: int, cv: float, seed: int = 1) -> np.ndarray:
    return np.exp(cv * np.random.default_rng(seed).standard_normal(n))


def runs(*lengths: int) -> np.ndarray:
    """Numbers of levels with these lengths."""
    return np.repeat(np.arange(len(lengths)), lengths)


def test_a_step_has_its_place_levels_and_the_p_value_of_student():
    values = np.concatenate((np.full(10, 1.0), np.full(2, 1.5), np.full(10, 1.0))) * noise(22, 0.01)
    steps, factors = known_steps(values, runs(10, 2, 10), **ASKED)
    assert [(s.lo, s.index, s.hi) for s in steps] == [(10, 10, 10), (12, 12, 12)]
    up, down = steps
    assert up.before == pytest.approx(np.median(values[:10]))
    assert up.after == pytest.approx(math.exp(np.median(np.log(values[10:12]))))
    assert up.effect == pytest.approx(math.log(up.after / up.before))
    error = (up.effect_hi - up.effect) / 1.959963984540054
    assert up.p_value == pytest.approx(2 * t.sf(abs(up.effect) / error, 20))
    assert factors[[0, 10, 12]] == pytest.approx(
        (1.0, up.after / up.before, down.after / up.before), rel=0.02
    )


def test_one_commit_counts_where_its_work_says_so_and_not_where_it_does_not():
    values = np.where(np.arange(60) == 30, 1.4, 1.0) * noise(60, 0.02)
    assert [s.index for s in known_steps(values, runs(30, 1, 29), **ASKED)[0]] == [30, 31]
    assert known_steps(values, np.zeros(60, dtype=int), **ASKED)[0] == ()
    assert detect_steps(values, **ASKED) == ()


def test_real_steps_do_not_inflate_the_noise_in_which_others_are_judged():
    """Ten levels of three commits, 20 % apart: the search takes them for noise with a memory."""
    rng = np.random.default_rng(5)
    level = np.repeat(rng.permutation(np.tile((1.0, 1.2), 5)), 3)
    values = level * noise(30, 0.01)
    true = (np.flatnonzero(np.diff(level)) + 1).tolist()
    assert [s.index for s in known_steps(values, runs(*[3] * 10), **ASKED)[0]] == true


def test_a_slow_drift_between_places_swallows_no_known_step():
    drift = np.exp(np.linspace(0.0, 0.3, 120))
    values = np.where(np.arange(120) >= 60, 1.2, 1.0) * drift * noise(120, 0.01)
    assert [s.index for s in known_steps(values, runs(60, 60), **ASKED)[0]] == [60]


@pytest.mark.parametrize("away", [-3, -2, 2, 3])
def test_a_step_a_few_commits_away_is_not_of_the_known_place(away):
    values = np.where(np.arange(60) >= 30 + away, 1.3, 1.0) * noise(60, 0.01)
    assert known_steps(values, runs(30, 30), **ASKED)[0] == ()


@pytest.mark.parametrize("lengths", [(60, 60), (20,) * 6, (50, 1, 50, 2, 17)])
def test_places_at_which_nothing_happened_are_believed_no_oftener_than_alpha(lengths):
    n = sum(lengths)
    told = sum(
        bool(known_steps(noise(n, 0.05, s), runs(*lengths), alpha=0.05, min_effect=0.0)[0])
        for s in range(300)
    )
    assert told <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize("values", [[1.0] * 5, [0.0] * 30, [-1.0] * 30, [math.nan] * 30])
def test_too_few_values_or_none_that_have_a_logarithm(values):
    steps, factors = known_steps(values, np.arange(len(values)), **ASKED)
    assert steps == ()
    assert (factors == 1.0).all()


@given(st.floats(1e-6, 1e6), st.lists(st.integers(0, 60), max_size=12), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_scale_and_missing_values_change_no_verdict(scale, missing, seed):
    level = np.repeat((1.0, 1.5, 1.0), (25, 10, 25))
    values, number = level * noise(60, 0.01, seed), runs(25, 10, 25)
    steps, _ = known_steps(values, number, **ASKED)
    scaled, _ = known_steps(scale * values, number, **ASKED)
    assert [(s.index, s.lo, s.hi) for s in scaled] == [(s.index, s.lo, s.hi) for s in steps]
    assert [s.effect for s in scaled] == pytest.approx([s.effect for s in steps], abs=1e-9)
    wider, _ = known_steps(np.insert(values, missing, np.nan), np.insert(number, missing, 0), **ASKED)
    assert [s.effect for s in wider] == pytest.approx([s.effect for s in steps])


def test_a_step_lies_at_the_commit_that_changed_the_work_though_its_first_values_are_missing():
    values = np.repeat((1.0, 1.5), 20) * noise(40, 0.01)
    values[20:24] = math.nan
    ((step,), _) = known_steps(values, runs(20, 20), **ASKED)
    assert (step.lo, step.index, step.hi) == (20, 24, 20)
    ((step,), _) = known_steps(values, runs(20, 2, 18), **ASKED)
    assert (step.lo, step.hi) == (20, 22)


def test_a_level_without_undisturbed_values_is_lent_what_was_measured_there():
    """Disturbed values of the other levels are 0.2 too high in the middle, with a MAD of 0.1."""
    levels, values = runs(12, 2, 12), np.repeat((1.0, 3.0, 2.0), (12, 2, 12))
    measured = values.copy()
    off = [0.0, 0.1, 0.2, 0.3, 0.4]
    disturbed = [*range(0, 10, 2), *range(14, 24, 2)]
    measured[disturbed] *= np.exp(off * 2)
    clean = values.copy()
    clean[[*disturbed, 12, 13]] = math.nan
    lent, error = lent_values(clean, measured, levels)
    assert lent[12:14] == pytest.approx(3.0 * math.exp(-0.2))
    assert error[12:14] == pytest.approx(0.1 * 1.4826, rel=1e-3)
    assert np.isnan(lent[disturbed]).all()
    assert not error[[*range(12), *range(14, 26)]].any()
    few = clean.copy()
    few[disturbed[:3]] = values[disturbed[:3]]
    assert np.isnan(lent_values(few, measured, levels)[0][12:14]).all()
    assert (lent_values(values, measured, levels)[0] == values).all()
    together = values.copy()
    together[[*range(10), 12, 13]] = math.nan
    assert np.isnan(lent_values(together, measured, levels)[0][12:14]).all(), "one burst is one figure"


def test_lent_values_count_by_their_own_error_and_leave_the_noise_alone():
    values = np.repeat((1.0, 1.4, 1.0), (15, 2, 15)) * noise(32, 0.01)
    errors = np.zeros(32)
    errors[15:17] = 0.05
    steps, _ = known_steps(values, runs(15, 2, 15), errors=errors, **ASKED)
    assert [s.index for s in steps] == [15, 17]
    error = (steps[0].effect_hi - steps[0].effect) / 1.959963984540054
    assert error == pytest.approx(math.sqrt(math.pi / 2 * (0.05**2 + 0.01**2 * (1 / 2 + 1 / 12))), rel=0.1)
    assert not known_steps(values, runs(15, 2, 15), errors=errors * 6, **ASKED)[0]


def after(*ends: tuple[int, float]) -> np.ndarray:
    """Logs (40,) that change by so much at each of the commits, with a spread of 2 %."""
    logs = np.zeros(40)
    for at, effect in ends:
        logs[at:] += effect
    return np.array([logs, np.full(40, 0.02)])


def test_what_is_expected_lets_a_weak_step_pass_and_holds_another_back():
    values = np.repeat((1.0, 1.075, 1.0, 1.075), 10) * noise(40, 0.04, 2)
    levels = runs(10, 10, 10, 10)
    with_it = after((10, 0.07), (20, -0.07), (30, 0.07))
    without = after((10, 0.07), (20, -0.07))
    assert 30 in [s.index for s in known_steps(values, levels, expected=with_it, **ASKED)[0]]
    assert 30 not in [s.index for s in known_steps(values, levels, expected=without, **ASKED)[0]]
    same = known_steps(values, levels, **ASKED)[0]
    assert known_steps(values, levels, expected=[np.zeros(40), np.full(40, np.inf)], **ASKED)[0] == same


@pytest.mark.parametrize("expected", [-0.1, 0.0, 2.0])
def test_a_clear_step_is_one_whatever_is_expected(expected):
    values = np.repeat((1.0, 1.3), 20) * noise(40, 0.02, 2)
    steps, _ = known_steps(values, runs(20, 20), expected=after((20, expected)), **ASKED)
    assert [s.index for s in steps] == [20]
    assert steps[0].effect == pytest.approx(math.log(1.3), abs=0.02)


def test_no_step_is_told_to_the_other_side_than_it_was_measured():
    values = np.repeat((1.0, 0.93, 1.0), (20, 1, 19)) * noise(40, 0.05, 2)
    up = after((20, 0.3), (21, -0.3))
    assert not known_steps(values, runs(20, 1, 19), expected=up, **ASKED)[0]


def test_every_place_is_tested_with_its_error():
    values = np.repeat((1.0, 1.08), (20, 24)) * noise(44, 0.03, 3)
    told = place_tests(values, np.zeros(44), runs(20, 1, 1, 1, 1, 20))
    assert [at for at, *_ in told] == [20, 21, 22, 23, 24]
    assert min(error for *_, error in told) > 0.03
    ((at, effect, error),) = place_tests(values, np.zeros(44), runs(20, 24))
    assert (at, effect) == (20, pytest.approx(0.08, abs=0.03))
    assert error == pytest.approx(math.sqrt(math.pi / 2) * 0.03 * math.sqrt(2 / 12), rel=0.3)
    assert place_tests([1.0] * 5, np.zeros(5), np.arange(5)) == []


def test_a_step_may_have_come_with_a_commit_whose_work_is_not_known():
    values = np.repeat((1.0, 1.5), 20) * noise(40, 0.01)
    values[18:24] = math.nan
    counted = np.ones(40, dtype=bool)
    counted[[17, 18]] = False
    ((step,), _) = known_steps(values, runs(19, 21), counted=counted, **ASKED)
    assert (step.lo, step.hi) == (18, 19)
    counted[[17, 18]] = True
    assert known_steps(values, runs(19, 21), counted=counted, **ASKED)[0][0].lo == 19
