"""What malloc costs, as text or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbbench import units
from nbbench.model import to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.work.allocator_cost import MALLOC_REMEDY, MEANING, Allocation, Cost

_HEAD = ("workload", "faults a run", "system time", "default / pinned", "verdict")
_MEASURED_HEAD = (
    *("workload", "faults a run", "pinned", "remedied", "system time", "default / pinned"),
    *("default / remedied", "largest tensor", "verdict"),
)


def allocator_blocks(title: str, rows: Sequence[Allocation], notes: Sequence[str]) -> list[Block]:
    """The headline, a row for each workload, the lines that allocate most, the remedy."""
    measured = any(row.remedied is not None for row in rows)
    cells = [_measured(row) if measured else _recorded(row) for row in rows]
    blocks: list[Block] = [
        Title(f"{title}: {allocator_headline(rows)}"),
        Table(_MEASURED_HEAD if measured else _HEAD, cells, right=range(1, 8) if measured else (1, 2, 3)),
    ]
    blocks += [block for row in rows for block in _lines(row)]
    there = {row.cost for row in rows}
    if said := [f"{cost}: {meaning}" for cost, meaning in MEANING.items() if cost in there]:
        blocks.append("\n".join(said))
        blocks.append(f"remedy without touching the code: start the process with {MALLOC_REMEDY}")
    return [*blocks, *(f"note: {note}" for note in notes)]


def allocator_payload(rows: Sequence[Allocation], notes: Sequence[str]) -> dict[str, Any]:
    """The same as JSON-ready values."""
    derived = ("cost", "verdict", "crossing")
    return {
        "headline": allocator_headline(rows),
        "remedy": MALLOC_REMEDY,
        "workloads": [
            {**to_plain(row), **{name: str(getattr(row, name)) for name in derived}} for row in rows
        ],
        "notes": list(notes),
    }


def _recorded(row: Allocation) -> list[str]:
    return [row.name, _count(row.faults), _share(row.system_share), _times(row.penalty), row.verdict]


def _measured(row: Allocation) -> list[str]:
    return [
        row.name,
        _count(row.faults),
        _count(row.pinned_faults),
        _count(row.remedied_faults),
        _share(row.system_share),
        _times(row.penalty),
        _times(row.remedied),
        units.format_bytes(row.largest_bytes) if row.largest_bytes else "-",
        row.verdict,
    ]


def _lines(row: Allocation) -> list[Block]:
    if not row.crossing:
        return []
    said = [f"{row.name}: {row.crossing}"]
    said += [
        f"  {one.line or 'the benchmark'}: {one.count} of up to {units.format_bytes(one.bytes)}"
        for one in row.large
    ]
    return ["\n".join(said)]


def _count(value: float | None) -> str:
    return f"{value:,.0f}" if value is not None else "-"


def _share(value: float | None) -> str:
    return f"{value:.0%}" if value is not None else "-"


def _times(value: float | None) -> str:
    return f"{value:.2f}×" if value is not None else "-"


def allocator_headline(rows: Sequence[Allocation]) -> str:
    """Who pays most, in one sentence, with the setting that ends it."""
    paying = [row for row in rows if row.pays]
    if not paying:
        measured = any(row.cost is not Cost.UNKNOWN for row in rows)
        return "the default malloc costs nothing here" if measured else "nothing tells what malloc costs here"
    worst = max(paying, key=lambda row: row.penalty or 1.0)
    return (
        f"the default malloc slows {len(paying)} of {len(rows)} down, {worst.name} most "
        f"({worst.penalty:.2f}×, {worst.faults or 0:,.0f} page faults a run); remedy: {MALLOC_REMEDY}"
    )
