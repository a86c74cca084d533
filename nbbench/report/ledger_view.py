"""`nbbench ledger`: where a commit's bytes go, what fusion would save, and the steps of a range."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nbbench import units
from nbbench.ledger import Ledger
from nbbench.model import Commit, to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.report.figures import cost_icicle
from nbbench.words import plural, short_function
from nbbench.work.fusion import Headroom, headroom
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.work.shifts import FunctionChange, by_function
from nbbench.work.steps import WorkStep

_FUNCTION = 46
_LEAST = 0.05  # bytes per pixel that a table shows
_WHERE = 2  # functions named in a row of the step table


def ledger_blocks(
    commit: Commit, ledgers: Mapping[str, Ledger], *, by: str, top: int, fusion_only: bool = False
) -> list[Block]:
    """One commit: for each workload where its bytes go, then its fusion headroom."""
    blocks: list[Block] = []
    for name, one in ledgers.items():
        if one.error:
            blocks.append(f"{name} fails at {commit.short}: {one.error}")
            continue
        blocks.append("\n".join(_about(commit, one)))
        if not fusion_only:
            blocks += [_cost_table(one, by, top), cost_icicle(one)]
        blocks += _fusion(one, top)
    return blocks


def ledger_payload(commit: Commit, ledgers: Mapping[str, Ledger]) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.ledger/1`."""
    rows = {
        name: [{**to_plain(entry), "gain": entry.gain} for entry in headroom(one)]
        for name, one in ledgers.items()
        if one.functions
    }
    return {"commit": to_plain(commit), "ledgers": [_plain(one) for one in ledgers.values()], "fusion": rows}


def _plain(one: Ledger) -> dict[str, Any]:
    """A ledger older than the figure does not know its fused bytes: null, never 0."""
    return {**to_plain(one), "fused_bytes": one.fused_bytes if one.functions else None}


def _about(commit: Commit, one: Ledger) -> list[str]:
    said = (
        f"{one.workload} at {commit.short} moves {one.bytes_per_pixel:,.2f} B/pixel in {one.ops:,} "
        f"operations ({one.dispatched:,} dispatched)"
    )
    if one.functions:
        fused = one.fused_bytes / one.pixels
        said += (
            f"; a perfect fusion would move {fused:,.2f} B/pixel: {one.bytes / one.fused_bytes:,.0f}× less"
        )
    path, line, function = one.peak_line
    where = f", at {path}:{line} {function}" if path else ""
    lines = [f"{said}.", f"peak live: {units.format_bytes(one.peak_live_bytes)}{where}"]
    if one.upcast_bytes:
        lines.append(f"wider than asked: {one.upcast_bytes / one.pixels:,.2f} B/pixel")
    if one.backward_ops:
        back = one.backward_bytes / one.pixels
        forward = f"{one.bytes_per_pixel - back:,.2f} B/pixel in {one.ops - one.backward_ops:,} operations"
        lines.append(f"forward {forward}, backward {back:,.2f} in {one.backward_ops:,}")
    return [*lines, *one.notes]


def _cost_table(one: Ledger, by: str, top: int) -> Table:
    rows = _grouped(one, by)
    cells = [
        [what, f"{count:,}", f"{size / one.pixels:,.2f}", _percent(size / one.bytes) if one.bytes else ""]
        for what, count, size in rows[:top]
    ]
    if len(rows) > top:
        count, size = sum(row[1] for row in rows[top:]), sum(row[2] for row in rows[top:])
        share = _percent(size / one.bytes) if one.bytes else ""
        cells.append([f"… {len(rows) - top} more", f"{count:,}", f"{size / one.pixels:,.2f}", share])
    cells.append(["total", f"{one.ops:,}", f"{one.bytes_per_pixel:,.2f}", "100.0 %"])
    return Table([by, "calls", "B/pixel", "share"], cells, right=(1, 2, 3), codes=(0,))


