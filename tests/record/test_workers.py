"""Many series at once: the same answers whatever the number of processes."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children
from threading import Thread

import pytest

from nbbench.errors import HostError
from nbbench.record import workers as share
from nbbench.record.workers import MANY_POINTS, MOST_JOBS, share_work, useful_jobs


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


def deaf(_):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_processes_leave_ctrl_c_to_the_one_that_started_them():
    assert list(share_work(deaf, [1, 2], jobs=2)) == [True, True] and not deaf(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_a_process_is_started(monkeypatch, number):
    """One that is half started ends at once, and breaks all."""

    begun, done = [], []

    def interrupt():  # a library's thread, which heard of no mask
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.raise_signal(number)

    def interrupted(pool, *asked):
        begun.append(asked)
        one = Thread(target=interrupt)
        one.start()
        one.join()
        done.append(asked)
        return submit(pool, *asked)

    def heard(number, frame):
        raise KeyboardInterrupt(number)

    submit = ProcessPoolExecutor.submit
    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    before = signal.signal(number, heard)
    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            list(share_work(Seen(), range(40), jobs=2))
        assert raised.value.args == (number,) and signal.getsignal(number) is heard
    finally:
        signal.signal(number, before)
    assert begun == done != []
    assert active_children() == []


def killed(item):
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)  # others wait for their turn
    return item


def test_a_killed_process_is_an_error_and_leaves_none_behind():
    with pytest.raises(HostError, match="was killed"):
        list(share_work(killed, range(60), jobs=2))
    assert active_children() == []


def fail(item):
    raise ValueError(f"not {item}")


def test_an_error_in_a_process_reaches_the_caller():
    with pytest.raises(ValueError, match="not 7"):
        list(share_work(fail, [7], jobs=2))


def test_no_process_is_started_for_few_points():
    assert useful_jobs(MANY_POINTS - 1) == 1
    assert useful_jobs(MANY_POINTS) >= 1


@pytest.mark.parametrize(("cores", "jobs"), [(1, 1), (4, 4), (128, MOST_JOBS)])
def test_many_cores_are_not_as_many_clients_of_the_database(monkeypatch, cores, jobs):
    """Small: PostgreSQL takes 100 by default."""
    monkeypatch.setattr(share.os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert useful_jobs(MANY_POINTS) == jobs < 100
