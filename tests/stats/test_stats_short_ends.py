"""E3: two slow commits at an end or in the middle are no event, three are a level."""

from __future__ import annotations

import numpy as np
import pytest

from nbbench.stats.changepoint import Step, detect_steps, series_alpha

SEEDS = 60


def found(seed: int, place: str, length: int, factor: float) -> tuple[set[int], tuple[Step, ...]]:
    """Edges of the slow stretch of a seeded series (12 to 100 points, 1 % noise), and the steps found."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 101))
    first = {"start": 0, "end": n - length, "middle": int(rng.integers(3, n - 3 - length))}[place]
    level = np.ones(n)
    level[first : first + length] *= factor
    values = level * np.exp(0.01 * rng.standard_normal(n))
    steps = detect_steps(values, alpha=series_alpha(0.05, n), min_effect=0.05)
    return {first, first + length} - {0, n}, steps


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_one_or_two_slow_commits_are_no_event_at_a_healthy_neighbour(
    place: str, length: int, factor: float
) -> None:
    """All of the 720 series; 1,800 of them were run when the rule was made."""
    assert [seed for seed in range(SEEDS) if found(seed, place, length, factor)[1]] == []


@pytest.mark.parametrize("factor", [3.0, 1 / 3, 1.2])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_a_level_of_three_is_found_where_it_is(place: str, factor: float) -> None:
    for seed in range(SEEDS // 2):
        edges, steps = found(seed, place, 3, factor)
        assert {step.index for step in steps} == edges
