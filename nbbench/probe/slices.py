"""One side of an interleaved pair: a fresh benchmark process that runs a slice whenever it is told to.

Orders and answers go through a pipe; nbbench/measure/pair.py is the other end. Start-up statements are timed
once, in a process that has not imported the subject. docs/statistics.md says why in slices.
"""

import contextlib
import json
import math
import os
import time
import timeit
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nbbench.disturbance import SAMPLE_WAITED_SHARE
from nbbench.probe.canary import reference_times
from nbbench.probe.resources import alone, run_delay, usable_threads

MOST_SAMPLES = 200
"""Samples of one slice: a slice of the shortest benchmarks takes no more."""


def serve_slices(benchmark_dir: str, benchmark: str, descriptor: int) -> None:
    """Set `benchmark` (asv's id) up when told to, and answer orders until the other end closes the pipe.

    A benchmark that skips itself says so and ends; one that fails raises, and the process with it.
    """
    line: Connection[Any, Any] = Connection(descriptor)
    orders = _orders(line)
    next(orders, None)
    timer = _prepare(benchmark_dir, benchmark)
    line.send("skipped" if timer is None else "ready")
    if timer is None:
        return
    for seconds in orders:
        line.send(reference_times() if seconds is None else take_slice(timer, seconds))


def _orders(line: "Connection[Any, Any]") -> Iterator[float | None]:
    with contextlib.suppress(EOFError):
        while True:
            yield line.recv()


def _prepare(benchmark_dir: str, benchmark: str) -> Callable[[], float] | None:
    """The benchmark set up and run once, as asv times it; None when it skips itself."""
    from asv_runner.benchmarks.mark import SkipNotImplemented
    from asv_runner.discovery import get_benchmark_from_name

    found = get_benchmark_from_name(benchmark_dir, benchmark)
    found.set_cache(None)
    if alone(found.do_setup):
        return None
    function = found._param_bound_func(*found._current_params)
    timer = timeit.Timer(function, found.redo_setup, found.timer)
    try:
        alone(lambda: timer.timeit(1))
    except SkipNotImplemented:
        return None
    return lambda: timer.timeit(1)


def take_slice(sample: Callable[[], float], seconds: float) -> tuple[list[float], float, float]:
    """Call `sample` (which returns the seconds it measured) until `seconds` are over, at least once.

    Returns the samples that were not disturbed, the least seconds that a sample took without its waiting for
    a core, and the CPU seconds of the slice.
    """
    samples: list[float] = []
    own = math.inf
    cpu, end = time.process_time(), time.perf_counter() + seconds
    waited = waiting_s()
    for number in range(MOST_SAMPLES):
        if number and time.perf_counter() >= end:
            break
        begun, ready = wall_and_waiting()
        value = alone(sample)
        ended, still = wall_and_waiting()
        outside = max(ended - begun - value, 0.0)  # its set-up, which may have waited, too
        mine = value - max(still - ready - outside, 0.0)
        own = min(own, mine if mine > 0 else value)
        before, waited = waited, waiting_s()
        if waited - before <= SAMPLE_WAITED_SHARE * value:
            samples.append(value)
    return samples, own, time.process_time() - cpu


def wall_and_waiting() -> tuple[float, float]:
    """Seconds of the clock, and those that this thread was ready but had no core, at one moment."""
    while True:
        before, now = run_delay("thread-self"), time.perf_counter()
        if run_delay("thread-self") == before:  # else it waited in between
            return now, before


def waiting_s() -> float:
    """Seconds that this process' threads were ready but had no core so far; 0 where Linux does not tell."""
    return sum(run_delay(f"self/task/{thread.name}") for thread in Path("/proc/self/task").iterdir())


def time_statement(benchmark_dir: str, benchmark: str, path: str) -> None:
    """Run a `timeraw_` benchmark (asv's id) once in this process and write its seconds as JSON to `path`.

    asv starts an interpreter for each sample, which takes seconds to import torch. Here torch is there
    already, on as many threads as in every other benchmark, and what is timed is what the statement says,
    without waiting for a core.
    """
    import torch
    from asv_runner.discovery import get_benchmark_from_name

    torch.set_num_threads(usable_threads(int(os.environ.get("NBBENCH_THREADS") or 0)))
    found = get_benchmark_from_name(benchmark_dir, benchmark)
    asked = found.func(*found._current_params)
    statement, setup = asked if isinstance(asked, tuple) else (asked, "pass")

    def clock() -> float:
        wall, waiting = wall_and_waiting()
        return wall - waiting

    seconds = timeit.Timer(statement, setup, clock).timeit(1)
    Path(path).write_text(json.dumps(seconds), encoding="utf-8")
