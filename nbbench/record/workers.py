"""Processes that share work: reading many files, judging many series."""

import gc
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from threading import current_thread, main_thread
from typing import Any, TypeVar

from nbbench.errors import HostError
from nbbench.model import Benchmark

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

MANY_POINTS = 1_000_000
"""Below this many points (a few seconds of detection) one process is done before others have started."""

MOST_JOBS = 16
"""Processes that share work, however many cores there are. Each is a client of the database (PostgreSQL takes
100 by default) or holds a warm server of several hundred MiB."""

# Objects that are made before cycles are looked for; a file of results makes some thousands.
_SELDOM = 200_000

# Items of each process that are under way or done and not yet asked for: answers need memory.
_AHEAD = 4


def share_work(
    work: Callable[[_Item], _Answer], items: Iterable[_Item], *, jobs: int = 1
) -> Iterator[_Answer]:
    """``work`` done on each of ``items``, answers in their order.

    With ``jobs`` > 1 that many processes share the items, a few ahead of what is asked for; ``work`` is sent
    to each of them once, so it may be large.
    """
    if jobs <= 1:
        yield from map(work, items)
        return
    waiting: deque[Future[_Answer]] = deque()
    # spawned, because the caller may hold threads and database connections that a fork would copy
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_take, initargs=(work,)
    ) as pool:
        try:
            for item in items:
                with _uninterrupted():
                    waiting.append(pool.submit(_do, item))
                if len(waiting) > _AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            told = "a process that shared the work was killed"
            raise HostError(told, hint="is there enough memory? run it again to resume") from error
        finally:
            pool.shutdown(cancel_futures=True)  # by the pool's own thread: another would trip it
            _received.clear()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """While this lasts, signals that ask for an end wait, and processes that are started stay deaf to Ctrl-C,
    which a terminal sends to all: the one that started them ends them."""
    if current_thread() is not main_thread():  # which alone hears signals
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    asked = {number: handler for number, handler in handlers.items() if callable(handler)}
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        # a mask is this thread's alone, and Python hands on what another thread of its process got
        for number in asked:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in asked.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        for late in came:
            signal.raise_signal(late)


_work: Callable[[Any], Any]
"""What this process, started by `share_work`, does."""


def _take(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    gc.freeze()
    gc.set_threshold(_SELDOM)
    ForkingPickler.register(Benchmark, _sent_once)


# A process sends each benchmark whole once, as files repeat what others hold: those that were sent, by their
# identity, and those that came, by process and number.
_sent: dict[int, tuple[int, Benchmark]] = {}
_received: dict[tuple[int, int], Benchmark] = {}


def _sent_once(one: Benchmark) -> tuple[Callable[..., Benchmark], tuple[Any, ...]]:
    count = len(_sent)
    number, _ = _sent.setdefault(id(one), (count, one))
    fields = [getattr(one, name) for name in one.__slots__] if number == count else ()
    return _benchmark, (os.getpid(), number, *fields)


def _benchmark(process: int, number: int, *fields: Any) -> Benchmark:
    return (
        _received.setdefault((process, number), Benchmark(*fields)) if fields else _received[process, number]
    )


@contextmanager
def few_collections() -> Iterator[None]:
    """While this lasts the collector of cycles hardly runs: it would look at every list of figures."""
    before = gc.get_threshold()
    gc.set_threshold(_SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _do(item: Any) -> Any:
    return _work(item)


def useful_jobs(size: int, many: int = MANY_POINTS) -> int:
    """Processes worth starting for work of this size: one where it is less than ``many``, else as many as
    there are cores to use, MOST_JOBS at most."""
    if size < many:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(cores, MOST_JOBS)
