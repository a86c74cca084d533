"""What exact work costs, fitted to timed runs."""

from __future__ import annotations

import math
from random import Random

import pytest

from nbbench.work.work_share import USUAL, Amounts, fit_costs

WORK = [
    Amounts(b * 1e6, o, s)
    for b, o, s in (
        (240, 200, 600),
        (1000, 200, 600),
        (30, 110, 90),
        (3, 40, 60),
        (80, 900, 5000),
        (5, 20, 9000),
    )
]


def runs(costs: tuple[float, ...], noise: float = 0.0) -> list[tuple[Amounts, float]]:
    random = Random(1)
    return [
        (work, sum(a * b for a, b in zip(work, costs, strict=True)) * math.exp(random.gauss(0, noise)))
        for work in WORK
    ]


def test_exact_runs_give_their_costs_back() -> None:
    true = (2e-10, 3e-6, 4e-8)
    model = fit_costs(runs(true))
    assert [a * b for a, b in zip(model.scales, USUAL, strict=True)] == pytest.approx(true, rel=0.1)
    assert (model.points, model.error) == (len(WORK), 0.01)


def test_the_interval_holds_the_truth_and_its_error_is_shown() -> None:
    true = (2e-10, 3e-6, 4e-8)
    model = fit_costs(runs(true, noise=0.08))
    before, after = WORK[0], WORK[0]._replace(operations=400)
    seconds = [sum(a * b for a, b in zip(one, true, strict=True)) for one in (before, after)]
    price = model.price(before, after)
    assert price.lo < math.log(seconds[1] / seconds[0]) < price.hi
    assert 0.02 < price.error < 0.2


def test_more_of_everything_costs_as_much_more_whatever_each_costs() -> None:
    """Nothing was timed: the costs are unsure, and cancel out."""
    price = fit_costs([]).price(WORK[0], Amounts(*(1.1 * one for one in WORK[0])))
    assert price.effect == pytest.approx(math.log(1.1))
    assert price.hi - price.lo < 0.13
    alone = fit_costs([]).price(WORK[0], WORK[0]._replace(operations=300))
    assert alone.hi > 2 * alone.effect > 0


def test_equal_work_costs_nothing_for_certain() -> None:
    price = fit_costs([]).price(WORK[0], WORK[0])
    assert (price.effect, price.lo, price.hi, price.points) == (0.0, 0.0, 0.0, 0)
    assert fit_costs([]).price(Amounts(0, 0, 0), WORK[0]).hi == math.inf


def test_a_few_steps_more_lie_below_any_floor() -> None:
    assert fit_costs([]).price(WORK[0], WORK[0]._replace(steps=610)).hi < 0.001
