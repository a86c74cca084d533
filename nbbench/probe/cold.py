"""A start-up statement, timed in a forked process that has torch and has not imported the subject."""

from __future__ import annotations

import json
import os
import timeit
from pathlib import Path

from nbbench.probe.resources import usable_threads
from nbbench.probe.slices import wall_and_waiting


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
