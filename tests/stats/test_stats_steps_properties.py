import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nbbench.stats.changepoint import detect_steps, exact_steps
from nbbench.stats.noise import MIN_SEGMENT

# fixed examples: a rare false alarm is a measured rate (docs/statistics.md), not a failure of the day
FIXED = settings(derandomize=True, deadline=None, max_examples=60)

seeds = st.integers(0, 2**32 - 1)
anything = st.lists(
    st.one_of(
        st.floats(width=64), st.floats(0.5, 2.0), st.sampled_from([0.0, 1.0, math.nan, math.inf, -1.0])
    ),
    max_size=60,
)


def planted(seed, sigma=0.02):
    """A series with up to three clear steps, and the places of the steps."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 40, size=rng.integers(1, 5))
    level = np.cumsum(rng.choice([-0.25, 0.25], size=lengths.size))
    values = np.exp(np.repeat(level, lengths) + sigma * rng.standard_normal(lengths.sum()))
    return values, np.cumsum(lengths)[:-1].tolist()


@FIXED
@given(anything, st.booleans())
def test_any_series_gives_orderly_steps(values, confirmed):
    with np.errstate(all="raise", under="ignore"):
        steps = detect_steps(values, confirmed=[confirmed] * len(values))
    finite = np.isfinite(values)
    assert [s.index for s in steps] == sorted({s.index for s in steps})
    for step in steps:
        assert 0 <= step.lo <= step.index <= step.hi < len(values)
        assert finite[step.index]
        assert 0.0 <= step.p_value <= 0.01
        assert step.effect_lo <= step.effect <= step.effect_hi
        assert (step.effect > 0) == (step.after > step.before)
    edges = [0, *(int(finite[: s.index].sum()) for s in steps), int(finite.sum())]
    assert not steps or min(np.diff(edges)) >= (1 if confirmed else MIN_SEGMENT)


@FIXED
@given(seeds, st.floats(1e-12, 1e12))
def test_the_unit_does_not_matter(seed, unit):
    values, _ = planted(seed)
    for one, other in zip(detect_steps(values), detect_steps(values * unit), strict=True):
        assert (one.index, one.lo, one.hi) == (other.index, other.lo, other.hi)
        assert one.effect == pytest.approx(other.effect, abs=1e-9)
        assert other.after == pytest.approx(one.after * unit, rel=1e-9)


@FIXED
@given(seeds, st.integers(0, 30), st.integers(0, 30))
def test_missing_values_at_the_ends_shift_the_indices(seed, before, after):
    values, _ = planted(seed)
    padded = np.r_[np.full(before, np.nan), values, np.full(after, np.nan)]
    plain = [(s.index + before, s.lo + before, s.hi + before, s.effect) for s in detect_steps(values)]
    assert [(s.index, s.lo, s.hi, s.effect) for s in detect_steps(padded)] == plain


@FIXED
@given(seeds)
def test_a_reversed_series_has_the_steps_reversed(seed):
    values, _ = planted(seed)
    forward, backward = detect_steps(values), detect_steps(values[::-1])[::-1]
    assert [s.index for s in forward] == [values.size - s.index for s in backward]
    assert [s.effect for s in forward] == pytest.approx([-s.effect for s in backward])


@FIXED
@given(seeds, st.floats(0.01, 100.0), st.floats(0, 1, exclude_max=True), st.integers(12, 200))
def test_a_lone_spike_is_never_a_step(seed, factor, place, n):
    values = np.exp(0.02 * np.random.default_rng(seed).standard_normal(n))
    assume(not detect_steps(values))
    values[int(place * n)] *= factor
    assert detect_steps(values) == ()


@FIXED
@given(seeds)
def test_planted_steps_are_found_within_one(seed):
    values, places = planted(seed)
    assume(places)
    steps = detect_steps(values)
    assert len(steps) == len(places)
    assert all(abs(s.index - at) <= 1 for s, at in zip(steps, places, strict=True))


@FIXED
@given(seeds, st.integers(20, 200), st.floats(0.1, 0.9), st.sampled_from([0.8, 1.2]))
def test_a_step_of_20_percent_in_2_percent_noise_is_found_within_one(seed, n, share, ratio):
    at = min(max(int(share * n), 5), n - 5)
    values = np.exp(0.02 * np.random.default_rng(seed).standard_normal(n))
    values[at:] *= ratio
    assert min(abs(s.index - at) for s in detect_steps(values)) <= 1


@FIXED
@given(seeds, st.integers(10, 49), st.floats(1.3, 3.0))
def test_a_confirmed_level_of_one_commit_is_found_exactly(seed, at, factor):
    values = np.exp(0.02 * np.random.default_rng(seed).standard_normal(60))
    values[at] *= factor
    flags = np.arange(60) == at
    assert {at, at + 1} <= {s.index for s in detect_steps(values, confirmed=flags)}
    assert {at, at + 1}.isdisjoint({s.index for s in detect_steps(values)})


@FIXED
@given(st.lists(st.one_of(st.integers(0, 3), st.just(math.nan)), max_size=40))
def test_exact_steps_are_the_changes_between_known_values(values):
    expected, last = [], None
    for i, value in enumerate(values):
        if math.isnan(value):
            continue
        if last is not None and values[last] != value:
            expected.append((i, last + 1, i, float(values[last]), float(value)))
        last = i
    assert [(s.index, s.lo, s.hi, s.before, s.after) for s in exact_steps(values)] == expected
