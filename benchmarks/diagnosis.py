"""After a captured run: what malloc and the machine say of the same workload.

Each function is one job in a process of its own, forked warm. What is known is written after
every step, so that a time limit leaves what there is.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from statistics import median
from typing import Any

import torch

from nbbench.probe.ceiling import measure_ceiling
from nbbench.probe.resources import Run, measure, pin_malloc
from nbbench.record.atomic import write_bytes
from nbbench.record.redact import redact_text

from . import bandwidth, subject

_REPEAT = 3
_BUDGET_S = 3.0  # for the runs of one setting; the slowest pair known takes 1.8 s a run


def measure_pair(path: str, size: int, dtype: str) -> None:
    """AT-PERF-003's workload with malloc as the C library has it, then pinned, in this process.

    In this order, because pinning cannot be undone.
    """
    subject.prepare(malloc=False)
    found: dict[str, Any] = {"torch": str(torch.__version__), "threads": torch.get_num_threads()}
    try:
        found["default_dtype"] = _default_dtype()
        bandwidth.refuse_large(size, dtype)
        case = subject.bandwidth(size, dtype)
        _save(path, found)
        found["default"] = _timed(case)
        _save(path, found)
        if pin_malloc():
            found["pinned"] = _timed(case)
        else:
            found["error"] = "this C library has no mallopt, so malloc cannot be pinned"
    except Exception as error:
        reason = redact_text(f"{type(error).__name__}: {error}", os.environ)
        found["error"] = reason.splitlines()[0][:300]
    _save(path, found)


def measure_ceilings(path: str, test_threads: int) -> None:
    """The copy ceiling (B/s) with this process's threads, and with those of the test."""
    subject.prepare()
    own = torch.get_num_threads()
    found = {"default_dtype": _default_dtype(), "threads": own, "copy": measure_ceiling(repeats=3).copy}
    _save(path, found)
    if test_threads and test_threads != own:
        torch.set_num_threads(test_threads)
        found["copy_test"] = measure_ceiling(repeats=3).copy
        _save(path, found)


def _default_dtype() -> str:
    """What the simulator computes in when nobody names a dtype; empty where its signature hides it."""
    known = inspect.signature(subject.load("simulator").Simulator).parameters.get("dtype")
    default = known.default if known is not None else None
    return str(default).removeprefix("torch.") if isinstance(default, torch.dtype) else ""


def _timed(case: subject.Case) -> dict[str, float]:
    """Medians of a few warm runs, of one where a run takes the budget.

    The run before them is no sample: it touches the memory that pinned runs then keep.
    """
    case.run()
    runs: list[Run] = measure(case.run, _REPEAT, budget_s=_BUDGET_S)
    return {
        "wall_s": median(r.wall_s for r in runs),
        "user_s": median(r.user_s for r in runs),
        "system_s": median(r.system_s for r in runs),
        "minor_faults": int(median(r.minor_faults for r in runs)),
    }


def _save(path: str, found: dict[str, Any]) -> None:
    write_bytes(Path(path), json.dumps(found).encode("ascii"))
