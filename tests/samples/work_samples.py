"""Ledgers of a small simulator before and after a change, and how its source changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from nbbench.ledger import FileDiff, Hunk, Ledger, LedgerLine
from nbbench.model import Commit
from nbbench.work.line_match import LineMatch
from nbbench.work.work_share import Timing

PIXELS = 1024 * 1024
SIM, PHYS = "nanobrag_torch/simulator.py", "nanobrag_torch/utils/physics.py"
BASE = Commit("1" * 40, "tree1", datetime(2025, 9, 29, tzinfo=UTC), "before", 11)
HEAD = Commit("2" * 40, "tree2", datetime(2025, 9, 30, tzinfo=UTC), "after", 12)

# Three lines came before line 20 of the simulator; two of physics became other lines.
DIFF = (
    FileDiff(SIM, SIM, (Hunk(20, 20, (), ("# a", "# b", "polar = polarization(coords)")),)),
    FileDiff(PHYS, PHYS, (Hunk(8, 8, ("r = u / n",), ("r = (u / n).double()",)),)),
)
MATCH = LineMatch(DIFF)


def line(path: str, number: int, function: str, op: str, per_pixel: int, *more: object) -> LedgerLine:
    """A line of `per_pixel` bytes a pixel; `more` are the count and the dtype."""
    count, dtype = (*more, *(1, "float32")[len(more) :])
    return LedgerLine(path, number, function, op, str(dtype), int(str(count)), per_pixel * PIXELS)


BASE_LINES = (
    line(SIM, 12, "Simulator.run", "mul", 24, 2),
    line(SIM, 30, "Simulator.run", "add", 12),
    line(PHYS, 8, "sincg", "div", 12),
    line(PHYS, 9, "sincg", "where", 20, 2),
    line(PHYS, 40, "sincg", "ones_like", 8),
)
HEAD_LINES = (
    line(SIM, 12, "Simulator.run", "mul", 24, 2),
    line(SIM, 33, "Simulator.run", "add", 12),  # moved by the three lines above it
    line(SIM, 22, "Simulator.run", "div", 28),
    line(PHYS, 8, "sincg", "div", 24, 1, "float64"),
    line(PHYS, 9, "sincg", "where", 40, 2, "float64"),
    line(PHYS, 60, "polarization", "mul", 36, 4),
)


def ledger(lines: tuple[LedgerLine, ...], workload: str = "bandwidth-1024-float32", **more: object) -> Ledger:
    """A ledger whose totals are the sums of its lines."""
    dtypes = {one.dtype for one in lines}
    made = Ledger(
        workload=workload,
        pixels=PIXELS,
        ops=sum(one.count for one in lines),
        dispatched=2 * sum(one.count for one in lines),
        bytes=sum(one.bytes for one in lines),
        upcast_bytes=sum(one.bytes // 3 for one in lines if one.dtype == "float64"),
        peak_live_bytes=40 * PIXELS,
        bytes_by_dtype=tuple((d, sum(o.bytes for o in lines if o.dtype == d)) for d in sorted(dtypes)),
        image_sum="64.0",
        image_digest="a",
        output_dtype="float32",
        image_blocks=(1.0,) * 64,
        lines=lines,
        fused_bytes=16 * PIXELS,
        peak_line=(PHYS, 9, "sincg"),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def before(**more: object) -> Ledger:
    return ledger(BASE_LINES, **more)


def after(**more: object) -> Ledger:
    changed = {"image_digest": "b", "image_sum": "70.4", "image_blocks": (1.1,) * 64}
    return ledger(HEAD_LINES, **({"peak_live_bytes": 52 * PIXELS} | changed | more))


def timing(before_s: float = 0.050, after_s: float = 0.120, **more: object) -> Timing:
    series = "bandwidth.Warm.time_run(size=1024, dtype='float32')"
    made = Timing("bandwidth-1024-float32", series, "runner", before_s, after_s)
    return replace(made, **more)  # type: ignore[arg-type]
