"""Ledgers alone, without any timing: what the gate and `nbbench explain` ask for first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbbench.model import to_plain

from . import bandwidth, recording, subject, vectorisation

WORKLOADS: dict[str, Callable[[], subject.Case]] = {
    **{
        f"bandwidth-{size}-{dtype}": (lambda size=size, dtype=dtype: subject.bandwidth(size, dtype))
        for size in bandwidth.SIZES
        for dtype in bandwidth.DTYPES
    },
    **vectorisation.CASES,
}


def write(workloads: list[str]) -> None:
    """Record the named workloads and keep them in the ledger file; what fails is kept as its error."""
    subject.prepare(threads=1)  # several trees may be recorded at a time
    kept = []
    for name in workloads:
        try:
            case = WORKLOADS[name]()
            case.run()
            kept.append(recording.ledger_of(case))
        except Exception as error:
            kept.append(recording.failed_ledger(name, error))
    recording.save(kept)


def write_stacks(workloads: list[str], output: str) -> None:
    """Record the named workloads by stack into a JSON file: lists of costs, or errors as texts."""
    subject.prepare(threads=1)  # several trees may be recorded at a time
    found: dict[str, Any] = {}
    for name in workloads:
        try:
            case = WORKLOADS[name]()
            case.run()
            found[name] = to_plain(recording.stacks_of(case))
        except Exception as error:
            found[name] = recording.failed_ledger(name, error).error
    Path(output).write_text(json.dumps(found), encoding="ascii")
