"""A roof, workloads under it and a dtype audit: made up, round figures."""

from __future__ import annotations

from nbbench.ledger import Ledger, LedgerLine, Roof
from nbbench.probe.verdicts import NOT_HERE
from nbbench.report.audits import dtypes_blocks, roofline_blocks
from nbbench.report.markdown import as_markdown
from nbbench.report.text import as_text
from nbbench.work.roofs import classify

MIB = 2**20
GB = 1_000_000_000
ROOF = Roof(
    copy=40.0 * GB,
    scale=38.0 * GB,
    add=39.0 * GB,
    triad=36.0 * GB,
    array_bytes=128 * MIB,
    cache_bytes=32 * MIB,
    threads=1,
    op_s=1e-6,
    view_s=0.5e-6,
    curve=((MIB // 8, 120.0 * GB), (MIB, 160.0 * GB), (16 * MIB, 80.0 * GB), (128 * MIB, 40.0 * GB)),
)


def ledger(
    name: str, *, frame: int, operations: int = 100, alive: int | None = None, views: int = 0
) -> Ledger:
    """Operations that read two frames and write one of `frame` bytes each."""
    line = LedgerLine("sim.py", 3, "run", "add", "float64", operations, 3 * frame * operations)
    return Ledger(
        workload=name,
        pixels=frame // 8,
        ops=operations,
        dispatched=operations + views,
        bytes=3 * frame * operations,
        upcast_bytes=0,
        peak_live_bytes=3 * frame if alive is None else alive,
        bytes_by_dtype=(("float64", 3 * frame * operations),),
        image_sum="1.0",
        image_digest="d",
        output_dtype="float64",
        lines=(line,),
    )


ROWS = [
    classify(ledger("bandwidth-2048-float64", frame=32 * MIB), [0.5, 0.4, 0.6], ROOF),
    classify(ledger("bandwidth-512-float64", frame=2 * MIB, alive=92 * MIB), [0.02], ROOF),
    classify(ledger("bandwidth-128-float64", frame=MIB // 8), [0.002], ROOF),
    classify(ledger("tricubic-1-float64", frame=8, operations=1000, views=400), [0.0015], ROOF),
]


def case(name: str, verdict: str = "neutral", reason: str = "stays float32", **more: object) -> dict:
    """A record of the audit."""
    tensor = {"name": "h", "dtype": "float32", "shape": [2, 3], "device": "cpu"}
    return {
        "case": name,
        "dtype": "float32",
        "verdict": verdict,
        "reason": reason,
        "inputs": [tensor],
        "outputs": [tensor],
        "upcasts": [],
        "warnings": [],
        **more,
    }


UPCAST = {"path": "sim.py", "line": 12, "function": "sincg", "operation": "where", "dtype": "float64", "count": 6, "bytes": 196_608}  # fmt: skip  # noqa: E501
SNAPSHOT = {
    "schema": "nbbench.dtype-snapshot/1",
    "commit": {"hash": "a79d0677" * 5},
    "torch": "2.13.0",
    "verdict": "broken",
    "counts": {"neutral": 1, "upcasts": 1, "broken": 1, NOT_HERE: 1},
    "cases": [
        case("tricubic-grid", warnings=[{"message": "UserWarning: out of range | `now`", "count": 2}]),
        case("simulator", "upcasts", "196,608 B wider than float32, most at sim.py:12", upcasts=[UPCAST] * 7),
        case("sources", "broken", "NameError: name 'x' is not defined (sim.py:4)", outputs=[]),
        case("tricubic-batch", NOT_HERE, "this commit has no such thing", inputs=[], outputs=[]),
    ],
}
NOTES = ["others use this machine"]

CASES = {
    "roofline.txt": lambda: as_text(roofline_blocks("roofline of 8b8c48d0", ROOF, ROWS, NOTES)),
    "roofline.md": lambda: as_markdown(roofline_blocks("roofline of 8b8c48d0", ROOF, ROWS, NOTES)),
    "dtypes.txt": lambda: as_text(dtypes_blocks(SNAPSHOT)),
    "dtypes.md": lambda: as_markdown(dtypes_blocks(SNAPSHOT)),
}
