"""A start-up statement, timed in a forked process that has torch and has not imported the subject."""

from __future__ import annotations

import json
import timeit
from pathlib import Path


def time_statement(benchmark_dir: str, benchmark: str, path: str) -> None:
    """Run a `timeraw_` benchmark (asv's id) once in this process and write its seconds as JSON to `path`.

    asv starts an interpreter for each sample, which takes seconds to import torch. Here torch is there
    already, and what is timed is what the statement says.
    """
    from asv_runner.discovery import get_benchmark_from_name

    found = get_benchmark_from_name(benchmark_dir, benchmark)
    asked = found.func(*found._current_params)
    statement, setup = asked if isinstance(asked, tuple) else (asked, "pass")
    Path(path).write_text(json.dumps(timeit.Timer(statement, setup).timeit(1)), encoding="utf-8")
