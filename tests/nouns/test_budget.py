"""A budget holds whatever is under way when it ends (H13)."""

from __future__ import annotations

import signal
import threading

import pytest

from nbbench.budget import BUDGET_GRACE_S, Budget, BudgetSpentError, held


def test_what_is_left_follows_the_clock() -> None:
    now = [100.0]
    budget = Budget(30.0, lambda: now[0])
    part = budget.share(0.5)
    now[0] = 112.0
    assert (budget.elapsed_s, budget.left_s, part.left_s, budget.spent) == (12.0, 18.0, 3.0, False)
    now[0] = 131.0
    assert (budget.left_s, budget.spent, part.spent) == (0.0, True, True)


def test_whatever_waits_is_interrupted() -> None:
    """A job that never answers: without the alarm this test would not end."""
    with pytest.raises(BudgetSpentError, match="budget of 0 s"), held(Budget(0.0), grace_s=0.05):
        threading.Event().wait()
    assert BUDGET_GRACE_S + 5.0 <= 10.0  # and five for its processes


def test_an_alarm_that_was_set_before_comes_at_its_own_time() -> None:
    before, left = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    signal.setitimer(signal.ITIMER_REAL, 500.0)
    try:
        with held(Budget(60.0)):
            assert signal.getitimer(signal.ITIMER_REAL)[0] < 100.0
        assert 400.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500.0
        assert signal.getsignal(signal.SIGALRM) is before
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)


def test_another_thread_is_left_alone() -> None:
    done = []

    def block() -> None:
        with held(Budget(0.0), grace_s=0.0):
            done.append(True)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert done == [True]
