"""`nbbench ledger`: where a commit's bytes go, and the steps of a range."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nbbench import units
from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.report.blocks import Block, Table
from nbbench.report.explain import matched_by, plain_diff
from nbbench.words import plural
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.work.steps import WorkStep, by_function

_LEAST = 0.05  # bytes per pixel that a table shows
_WHERE = 2  # functions named in a row of the step table


def ledger_blocks(commit: Commit, ledgers: Mapping[str, Ledger], *, by: str, top: int) -> list[Block]:
    """One commit: for each workload where its bytes go."""
    blocks: list[Block] = []
    for name, one in ledgers.items():
        if one.error:
            blocks.append(f"{name} fails at {commit.short}: {one.error}")
            continue
        blocks.append("\n".join(_about(commit, one)))
        blocks.append(_cost_table(one, by, top))
    return blocks


def _about(commit: Commit, one: Ledger) -> list[str]:
    less = f": {one.bytes / one.fused_bytes:,.0f}× less" if one.fused_bytes else ""
    path, line, function = one.peak_line
    where = f", at {path}:{line} {function}" if path else ""
    lines = [
        f"{one.workload} at {commit.short} moves {one.bytes_per_pixel:,.2f} B/pixel in {one.ops:,} "
        f"operations ({one.dispatched:,} dispatched); a perfect fusion would move "
        f"{one.fused_bytes / one.pixels:,.2f} B/pixel{less}.",
        f"peak live: {units.format_bytes(one.peak_live_bytes)}{where}",
    ]
    if one.upcast_bytes:
        lines.append(f"wider than asked: {one.upcast_per_pixel:,.2f} B/pixel")
    if one.backward_ops:
        back = one.backward_bytes / one.pixels
        forward = f"{one.bytes_per_pixel - back:,.2f} B/pixel in {one.ops - one.backward_ops:,} operations"
        lines.append(f"forward {forward}, backward {back:,.2f} in {one.backward_ops:,}")
    return [*lines, *one.notes]


def _cost_table(one: Ledger, by: str, top: int) -> Table:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in one.lines:
        place = f"{line.path}:{line.line} {line.function}" if line.path else "(benchmark)"
        keys = {"line": place, "function": line.function or "(benchmark)", "op": line.op, "dtype": line.dtype}
        sums[keys[by]][0] += line.count
        sums[keys[by]][1] += line.bytes
    rows = sorted(((k, c, b) for k, (c, b) in sums.items()), key=lambda row: (-row[2], row[0]))
    if rest := rows[top:]:
        rest = [(f"… {len(rest)} more", sum(c for _, c, _ in rest), sum(b for *_, b in rest))]
    cells = [
        [
            what,
            f"{count:,}",
            f"{size / one.pixels:,.2f}",
            f"{100 * size / one.bytes:.1f} %" if one.bytes else "",
        ]
        for what, count, size in [*rows[:top], *rest, ("total", one.ops, one.bytes)]
    ]
    return Table([by, "calls", "B/pixel", "share"], cells, right=(1, 2, 3), codes=(0,))


def steps_blocks(
    commits: int, steps: Sequence[WorkStep], workloads: Sequence[str], *, by_name: bool
) -> list[Block]:
    """The steps of a range and the command that shows each in full; `workloads` are those compared."""
    if not steps:
        what = f"bytes, operations and image of {', '.join(workloads)} never changed"
        return [f"{plural(commits, 'commit')}: {what}; `nbbench regressions` finds changes of all other work"]
    names = ", ".join(dict.fromkeys(step.workload for step in steps))
    said = [f"{plural(len(steps), 'step')} in {plural(commits, 'commit')}: {names}; bytes per pixel."]
    said.append(f"Lines are matched {matched_by(by_name)}.")
    heads = ["#", "commit", "date", "workload", "B/px before", "after", "change", "ops", "after"]
    heads += ["image", "reproduce", "where (B/px)"]
    rows = [_step_cells(step) for step in steps]
    right, spare = (0, *range(4, 9)), (10, 0, 2, 9, 7, 8, 4, 5)
    return ["\n".join(said), Table(heads, rows, right=right, codes=(1, 3, 10), spare=spare)]


def _step_cells(step: WorkStep) -> list[str]:
    commit, diff = step.commit, step.diff
    start = [str(commit.position or ""), commit.short, f"{commit.date:%Y-%m-%d}", step.workload]
    if diff is None:
        return [*start, *[""] * 7, f"fails: {step.error}"]
    change = units.format_change(diff.effect)
    # Too small to show: operations or values tell.
    change = "0 %" if change in ("+0.00 %", "-0.00 %") else change
    figures = [f"{diff.base.bytes_per_pixel:,.2f}", f"{diff.head.bytes_per_pixel:,.2f}", change]
    counts = [f"{diff.base.ops:,}", f"{diff.head.ops:,}", diff.image]
    return [*start, *figures, *counts, _reproduce(step), _where(diff)]


def _reproduce(step: WorkStep) -> str:
    """The command that shows this row in full; empty where there is nothing before it."""
    if step.base is None:
        return ""
    return f"nbbench explain {step.base.short} {step.commit.short} --bench {step.workload}"


def _where(diff: LedgerDiff) -> str:
    """The functions that changed most: bytes per pixel (operations where bytes hardly moved), places."""
    said, functions = [], by_function(diff)
    for one in functions[:_WHERE]:
        mine = [c.where for c in diff.lines if (c.function or "(benchmark)") == one.function]
        lines = dict.fromkeys(w.rpartition(":")[2] for w in mine if w.rpartition(":")[0] == one.path)
        place = f"{one.path.rpartition('/')[2]}:{','.join(list(lines)[:2])}" if one.path else "benchmark"
        size = f"{one.delta:+,.1f}" if abs(one.delta) >= _LEAST else f"{one.calls:+,} operations"
        said.append(f"{one.function} {size} ({place})")
    rest = len(functions) - _WHERE
    return ", ".join(said) + (f" and {rest} more" if rest > 0 else "") or "values only"


def plain_step(step: WorkStep) -> dict[str, Any]:
    """A step of `nbbench.ledger-steps/2`, for `--json`."""
    commit, diff = step.commit, step.diff
    row = {
        "position": commit.position,
        "commit": commit.hash,
        "base": step.base.hash if step.base else None,
        "date": f"{commit.date:%Y-%m-%d}",
        "workload": step.workload,
        "reproduce": _reproduce(step),
        "what": step.error if diff is None else _where(diff),
    }
    return row | (plain_diff(diff) if diff else {})
