"""torch.compile of the workloads: counts for `nbbench ledger --compiled`, and times where they are asked for.

NBBENCH_COMPILED names the workloads to time by a regular expression; compiling takes half a minute each.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import torch

from nbbench.compiled import CompiledWork
from nbbench.host import PYTHON
from nbbench.measure.recording import failure_text, save, suite_cases
from nbbench.words import clean, last_line

from . import subject
from .recording import MISSING, Record, look_up, record
from .workloads import COMPILED

_TIMEOUT_S = 900
_FIRST_CALL = "import sys; from benchmarks.compiled import tell_first_call; tell_first_call(sys.argv[1])"


def write(workload: str) -> None:
    """Record the compiled work of one workload and keep it in the ledger file."""
    from nbbench.probe.compiled import record_compiled

    tempfile.tempdir = None  # this process has a folder of its own
    subject.prepare(threads=1)
    try:
        case = suite_cases()[workload]()
        made = record_compiled(workload, case.run, pixels=case.pixels, source_root=subject.source_root())
    except (Exception, SystemExit) as error:
        made = CompiledWork(workload, PYTHON, error=clean(failure_text(error)))
    save(compiled=[made])


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
    from nbbench.measure.process_env import compiled_environment, require_compiler

    asked = os.environ.get("NBBENCH_COMPILED")
    if not asked or not re.search(asked, workload):
        return {"error": f"{MISSING}not asked for by NBBENCH_COMPILED=REGEX"}
    try:
        require_compiler()
    except Exception as error:
        return {"error": f"{MISSING}{error}"}
    with tempfile.TemporaryDirectory(dir=".") as folder:  # asv's own, which it removes
        environment = compiled_environment(os.environ, Path(folder).resolve())
        environment |= {
            "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        return {name: _first_call(workload, environment) for name in ("compile_s", "first_run_s")}


def _first_call(workload: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", _FIRST_CALL, workload]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise subject.SubjectBroken(last_line(done.stderr, f"it ended with {done.returncode}"))
    return float(last_line(done.stdout))


def tell_first_call(workload: str) -> None:
    """Print the seconds of the first call of a workload that is compiled as a whole."""
    subject.prepare()
    run = torch.compile(suite_cases()[workload]().run)
    start = time.perf_counter()
    run()
    print(time.perf_counter() - start, file=sys.__stdout__, flush=True)
