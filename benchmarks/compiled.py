"""torch.compile of the workloads: counts for `nbbench ledger --compiled`, and times where they are asked for.

NBBENCH_COMPILED names the workloads to time by a regular expression; compiling takes half a minute each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import ClassVar

import torch

from nbbench.measure.recording import suite_cases
from nbbench.probe.resources import measure
from nbbench.words import last_line

from . import subject
from .recording import Record, agreement, look_up, record
from .workloads import COMPILED, GAIN

_TIMEOUT_S = 900
_FIRST_CALL = "import sys; from benchmarks.compiled import tell_first_call; tell_first_call(sys.argv[1])"
_GAIN = "import sys; from benchmarks.compiled import tell_gain; tell_gain(sys.argv[1])"
_RUNS = 5  # of each kind, as the test has it


class Gain:
    """AT-PERF-005: 1024², four threads, malloc as it is by default, eager and compiled in one process."""

    params: ClassVar[list[str]] = [GAIN]
    param_names: ClassVar[list[str]] = ["workload"]
    version = "1"
    timeout = _TIMEOUT_S

    def setup_cache(self) -> dict[str, Record]:
        """All figures of one process, or why there are none."""
        return {GAIN: record(GAIN, lambda: GAIN, _gain)}

    setup_cache.timeout = _TIMEOUT_S  # type: ignore[attr-defined]

    def track_speed_up(self, cache: dict[str, Record], workload: str) -> float:
        """Eager time over compiled time of a warm run (spec: at least 1.2)."""
        return look_up(cache, workload, "speed_up")

    track_speed_up.unit = "x"  # type: ignore[attr-defined]

    def track_ten_runs(self, cache: dict[str, Record], workload: str) -> float:
        """Ten compiled runs, compiling included, over ten eager ones (spec: below 1)."""
        return look_up(cache, workload, "ten_runs")

    track_ten_runs.unit = "ratio"  # type: ignore[attr-defined]

    def track_correlation(self, cache: dict[str, Record], workload: str) -> float:
        """Correlation of both images (spec: at least 0.9999)."""
        return look_up(cache, workload, "correlation")

    track_correlation.unit = "correlation"  # type: ignore[attr-defined]


class Compile:
    """What a user waits for with torch.compile: the first run of all, and that of every later process.

    Both are first calls of the compiled run in a fresh process; the later one finds the kernels in the cache.
    """

    params: ClassVar[list[str]] = COMPILED
    param_names: ClassVar[list[str]] = ["workload"]
    version = "1"
    timeout = _TIMEOUT_S

    def setup_cache(self) -> dict[str, Record]:
        """Both times of each workload, or why there are none."""
        return {name: record(name, lambda name=name: name, _times) for name in COMPILED}

    setup_cache.timeout = _TIMEOUT_S  # type: ignore[attr-defined]

    def track_compile_time(self, cache: dict[str, Record], workload: str) -> float:
        """Seconds of the first call with nothing in the cache: tracing, compiling, one run."""
        return look_up(cache, workload, "compile_s")

    track_compile_time.unit = "seconds"  # type: ignore[attr-defined]

    def track_first_run(self, cache: dict[str, Record], workload: str) -> float:
        """Seconds of the first call in a process that finds all kernels in the cache."""
        return look_up(cache, workload, "first_run_s")

    track_first_run.unit = "seconds"  # type: ignore[attr-defined]


def _times(workload: str) -> Record:
    with _compiling(workload) as environment:
        return {
            name: float(_last_word(_FIRST_CALL, workload, environment))
            for name in ("compile_s", "first_run_s")
        }


def _gain(workload: str) -> Record:
    with _compiling(workload) as environment:
        # The subject compiles nothing by itself: the eager run is eager, the other compiled as a whole.
        pins = {"NANOBRAGG_DISABLE_COMPILE": "1"}
        return dict(json.loads(_last_word(_GAIN, workload, environment | pins)))


@contextmanager
def _compiling(workload: str) -> Iterator[dict[str, str]]:
    """The environment of a process that compiles. Raises NotImplementedError where none is asked for."""
    from nbbench.measure.process_env import compiled_environment, require_compiler

    asked = os.environ.get("NBBENCH_COMPILED")
    if not asked or not re.search(asked, workload):
        raise NotImplementedError("not asked for by NBBENCH_COMPILED=REGEX")
    try:
        require_compiler()
    except Exception as error:
        raise NotImplementedError(str(error)) from error
    with tempfile.TemporaryDirectory(dir=".") as folder:  # asv's own, which it removes
        environment = compiled_environment(os.environ, Path(folder).resolve())
        yield environment | {
            "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }


def _last_word(code: str, workload: str, environment: dict[str, str]) -> str:
    """The last line that a process of its own printed."""
    command = [sys.executable, "-c", code, workload]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise subject.SubjectBroken(last_line(done.stderr, f"it ended with {done.returncode}"))
    return last_line(done.stdout)


def tell_first_call(workload: str) -> None:
    """Print the seconds of the first call of a workload that is compiled as a whole."""
    subject.prepare()
    run = torch.compile(suite_cases()[workload]().run)
    start = time.perf_counter()
    run()
    print(time.perf_counter() - start, file=sys.__stdout__, flush=True)


def tell_gain(workload: str) -> None:
    """Print as JSON how a workload runs eager and compiled as a whole."""
    subject.prepare(malloc=False, threads=4)
    run = suite_cases()[workload]().run
    image = run()
    eager = [one.wall_s for one in measure(run, _RUNS)]
    compiled_run = torch.compile(run)
    start = time.perf_counter()
    other = compiled_run()
    first = time.perf_counter() - start
    compiled = [one.wall_s for one in measure(compiled_run, _RUNS)]
    told = {
        "speed_up": median(eager) / median(compiled),
        "ten_runs": (first + 9 * median(compiled)) / (10 * median(eager)),
        **agreement(other, image),
    }
    print(json.dumps(told), file=sys.__stdout__, flush=True)
