import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.stats.paired import estimate_pairs, q_values

FIXED = settings(derandomize=True, deadline=None, max_examples=80)

rounds = st.lists(st.floats(-3, 3), min_size=1, max_size=25)


@FIXED
@given(st.lists(st.floats(0, 1), max_size=40))
def test_q_values_exceed_p_and_keep_its_order(p):
    q = q_values(p)
    assert all(b >= a or b == 1.0 for a, b in zip(p, q, strict=True))
    assert np.all(np.diff(q[np.argsort(p, kind="stable")]) >= 0)


@FIXED
@given(rounds)
def test_swapping_base_and_head_mirrors_the_estimate(values):
    one, other = estimate_pairs(values), estimate_pairs([-v for v in values])
    assert (other.lo, other.hi) == (-one.hi, -one.lo)


@FIXED
@given(rounds)
def test_more_rounds_never_widen_the_interval(values):
    whole, part = estimate_pairs(values), estimate_pairs(values[: max(1, len(values) // 2)])
    slack = 1e-9
    assert whole.lo >= part.lo - slack
    assert whole.hi <= part.hi + slack


@FIXED
@given(rounds, st.floats(0.01, 100))
def test_estimates_scale_with_the_rounds(values, factor):
    one, other = estimate_pairs(values), estimate_pairs([v * factor for v in values])
    assert other.effect == pytest.approx(one.effect * factor, abs=1e-9)
    assert other.lo == pytest.approx(one.lo * factor, rel=1e-6, abs=1e-6)


@FIXED
@given(rounds)
def test_fewer_than_seven_rounds_decide_nothing(values):
    found = estimate_pairs(values[:6])
    assert math.isinf(found.lo)
