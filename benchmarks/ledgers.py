"""Ledgers alone, without any timing: what the gate and `nbbench explain` ask for first."""

from __future__ import annotations

import functools
from collections.abc import Callable

from . import recording, subject, vectorisation
from .workloads import BANDWIDTH

WORKLOADS: dict[str, Callable[[], subject.Case]] = {
    **{one.name: functools.partial(subject.bandwidth, **dict(one.params)) for one in BANDWIDTH},
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
