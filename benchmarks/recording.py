"""What setup_cache computes once a commit, read by every track_: figures of ledgers, times, faults."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from asv_runner.benchmarks.mark import SkipNotImplemented

from nbbench.ledger import Ledger
from nbbench.measure.recording import ledger_of
from nbbench.probe.resources import measure

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


def timed(case: subject.Case, *, repeat: int = 3, budget_s: float = 3.0) -> Record:
    """Median wall and system seconds and minor faults of a few runs, after one to warm up."""
    case.run()
    runs = measure(case.run, repeat, budget_s=budget_s)
    return {
        "wall_s": median(r.wall_s for r in runs),
        "system_s": median(r.system_s for r in runs),
        "minor_faults": median(r.minor_faults for r in runs),
    }


def agreement(image: torch.Tensor, reference: torch.Tensor) -> dict[str, float]:
    """How alike two images are, computed in float64 on the processor.

    `correlation` is Pearson's, `relative_error` the largest difference over the largest value of the
    reference, `sum_ratio` the ratio of the sums. Equal images correlate with 1, constant ones too.
    """
    ours, theirs = (one.detach().to("cpu", torch.float64).reshape(-1) for one in (image, reference))
    if ours.shape != theirs.shape:
        raise ValueError(f"images of {ours.numel()} and {theirs.numel()} values cannot be compared")
    x, y = ours - ours.mean(), theirs - theirs.mean()
    norm = float(x.norm() * y.norm())
    largest, total = float(theirs.abs().max()), float(theirs.sum())
    error = float((ours - theirs).abs().max())
    return {
        "correlation": float(x @ y) / norm if norm else float(torch.equal(ours, theirs)),
        "relative_error": error / largest if largest else error,
        "sum_ratio": float(ours.sum()) / total if total else float(float(ours.sum()) == total),
    }
