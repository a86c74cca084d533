"""Laws of growth: exact polynomials are found, everything else is refused, orders can be told."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbbench.growth import HELD_OUT, LineCounts, Quantity, ScaledWork, fit_law
from nbbench.metrics import LEDGER_METRICS, Role, metric_of, phase_of
from nbbench.model import Phase, SeriesKey

VALUES = (8, 16, 24, 32, 40)
values = st.lists(st.integers(-50, 5000), min_size=4, max_size=8, unique=True).map(sorted).map(tuple)


def counts(at, of=VALUES):
    return tuple(at(n) for n in of)


@pytest.mark.parametrize(
    ("at", "coefficients"),
    [
        (lambda n: 5, (5,)),
        (lambda n: 0, (0,)),
        (lambda n: 12 * n + 5120, (5120, 12)),
        (lambda n: 1685 * n * n + 24 * n + 96, (96, 24, 1685)),
        (lambda n: n * (n - 1) // 2, (0, Fraction(-1, 2), Fraction(1, 2))),
    ],
)
def test_closed_forms(at, coefficients):
    law = fit_law(VALUES, counts(at))
    assert law.exact and law.coefficients == coefficients
    assert law.order == len(coefficients) - 1
    assert law.at(4096) == at(4096)


@given(values, st.data())
def test_every_integer_polynomial_that_leaves_two_points_is_found_exactly(chosen, data):
    most = len(chosen) - 1 - HELD_OUT
    found = data.draw(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=most + 1))
    while len(found) > 1 and not found[-1]:
        found.pop()
    law = fit_law(chosen, [sum(c * n**power for power, c in enumerate(found)) for n in chosen])
    assert law.coefficients == tuple(found)


@given(values, st.data())
def test_one_wrong_count_is_refused(chosen, data):
    """Two points are held out: no polynomial of a degree that is allowed goes through all the others."""
    most = len(chosen) - 1 - HELD_OUT
    found = data.draw(st.lists(st.integers(-1000, 1000), min_size=1, max_size=most + 1))
    wrong = data.draw(st.integers(0, len(chosen) - 1))
    off = data.draw(st.integers(-1000, 1000).filter(bool))
    told = [sum(c * n**power for power, c in enumerate(found)) for n in chosen]
    told[wrong] += off
    law = fit_law(chosen, told)
    assert not law.exact and law.limit == most and law.residual > 0


def test_what_is_refused_tells_how_near_a_polynomial_comes():
    law = fit_law(VALUES, counts(lambda n: 10 * n + (n == 32)))
    assert (law.exact, law.limit, law.order) == (False, 2, None)
    assert law.residual == pytest.approx(1 / 400, rel=0.1)


@pytest.mark.parametrize(
    ("at", "order"),
    [
        (lambda n: n**3, 3),  # a single point checks it: no law, but an order
        (lambda n: n**4, None),
        (lambda n: n * n.bit_length(), None),
        (lambda n: 100 + n * n // 3 + n % 7, None),
        (lambda n: -(-n // 16), None),
        (lambda n: [3, 9, 1, 7, 2][n // 8 - 1], None),
    ],
)
def test_orders_without_a_law(at, order):
    law = fit_law(VALUES, counts(at))
    assert not law.exact and law.order == order


def scaled(total, **lines):
    found = tuple(
        LineCounts(Quantity.WARM, "a.py", number, name, counts(at))
        for number, (name, at) in enumerate(lines.items(), start=1)
    )
    return ScaledWork("f-N", "n", "3.11", VALUES, ((Quantity.WARM, counts(total)),), found)


def test_a_sum_has_at_least_the_order_of_its_lines():
    """A branch that the data decide follows no law, and makes none of the whole; the loop around it does."""
    noise = itertools.cycle([3, 11, 2, 17, 5])
    odd = dict(zip(VALUES, noise, strict=False))
    work = scaled(lambda n: 50_000 * n + odd[n] + n**2, loop=lambda n: n**2, branch=lambda n: odd[n])
    assert not work.laws[Quantity.WARM].exact
    assert work.orders == {Quantity.WARM: 2}
    assert [line.function for line, _ in work.line_orders(Quantity.WARM)] == ["loop"]


def test_an_unknown_order_is_no_order():
    assert scaled(lambda n: [3, 9, 1, 7, 2][n // 8 - 1]).orders == {}


def test_orders_are_exact_metrics_of_their_phase():
    assert {one.metric for one in Quantity} < LEDGER_METRICS.keys()
    for one, phase in ((Quantity.FIRST, Phase.FIRST), (Quantity.CONSTRUCT, Phase.CONSTRUCT)):
        key = SeriesKey(f"ledger.{one.metric}", "1", (("workload", "f-N"),), "any", "torch")
        metric = metric_of(key, "order")
        assert metric.exact and metric.role is Role.HOST and phase_of(key) is phase
    bytes_key = SeriesKey(f"ledger.{Quantity.BYTES.metric}", "1", (), "any", "torch")
    assert metric_of(bytes_key, "order").role is Role.WORK
