"""Mixtures of levels, by closed forms and by what every such series must satisfy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from nbbench.stats.changepoint import detect_steps
from nbbench.stats.mixture import LEAST_FLIPS, Mixture, find_mixture, without_flips


def found(values: np.ndarray) -> Mixture | None:
    return find_mixture(values, alpha=0.05, min_effect=0.05)


def levels(labels: np.ndarray, at: tuple[float, ...] = (1.0, 1.3), cv: float = 0.005) -> np.ndarray:
    noise = np.random.default_rng(labels.size).standard_normal(labels.size)
    return np.array(at)[labels] * np.exp(cv * noise)


def drawn(shares: list[float], seed: int = 1) -> np.ndarray:
    """Labels 0 and 1, the second with these chances commit after commit."""
    return (np.random.default_rng(seed).random(len(shares)) < shares).astype(int)


def test_two_levels_have_their_medians_shares_and_turns():
    labels = np.array(([0] * 3 + [1] * 2) * 12)
    mixture = found(levels(labels, cv=0.0))
    assert mixture == Mixture((1.0, 1.3), (0.6, 0.4), 23, None)


def test_three_levels():
    labels = np.array([0, 1, 2, 1] * 20)
    mixture = found(levels(labels, (1.0, 2.0, 5.0)))
    assert mixture is not None
    assert mixture.levels == pytest.approx((1.0, 2.0, 5.0), rel=0.01)
    assert (mixture.shares, mixture.turns, mixture.change) == ((0.25, 0.5, 0.25), 79, None)


def test_a_change_of_the_mixture_is_one_step_between_its_means():
    labels = np.concatenate((np.arange(60) % 2, np.ones(60, dtype=int)))
    mixture = found(levels(labels, cv=0.0))
    assert mixture is not None
    assert mixture.change is not None
    step = mixture.change
    assert step.lo <= step.index <= step.hi
    assert abs(step.index - 60) <= 1
    assert step.effect == pytest.approx(math.log(1.3) / 2, rel=0.05)


def test_the_variance_of_a_mean_is_that_of_the_chain():
    """Kolmogorov's distribution at the bridge over the long-run deviation, all in closed form."""
    labels = np.concatenate((np.arange(40) % 2, np.ones(40, dtype=int)))
    step = found(levels(labels, (1.0, math.e), cv=0.0)).change
    apart = labels - labels.mean()
    rho = max(apart[1:] @ apart[:-1] / (apart @ apart), 0.0)
    sigma = math.sqrt(labels.mean() * (1 - labels.mean()) * (1 + rho) / (1 - rho))
    top = np.abs(np.cumsum(apart)).max() / (sigma * math.sqrt(80))
    tail = sum(2 * (-1) ** (k - 1) * math.exp(-2 * k * k * top * top) for k in range(1, 50))
    assert step.p_value == pytest.approx(tail, rel=1e-9)


def test_stationary_mixtures_change_no_oftener_than_alpha():
    series = [levels(drawn([0.4] * 120, seed)) for seed in range(200)]
    told = [mixture for values in series if (mixture := found(values))]
    assert len(told) == 200
    assert sum(mixture.change is not None for mixture in told) <= 0.05 * 200


@pytest.mark.parametrize(
    "values",
    [
        np.exp(0.02 * np.random.default_rng(2).standard_normal(400)),
        np.exp(np.random.default_rng(3).exponential(0.1, 400)),
        np.linspace(1.0, 2.0, 300),
        levels(np.array([0] * 50 + [1] * 50)),
        levels(np.array(([0] * 20 + [1]) * 10)),
        levels(np.array([0] * 30 + [1] * 6 + [0] * 30 + [1] * 8 + [0] * 20)),
        np.array([1.0] * 100),
        np.array([0.0, 1.0] * 50),
        np.array([1.0, 2.0] * 5),
        np.full(50, np.nan),
    ],
    ids=["noise", "skewed", "ramp", "step", "spikes", "mended", "constant", "zero", "short", "nothing"],
)
def test_what_is_no_mixture(values):
    assert found(values) is None


def test_a_step_among_bursts_is_a_step():
    """Spikes down from the new level make turns, but on neither side does the series keep its two levels."""
    labels = np.array([0] * 40 + ([1] * 11 + [0]) * 8)
    assert found(levels(labels)) is None
    assert [step.index for step in detect_steps(levels(labels), min_effect=0.05)] == [40]


