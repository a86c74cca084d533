"""Many series at once: the same answers whatever the number of processes."""

from __future__ import annotations

import numpy as np

from nbbench.stats.changepoint import detect_steps
from nbbench.stats.many import CHUNK_SERIES, LEAST_POINTS, Rules, detect_many, series_alpha, useful_jobs


def histories(count):
    rng = np.random.default_rng(4)
    for number in range(count):
        values = np.exp(0.02 * rng.standard_normal(30))
        values[15:] *= 1.0 + 0.2 * (number % 3)
        yield values, (np.arange(30) == 7 if number % 5 == 0 else None)


def test_processes_change_nothing_and_keep_the_order():
    count = 2 * CHUNK_SERIES + 3
    alone = list(detect_many(histories(count), Rules()))
    assert alone == list(detect_many(histories(count), Rules(), jobs=2))
    assert alone == [detect_steps(values, confirmed=flags) for values, flags in histories(count)]
    assert {len(steps) for steps in alone} == {0, 1}


def test_rules_reach_the_detector():
    (few,) = detect_many([next(iter(histories(2)))], Rules(min_effect=5.0))
    assert few == ()


def test_no_process_is_started_for_few_points():
    assert useful_jobs(LEAST_POINTS - 1) == 1
    assert useful_jobs(LEAST_POINTS) >= 1


def test_short_series_are_tested_more_strictly():
    assert series_alpha(0.05, 12) == 0.012
    assert series_alpha(0.05, 50) == series_alpha(0.05, 1200) == 0.05
    assert series_alpha(0.05, 0) > 0.0


def test_nothing_gives_nothing():
    assert list(detect_many([], Rules(), jobs=2)) == []
