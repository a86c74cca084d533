"""Ledgers alone, without any timing: what the gate and `nbbench explain` ask for first."""

from __future__ import annotations

from collections.abc import Callable

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
    subject.prepare()
    kept = []
    for name in workloads:
        try:
            case = WORKLOADS[name]()
            case.run()
            kept.append(recording.ledger_of(case))
        except Exception as error:
            kept.append(recording.failed_ledger(name, error))
    recording.save(kept)
