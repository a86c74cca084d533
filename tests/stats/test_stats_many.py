"""Many series at once: the same answers whatever the number of processes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from nbbench.stats import many
from nbbench.stats.changepoint import detect_steps
from nbbench.stats.detector import Rules
from nbbench.stats.many import LEAST_POINTS, MOST_JOBS, detect_one, series_alpha, share_work, useful_jobs


def history(step):
    values = np.exp(0.02 * np.random.default_rng(4).standard_normal(30))
    values[15:] *= 1.0 + step
    return values


class Seen:
    """Tells which process did what, and how often it was sent to one."""

    def __init__(self):
        self.sent = 0

    def __setstate__(self, state):
        self.sent = state["sent"] + 1

    def __call__(self, item):
        return item, os.getpid(), self.sent


def test_processes_keep_the_order_and_get_the_work_once():
    items = list(range(40))
    done = list(share_work(Seen(), items, jobs=2))
    assert [item for item, _, _ in done] == items
    assert os.getpid() not in {process for _, process, _ in done}
    assert {sent for _, _, sent in done} == {1}


def test_one_job_stays_in_this_process():
    assert list(share_work(Seen(), [3, 4])) == [(3, os.getpid(), 0), (4, os.getpid(), 0)]
    assert list(share_work(Seen(), [], jobs=2)) == []


def fail(item):
    raise ValueError(f"not {item}")


def test_an_error_in_a_process_reaches_the_caller():
    with pytest.raises(ValueError, match="not 7"):
        list(share_work(fail, [7], jobs=2))


def test_rules_reach_the_detector():
    values = history(0.2)
    assert detect_one(values, None, Rules()) == detect_steps(values)
    assert len(detect_one(values, None, Rules())) == 1
    assert detect_one(values, None, Rules(min_effect=5.0)) == ()


def test_no_process_is_started_for_few_points():
    assert useful_jobs(LEAST_POINTS - 1) == 1
    assert useful_jobs(LEAST_POINTS) >= 1


@pytest.mark.parametrize(("cores", "jobs"), [(1, 1), (4, 4), (128, MOST_JOBS)])
def test_many_cores_are_not_as_many_clients_of_the_database(monkeypatch, cores, jobs):
    """Small: PostgreSQL takes 100 by default."""
    monkeypatch.setattr(many.os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert useful_jobs(LEAST_POINTS) == jobs < 100


def test_short_series_are_tested_more_strictly():
    assert series_alpha(0.05, 12) == 0.012
    assert series_alpha(0.05, 50) == series_alpha(0.05, 1200) == 0.05
    assert series_alpha(0.05, 0) > 0.0
