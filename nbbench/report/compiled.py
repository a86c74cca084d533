"""`nbbench ledger COMMIT --compiled`: what torch.compile makes of each workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbbench.compiled import CompiledProgram, CompiledScope, CompiledWork, CompileEvent
from nbbench.model import Commit, to_plain
from nbbench.report.blocks import Block, Bullets, Item, Table, Title
from nbbench.words import plural

_SCOPES = {
    CompiledScope.WHOLE: "the whole run compiled",
    CompiledScope.OWN: "only what the subject itself compiles",
}


def compiled_blocks(commit: Commit, found: Mapping[str, CompiledWork], torch: str) -> list[Block]:
    """For each workload a line of bytes, its graphs, and why graphs broke or were compiled again."""
    blocks: list[Block] = []
    for name, one in found.items():
        if one.error:
            blocks.append(f"{name} fails under torch.compile at {commit.short}: {one.error}")
            continue
        for program in one.programs:
            what = f"{name} at {commit.short}, {_SCOPES[program.scope]} by torch {torch}"
            blocks += [Title(what), _line(one, program)]
            if program.graphs:
                blocks.append(_graph_table(one, program))
            blocks += [_events(*told) for told in _told(program) if told[1]]
        blocks += [f"note: {note}" for note in one.notes]
    return blocks


def compiled_payload(commit: Commit, found: Mapping[str, CompiledWork], torch: str) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.compiled/1`."""
    rows = []
    for one in found.values():
        programs = [
            {
                **_plain_program(program),
                "bytes_per_pixel": one.per_pixel(program),
                "sentence": _line(one, program),
            }
            for program in one.programs
        ]
        rows.append({**to_plain(one), "programs": programs})
    return {"commit": to_plain(commit), "torch": torch, "compiled": rows}


def _plain_program(program: CompiledProgram) -> dict[str, Any]:
    lists = ("graphs", "breaks", "recompiles")
    return {
        **program._asdict(),
        **{name: [one._asdict() for one in getattr(program, name)] for name in lists},
    }


def _line(one: CompiledWork, program: CompiledProgram) -> str:
    """`eager 1,685 B/pixel → compiled 270 → one fused kernel 16; 8 graphs, 26 kernels, 5 graph breaks`."""
    counts = [
        plural(len(program.graphs), "graph"),
        plural(program.kernels, "kernel"),
        plural(sum(event.times for event in program.breaks), "graph break"),
    ]
    if program.recompiles:
        counts.append(plural(sum(event.times for event in program.recompiles), "recompilation"))
    eager, fused = (f"{size / one.pixels:,.2f}" for size in (one.eager_bytes, one.fused_bytes))
    made = f"compiled {one.per_pixel(program):,.2f}" if program.graphs else "nothing compiled"
    return f"eager {eager} B/pixel → {made} → one fused kernel {fused}; {', '.join(counts)}"


def _graph_table(one: CompiledWork, program: CompiledProgram) -> Table:
    rows = []
    for graph in sorted(program.graphs, key=lambda each: each.bytes - each.eager_bytes):
        first, last = graph.lines
        place = (
            f"{graph.path}:{first}" + (f"–{last}" if last != first else "") if graph.path else "(elsewhere)"
        )
        sizes = [f"{size / one.pixels:,.2f}" for size in (graph.eager_bytes, graph.bytes)]
        rows.append([place, str(graph.runs), str(graph.kernels), *sizes])
    eager = one.eager_bytes - sum(graph.eager_bytes for graph in program.graphs)
    rows.append(["outside of graphs", "", "", *[f"{eager / one.pixels:,.2f}"] * 2])
    total = (one.eager_bytes / one.pixels, one.per_pixel(program))
    rows.append(["total", "", str(program.kernels), *(f"{size:,.2f}" for size in total)])
    return Table(["graph", "runs", "kernels", "B/px eager", "compiled"], rows, right=(1, 2, 3, 4), codes=(0,))


def _told(program: CompiledProgram) -> tuple[tuple[str, tuple[CompileEvent, ...]], ...]:
    return ("Graph breaks", program.breaks), ("Recompilations", program.recompiles)


def _events(title: str, events: tuple[CompileEvent, ...]) -> Bullets:
    items = []
    for one in events:
        place = f"{one.path}:{one.line}" if one.path else "outside of the subject"
        often = f", {one.times} times" if one.times > 1 else ""
        items.append(Item(f"{place}{often}: {one.reason}"))
    return Bullets(items, title=title)