@given(
    st.lists(st.booleans(), min_size=60, max_size=200),
    st.floats(0.2, 3.0),
    st.floats(1e-6, 1e6),
    st.integers(0, 2**20),
)
@settings(max_examples=60, deadline=None)
def test_levels_are_those_of_the_values_at_any_scale_and_missing_values_change_nothing(
    flips, gap, scale, seed
):
    labels = np.array(flips, dtype=int)
    values = levels(labels, (scale, scale * math.exp(gap)), cv=0.003)
    mixture = found(values)
    turns = int(np.count_nonzero(np.diff(labels)))
    share = min(labels.mean(), 1 - labels.mean())
    if turns < LEAST_FLIPS or share < 0.2:
        assert mixture is None
        return
    if mixture is None:  # only where the mixture itself changed so far that neither side is one
        return
    assert mixture.turns == turns
    assert mixture.levels == pytest.approx((scale, scale * math.exp(gap)), rel=0.01)
    gaps = np.insert(values, sorted(np.random.default_rng(seed).integers(0, values.size, 9)), np.nan)
    again = found(gaps)
    assert (again.levels, again.turns, again.change is None) == (
        mixture.levels,
        mixture.turns,
        mixture.change is None,
    )


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ([0] * 20, [1] * 20, True),
        ([0] * 20, [1] * 17 + [0] * 3, True),  # spikes
        ([0, 1] * 6 + [0] * 8, [1] * 20, False),  # it was there before
        ([0] * 20, [1] * 8 + [0, 1] * 6, False),  # it goes back and forth
    ],
    ids=["step", "spikes", "turns before", "turns after"],
)
def test_a_step_that_both_sides_share_is_a_flip(before: list[int], after: list[int], kept: bool):
    values = levels(np.array(before + after))
    steps = [s for s in detect_steps(values, alpha=0.05) if s.index == 20]
    step = steps or detect_steps(levels(np.repeat([0, 1], 20)), alpha=0.05)
    assert bool(without_flips(tuple(step), values)) is kept


@pytest.mark.parametrize(
    ("around", "inside", "kept"),
    [
        ([0] * 30, 8, True),
        (([0] * 7 + [1]) * 4, 8, False),
        ([0] * 29 + [1], 8, True),  # one spike on a side
        (([0] * 7 + [1]) * 4, 40, True),  # it stays
    ],
    ids=["burst", "visit", "spike", "stay"],
)
def test_a_run_at_a_level_to_which_the_series_comes_anyway_is_a_visit(around, inside, kept):
    values = levels(np.array([*around, *[1] * inside, *around]))
    begins, ends = len(around), len(around) + inside
    clean = detect_steps(levels(np.array([0] * begins + [1] * inside + [0] * begins)), alpha=0.05)
    assert [step.index for step in clean] == [begins, ends]
    assert [step.index for step in without_flips(clean, values)] == ([begins, ends] if kept else [])


def test_a_step_down_from_a_loud_level_is_a_step():
    """Values of the loud side are nearer to the quiet one than to their own median, but none is at it."""
    loud = np.tile([1.5, 1.6, 2.2, 3.0, 2.9, 2.4], 5)
    values = np.concatenate((loud, np.random.default_rng(3).normal(1.2, 0.01, 30)))
    step = detect_steps(levels(np.repeat([0, 1], 30)), alpha=0.05)
    assert without_flips(step, values) == step


@given(st.integers(0, 50), st.floats(0.0, 1.5), st.integers(3, 60))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_step_in_noise_is_no_flip_where_its_place_shows_it(seed: int, sigmas: float, length: int):
    """Noise puts values on both sides of it, but none at a level of its own; of the 30 values beside it the
    ranks must say so at one in twenty."""
    noise = np.random.default_rng(seed).standard_normal(60 + length)
    values = np.exp(0.02 * (noise + np.repeat([0.0, sigmas], [60, length])))
    steps = detect_steps(levels(np.repeat([0, 1], [60, length])), alpha=0.05)
    before, after = values[30:60], values[60:90]
    way = "greater" if np.median(values[60:]) > np.median(values[:60]) else "less"
    p_value = mannwhitneyu(after, before, alternative=way, method="asymptotic", use_continuity=False).pvalue
    assert bool(without_flips(steps, values)) is bool(p_value <= 0.05)


def test_long_levels_that_differ_by_a_drift_are_no_step():
    noise = 0.02 * np.random.default_rng(5).standard_normal(400)
    values = np.exp(noise + np.repeat([0.0, 0.02, -0.02, 0.0], [170, 30, 30, 170]))
    values[:170] *= 1.0 - np.linspace(0.1, 0.0, 170)
    values[230:] *= 1.0 + np.linspace(0.0, 0.1, 170)
    step = detect_steps(levels(np.repeat([0, 1], 200)), alpha=0.05)
    assert np.median(values[200:]) > 1.05 * np.median(values[:200])
    assert [one.index for one in step] == [200] and without_flips(step, values) == ()


def test_a_level_that_a_series_begins_or_ends_with_is_no_turn():
    """Ninety values with seven outliers among them are a level; what lies before and after are others."""
    log = 0.01 * np.random.default_rng(5).standard_normal(140)
    log[28:118] += 1.5
    log[[30, 38, 45, 60, 77, 90, 104]] -= 1.5
    assert find_mixture(np.exp(log), alpha=0.05, min_effect=0.05) is None
    log[28:118:3] -= 1.5
    assert find_mixture(np.exp(log), alpha=0.05, min_effect=0.05) is not None