def _grouped(one: Ledger, by: str) -> list[tuple[str, int, int]]:
    """(what, calls, bytes), largest first."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in one.lines:
        place = f"{line.path}:{line.line} {line.function}" if line.path else "(benchmark)"
        function = line.function or "(benchmark)"
        key = {"line": place, "function": function, "op": line.op, "dtype": line.dtype}[by]
        sums[key][0] += line.count
        sums[key][1] += line.bytes
    return sorted(((k, c, b) for k, (c, b) in sums.items()), key=lambda row: (-row[2], row[0]))


def _fusion(one: Ledger, top: int) -> list[Block]:
    if not one.functions:
        return ["fusion headroom: unknown, the ledger is older than the figure"]
    found = headroom(one)
    shown = [entry for entry in found if entry.gain >= _LEAST][:top] or found[:1]
    cells = [_headroom_cells(entry) for entry in shown]
    heads = ["function", "calls", "B/px moved", "own", "fused", "to gain", "share", "cumulative"]
    said = (
        "What fusing one function into a kernel would save. The gain of a function contains that of the "
        "functions it calls; the cumulative share adds those that call no other."
    )
    if len(found) > len(shown):
        said += f" {plural(len(found) - len(shown), 'function')} more with less to gain."
    table = Table(heads, cells, right=tuple(range(1, 8)), codes=(0,))
    return [Title(f"Fusion headroom of {one.workload}"), table, said]


def _headroom_cells(entry: Headroom) -> list[str]:
    file = entry.path.rpartition("/")[2]
    return [
        f"{file} {short_function(entry.function, _FUNCTION - len(file))}",
        f"{entry.calls:,}",
        f"{entry.moved:,.1f}",
        f"{entry.own:,.1f}",
        f"{entry.fused:,.1f}",
        f"{entry.gain:,.1f}",
        _percent(entry.share),
        "" if entry.cumulative is None else _percent(entry.cumulative),
    ]


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def steps_blocks(
    commits: int, steps: Sequence[WorkStep], workloads: Sequence[str], *, by_name: bool
) -> list[Block]:
    """The steps of a range and the command that shows each in full; `workloads` are those compared."""
    if not steps:
        return [f"{plural(commits, 'commit')}: the work of {', '.join(workloads)} never changed"]
    machines = sorted({step.timing.machine for step in steps if step.timing})
    names = ", ".join(dict.fromkeys(step.workload for step in steps))
    said = [f"{plural(len(steps), 'step')} in {plural(commits, 'commit')}: {names}; bytes per pixel."]
    if machines:
        said.append(
            f"Times of {', '.join(machines)}: ~ where the samples' intervals overlap, blank if not measured."
        )
    how = "by function names (no subject is registered)" if by_name else "through the diff of the two trees"
    said.append(f"Lines are matched {how}.")
    heads = ["#", "commit", "date", "workload", "B/px before", "after", "change", "ops", "after"]
    heads += ["time", "image", "reproduce", "where (B/px)"]
    rows = [_step_cells(step) for step in steps]
    right, spare = (0, *range(4, 10)), (11, 0, 2, 10, 7, 8, 4, 5)
    return ["\n".join(said), Table(heads, rows, right=right, codes=(1, 3, 11), spare=spare)]


def _step_cells(step: WorkStep) -> list[str]:
    commit, diff = step.commit, step.diff
    start = [str(commit.position or ""), commit.short, f"{commit.date:%Y-%m-%d}", step.workload]
    if diff is None:
        return [*start, *[""] * 8, f"fails: {step.error}"]
    figures = [f"{diff.base.bytes_per_pixel:,.2f}", f"{diff.head.bytes_per_pixel:,.2f}", _change(diff)]
    counts = [f"{diff.base.ops:,}", f"{diff.head.ops:,}", _time(step), diff.image]
    return [*start, *figures, *counts, _reproduce(step), _where(step)]


def _change(diff: LedgerDiff) -> str:
    """The change of the bytes; `0 %` where it is too small to show and operations or values tell."""
    shown = units.format_change(diff.effect)
    return "0 %" if shown in ("+0.00 %", "-0.00 %") else shown


def _time(step: WorkStep) -> str:
    if step.timing is None:
        return ""
    return ("~" if step.timing.overlap else "") + units.format_change(step.timing.effect)


def _where(step: WorkStep) -> str:
    """The functions that changed most with their places, as the table's last words."""
    diff = step.diff
    if diff is None or not diff.lines:
        return "values only" if diff else ""
    said, functions = [], by_function(diff)
    for one in functions[:_WHERE]:
        said.append(f"{one.function} {_size(one)} ({_places(diff, one.path, one.function)})")
    rest = len(functions) - _WHERE
    return ", ".join(said) + (f" and {rest} more" if rest > 0 else "")


def _reproduce(step: WorkStep) -> str:
    """The command that shows this row in full; empty where there is nothing before it."""
    if step.base is None:
        return ""
    return f"nbbench explain {step.base.short} {step.commit.short} --bench {step.workload}"


def _size(one: FunctionChange) -> str:
    """Bytes per pixel more; operations where bytes hardly moved."""
    if abs(one.delta) >= _LEAST:
        return f"{one.delta:+,.1f}"
    noun = "operation" if abs(one.calls) == 1 else "operations"
    return f"{one.calls:+,} {noun}" if one.calls else "other scalars"


def _places(diff: LedgerDiff, path: str, function: str) -> str:
    """The file with the two lines that changed most in one function."""
    mine = [
        c
        for c in diff.lines
        if c.where.rpartition(":")[0] == path and (c.function or "(benchmark)") == function
    ]
    lines = dict.fromkeys(c.where.rpartition(":")[2] for c in mine)
    return f"{path.rpartition('/')[2]}:{','.join(list(lines)[:2])}" if path else "benchmark"


def steps_payload(commits: int, steps: Sequence[WorkStep]) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.ledger-steps/1`."""
    return {"commits": commits, "steps": [_plain_step(step) for step in steps]}


def _plain_step(step: WorkStep) -> dict[str, Any]:
    commit, diff, timing = step.commit, step.diff, step.timing
    row: dict[str, Any] = {
        "position": commit.position,
        "commit": commit.hash,
        "base": step.base.hash if step.base else None,
        "date": f"{commit.date:%Y-%m-%d}",
        "workload": step.workload,
        "reproduce": _reproduce(step),
    }
    if diff is None:
        return {**row, "what": step.error}
    row |= {
        "bytes_before": round(diff.base.bytes_per_pixel, 2),
        "bytes_after": round(diff.head.bytes_per_pixel, 2),
        "change": units.format_change(diff.effect),
        "ops_before": diff.base.ops,
        "ops_after": diff.head.ops,
        "upcast": round(diff.head.upcast_per_pixel, 2),
        "image": diff.image,
        "what": _where(step),
        "lines": to_plain(diff.lines),
    }
    if timing is not None:
        row |= {"machine": timing.machine, "time_before_s": timing.before_s, "time_after_s": timing.after_s}
        row |= {"time_effect": timing.effect, "intervals_overlap": timing.overlap}
    return row
