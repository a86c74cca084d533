"""What malloc costs, as text or Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nbbench import units
from nbbench.model import to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.work.allocator_cost import MALLOC_REMEDY, Allocation, Cost

_HEAD = (
    "workload",
    "faults a run",
    "remedied",
    "system time",
    "default / remedied",
    "largest tensor",
    "verdict",
)
_MEANING = {
    Cost.HEAP: "freed memory at the heap's end goes back to the system, and is faulted in again",
    Cost.MAPPED: "tensors of 32 MiB or more are mapped, faulted in and unmapped each time",
}


def allocator_blocks(title: str, rows: Sequence[Allocation], notes: Sequence[str]) -> list[Block]:
    """The headline, a row for each workload, the lines that allocate most, the remedy."""
    blocks: list[Block] = [
        Title(f"{title}: {allocator_headline(rows)}"),
        Table(_HEAD, [_cells(row) for row in rows], right=range(1, 6)),
    ]
    blocks += [block for row in rows for block in _lines(row)]
    there = {row.cost for row in rows}
    if said := [f"{cost}: {meaning}" for cost, meaning in _MEANING.items() if cost in there]:
        blocks.append("\n".join(said))
        blocks.append(f"remedy without touching the code: start the process with {MALLOC_REMEDY}")
    return [*blocks, *(f"note: {note}" for note in notes)]


def allocator_payload(rows: Sequence[Allocation], notes: Sequence[str]) -> dict[str, Any]:
    """The same as JSON-ready values."""
    return {
        "headline": allocator_headline(rows),
        "remedy": MALLOC_REMEDY,
        "workloads": [
            {
                **to_plain(row),
                "penalty": row.penalty,
                "cost": str(row.cost),
                "verdict": allocator_verdict(row),
            }
            for row in rows
        ],
        "notes": list(notes),
    }


def allocator_verdict(row: Allocation) -> str:
    """`none`, or what happens and what it costs."""
    if row.cost is Cost.NONE:
        return str(row.cost)
    paid = f"pays {row.penalty - 1:.0%}" if row.pays else "no measurable cost in time"
    return f"{row.cost}: {paid}"


def _cells(row: Allocation) -> list[str]:
    return [
        row.name,
        f"{row.faults:,.0f}",
        f"{row.remedied_faults:,.0f}",
        f"{row.system_share:.0%}",
        f"{row.penalty:.2f}×",
        units.format_bytes(row.largest_bytes) if row.largest_bytes else "-",
        allocator_verdict(row),
    ]


def _lines(row: Allocation) -> list[Block]:
    """From which frame size on the largest tensor is mapped, and who allocates it."""
    if not (least := row.crossing_pixels):
        return []
    is_frame = math.isqrt(row.pixels) ** 2 == row.pixels
    frame = f", a frame of n = {math.isqrt(least - 1) + 1:,}" if is_frame else ""
    said = [
        f"{row.name}: its largest tensor has {row.largest_bytes / row.pixels:g} B a pixel "
        f"({units.format_bytes(row.largest_bytes)}): it is mapped each time from {least:,} pixels on{frame}; "
        "in smaller bands it is not"
    ]
    said += [
        f"  {one.line or 'the benchmark'}: {one.count} of up to {units.format_bytes(one.bytes)}"
        for one in row.large
    ]
    return ["\n".join(said)]


def allocator_headline(rows: Sequence[Allocation]) -> str:
    """Who pays most, in one sentence, with the setting that ends it."""
    paying = [row for row in rows if row.pays]
    if not paying:
        return "the default malloc costs nothing here"
    worst = max(paying, key=lambda row: row.penalty)
    return (
        f"the default malloc slows {len(paying)} of {len(rows)} down, {worst.name} most "
        f"({worst.penalty:.2f}×, {worst.faults:,.0f} page faults a run); remedy: {MALLOC_REMEDY}"
    )
