"""One side of an interleaved pair: a fresh benchmark process that runs a slice whenever it is told to.

Base and head are both set up and then run slices of some 30 ms in turn, so that whatever the machine does for
longer than that (its speed wanders by 5 % within a minute) meets both. Orders and answers are lines of JSON
on a Unix socket; nbbench/measure/slices.py is the other end.
"""

from __future__ import annotations

import json
import socket
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbbench.disturbance import SAMPLE_WAITED_SHARE

MOST_SAMPLES = 200
"""Samples of one slice: a slice of the shortest benchmarks takes no more."""


def serve_slices(benchmark_dir: str, benchmark: str, address: str) -> None:
    """Connect to `address`, set `benchmark` (asv's id) up when told to, and answer orders until "end".

    A benchmark that skips itself says so and ends; one that fails raises, and the process with it.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    with connection, connection.makefile("rw", encoding="utf-8") as stream:

        def tell(message: dict[str, Any]) -> None:
            stream.write(json.dumps(message) + "\n")
            stream.flush()

        if not stream.readline():
            return
        timer = _prepare(benchmark_dir, benchmark)
        tell({"skipped": timer is None})
        if timer is not None:
            _answer(stream, tell, timer)


def _prepare(benchmark_dir: str, benchmark: str) -> timeit.Timer | None:
    """The benchmark set up and run once, as asv times it; None when it skips itself."""
    from asv_runner.benchmarks.mark import SkipNotImplemented
    from asv_runner.discovery import get_benchmark_from_name

    found = get_benchmark_from_name(benchmark_dir, benchmark)
    found.set_cache(None)
    if found.do_setup():
        return None
    function = found._param_bound_func(*found._current_params)
    timer = timeit.Timer(function, found.redo_setup, found.timer)
    try:
        timer.timeit(1)
    except SkipNotImplemented:
        return None
    return timer


def _answer(stream: Any, tell: Callable[[dict[str, Any]], None], timer: timeit.Timer) -> None:
    while line := stream.readline():
        order = json.loads(line)
        if order["op"] == "end":
            return
        if order["op"] == "canary":
            from nbbench.probe.canary import reference_times

            tell(reference_times())
        else:
            tell(take_slice(lambda: timer.timeit(1), float(order["seconds"])))


def take_slice(sample: Callable[[], float], seconds: float) -> dict[str, Any]:
    """Call `sample` (which returns the seconds it measured) until `seconds` are over, at least once.

    Returns the samples that were not disturbed, how many were, and the CPU seconds of the slice.
    """
    samples: list[float] = []
    disturbed = 0
    cpu, end = time.process_time(), time.perf_counter() + seconds
    waited = waiting_s()
    while not (samples or disturbed) or (
        time.perf_counter() < end and len(samples) + disturbed < MOST_SAMPLES
    ):
        value = sample()
        before, waited = waited, waiting_s()
        if waited - before > SAMPLE_WAITED_SHARE * value:
            disturbed += 1
        else:
            samples.append(value)
    return {"samples": samples, "disturbed": disturbed, "cpu_s": time.process_time() - cpu}


def waiting_s() -> float:
    """Seconds that this process' threads were ready but had no core so far; 0 where Linux does not tell."""
    total = 0
    try:
        for thread in Path("/proc/self/task").iterdir():
            total += int((thread / "schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return total / 1e9
