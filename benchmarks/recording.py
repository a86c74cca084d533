"""What setup_cache computes once a commit: ledgers, bandwidth, faults; read by every track_."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from asv_runner.benchmarks.mark import SkipNotImplemented

from nbbench.host import HostWork
from nbbench.ledger import Ledger
from nbbench.probe.resources import measure, pin_malloc
from nbbench.probe.workload import record_ledger
from nbbench.record.redact import redact_text
from nbbench.record.side_files import write_ledgers

from . import subject

Record = dict[str, Any]
MISSING = "NotImplementedError: "


def record(
    name: str, build: Callable[[], subject.Case], function: Callable[[subject.Case], Record]
) -> Record:
    """`function(build())`, or the error as text: one broken workload must not lose the others."""
    try:
        return function(build())
    except NotImplementedError as error:
        return {"error": f"{MISSING}{error}"}
    except Exception as error:
        return {"error": f"{name}: {error}"}


def look_up(cache: dict[str, Record], name: str, figure: str) -> float:
    """A figure of the cache; skipped or failed with the reason that was recorded.

    asv takes NotImplementedError for a skip in `setup` only; in the benchmark itself it wants
    its own exception.
    """
    found = cache[name]
    error = str(found.get("error", ""))
    if error.startswith(MISSING):
        print(f"asv: skipped: {error.removeprefix(MISSING)}")
        raise SkipNotImplemented(error.removeprefix(MISSING))
    if error:
        raise subject.SubjectBroken(error)
    return float(found[figure])


def ledger_of(case: subject.Case) -> Ledger:
    """The case's ledger; run it once before, so that caches of the subject are warm."""
    return record_ledger(
        case.name, case.run, pixels=case.pixels, asked=case.asked, source_root=subject.source_root()
    )


def operations(case: subject.Case) -> int:
    """Operations of one run, without timing anything."""
    return ledger_of(case).ops


def counts(ledger: Ledger) -> Record:
    """The exact figures of a ledger."""
    bits = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}.get(ledger.output_dtype, 0)
    return {
        "operations": ledger.ops,
        "dispatched": ledger.dispatched,
        "bytes_per_pixel": ledger.bytes_per_pixel,
        "upcast_bytes_per_pixel": ledger.upcast_bytes / ledger.pixels,
        "peak_live_bytes": ledger.peak_live_bytes,
        "output_bits": bits,
    }


def failed_ledger(name: str, error: Exception) -> Ledger:
    """A ledger that only says why there is none."""
    reason = str(error) if isinstance(error, subject.SubjectBroken) else f"{type(error).__name__}: {error}"
    return Ledger(name, 0, 0, 0, 0, 0, 0, (), "", "", "", error=redact_text(reason, os.environ))


def save(ledgers: Iterable[Ledger], host: Iterable[HostWork] = ()) -> None:
    """Keep ledgers and host work, line by line, beside asv's results (where the environment asks for it)."""
    path = os.environ.get("NBBENCH_LEDGER_FILE", "")
    kept = {ledger.workload: ledger for ledger in ledgers}
    counted = {one.workload: one for one in host}
    if path and (kept or counted):
        from importlib.metadata import version

        write_ledgers(
            Path(path),
            tree=os.environ.get("NBBENCH_TREE_ID", ""),
            commit=os.environ.get("ASV_COMMIT", ""),
            torch=version("torch").partition("+")[0],
            ledgers=kept,
            host=counted,
        )


def timed(case: subject.Case, *, repeat: int = 3, budget_s: float = 3.0) -> Record:
    """Median wall and system seconds and minor faults of a few runs, after one to warm up."""
    case.run()
    runs = measure(case.run, repeat, budget_s=budget_s)
    return {
        "wall_s": median(r.wall_s for r in runs),
        "system_s": median(r.system_s for r in runs),
        "minor_faults": median(r.minor_faults for r in runs),
    }


def pin() -> bool:
    """Pin malloc for the rest of this process."""
    return pin_malloc()
