"""Ledgers alone, without any timing: what the gate and `nbbench explain` ask for first."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable

from . import recording, subject
from .workloads import BENCHMARKS

# Every module that `workloads` declares benchmarks of may have the cases of its workloads, by name.
_MODULES = sorted({one.benchmark.partition(".")[0] for one in BENCHMARKS})
WORKLOADS: dict[str, Callable[[], subject.Case]] = {
    name: build
    for module in _MODULES
    for name, build in getattr(importlib.import_module(f"{__package__}.{module}"), "CASES", {}).items()
}


def write(workloads: list[str]) -> None:
    """Record the named workloads and keep them in the ledger file; what fails is kept as its error."""
    subject.prepare(threads=1)  # several trees may be recorded at a time
    kept = []
    for name in workloads:
        try:
            case = WORKLOADS[name]()
            case.run()
            kept.append(dataclasses.replace(recording.ledger_of(case), workload=name))
        except Exception as error:
            kept.append(recording.failed_ledger(name, error))
    recording.save(kept)
