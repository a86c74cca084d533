"""Host work alone, recorded in a process that has not imported the subject; nothing here is timed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from nbbench.host import PYTHON, HostWork
from nbbench.measure.recording import save, suite_cases
from nbbench.probe.host_phases import record_host
from nbbench.record.redact import redact_text

from . import subject

# Python's work does not grow with the frame. A Python loop over 100,000 points would take minutes.
_ALIKE = {"bandwidth-1024-": "of 512²", "bandwidth-2048-": "of 512²", "tricubic-100000-": "of 1,000 points"}
WORKLOADS = {name: build for name, build in suite_cases().items() if not name.startswith(tuple(_ALIKE))}


def write(workloads: list[str], again: bool = False) -> None:
    """Record importing the subject and the named workloads, and keep them in the ledger file.

    `again` is for what is on record already: it tells what does not repeat.
    """
    subject.prepare(threads=1)  # several trees may be recorded at a time
    found = record_host(
        subject.load,
        {name: partial(_build, build) for name, build in WORKLOADS.items()},
        workloads,
        source_root=subject.source_root(),
        clean=lambda text: redact_text(text, os.environ),
        reseed=again,
    )
    left_out = [HostWork(name, PYTHON, error=_why(name)) for name in workloads if name not in WORKLOADS]
    save([], [*found, *left_out], again=again)


def _why(name: str) -> str:
    alike = next(alike for start, alike in _ALIKE.items() if name.startswith(start))
    return f"NotImplementedError: its host work is that {alike}"


def _build(build: Callable[[], subject.Case]) -> Callable[[], object]:
    return build().run
