"""The roofline in figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbbench import units
from nbbench.ledger import Roof
from nbbench.model import to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.report.figures import roofline_figure
from nbbench.words import plural
from nbbench.work.roofs import WRITE_ALLOCATE, Achieved, Bound, with_write_allocate

_HEAD = (
    "workload",
    "time",
    "work",
    "achieved",
    "roof",
    "ceiling",
    "of it",
    "dispatch",
    "an operation",
    "alive",
)
_MEANING = {
    Bound.DISPATCH: "calling operations takes the larger part of the time: fewer, larger operations help",
    Bound.CACHE: "the working set fits in the last-level cache, whose own bandwidth is the ceiling",
    Bound.PARTLY: "operations find their operands in the cache, though the working set does not fit",
    Bound.MEMORY: "operations stream through memory: STREAM's best figure is the ceiling",
}


def roofline_blocks(title: str, roof: Roof, rows: Sequence[Achieved], notes: Sequence[str]) -> list[Block]:
    """Ceilings, one row a workload, and what each roof means."""
    traffic, there = with_write_allocate(roof), {row.bound for row in rows}
    rates = [
        (name, *(units.format_value(rate, "B/s") for rate in (getattr(roof, name), traffic[name])))
        for name in WRITE_ALLOCATE
    ]
    return [
        Title(f"{title}: {roofline_headline(rows)}"),
        _machine_line(roof),
        Table(("kernel", "STREAM", "with write-allocate"), rates, right=(1, 2)),
        Table(_HEAD, [_cells(row) for row in rows], right=(1, 2, 3, 5, 6, 7, 8, 9)),
        roofline_figure(title, roof, rows),
        "\n".join(f"{bound}: {meaning}" for bound, meaning in _MEANING.items() if bound in there),
        *(f"note: {note}" for note in notes),
    ]


def roofline_payload(roof: Roof, rows: Sequence[Achieved], notes: Sequence[str]) -> dict[str, Any]:
    """The same as JSON-ready values."""
    return {
        "roof": {**to_plain(roof), "with_write_allocate": with_write_allocate(roof)},
        "workloads": [{**to_plain(row), "fraction": row.fraction} for row in rows],
        "headline": roofline_headline(rows),
        "notes": list(notes),
    }


def _machine_line(roof: Roof) -> str:
    """How the ceilings were taken."""
    small = "" if roof.beyond_cache else " (less than four times the cache: memory's figures may be too high)"
    return (
        f"{plural(roof.threads, 'thread')}, arrays of {units.format_bytes(roof.array_bytes)}{small}, "
        f"last-level cache {units.format_bytes(roof.cache_bytes) if roof.cache_bytes else 'unknown'}; "
        f"an operation costs {units.format_seconds(roof.op_s)}"
    )


def _cells(row: Achieved) -> list[str]:
    return [
        row.workload,
        units.format_seconds(row.seconds),
        units.format_bytes(row.bytes),
        units.format_value(row.rate, "B/s"),
        str(row.bound),
        units.format_value(row.ceiling, "B/s") if row.ceiling else "-",
        f"{row.fraction:.0%}" if row.fraction is not None else "-",
        f"{min(row.dispatch_share, 1.0):.0%}",
        units.format_bytes(row.operation_bytes),
        units.format_bytes(row.working_set_bytes),
    ]


def roofline_headline(rows: Sequence[Achieved]) -> str:
    """The workload that comes nearest to its roof, in one sentence."""
    held = [row for row in rows if row.fraction is not None]
    if not held:
        return "no workload has a bandwidth ceiling here: calling operations takes the time"
    near = max(held, key=lambda row: row.fraction or 0.0)
    return f"nearest to its roof: {near.workload} at {near.fraction:.0%} of the {near.bound} ceiling"
