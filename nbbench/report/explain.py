"""`nbbench explain`: the sentence, a row for each workload, then the lines of those that tell most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from nbbench import units
from nbbench.ledger import ImageChange
from nbbench.model import Commit, to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.report.explain_sentences import explanation_sentence, same_source, share_sentence
from nbbench.words import plural, short_function
from nbbench.work.explanation import Explanation, changed
from nbbench.work.ledger_diff import LedgerDiff, LineChange
from nbbench.work.shifts import Temporary, dtype_shifts, temporaries
from nbbench.work.work_share import WorkShare

_FUNCTION = 30  # columns: the whole table fits 120
_SHIFTS = 5
_WORKLOADS = 10  # rows of the summary
_FEW = 10  # scalars made now and then are not worth a line


def explain_blocks(found: Explanation, *, lines: int) -> list[Block]:
    """The report, with at most `lines` lines a workload."""
    blocks: list[Block] = [explanation_sentence(found)]
    if found.diffs:
        blocks += _summary(found)
    for diff in found.diffs:
        if diff.workload in found.detailed:
            blocks += _details(diff, found, lines)
    if found.problems:
        blocks.append("\n".join(f"not compared: {problem}" for problem in found.problems))
    if found.notes:
        blocks.append("\n".join(f"note: {note}" for note in found.notes))
    return blocks


def explain_payload(found: Explanation) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.explain/1`."""
    return {
        "base": to_plain(found.base),
        "head": to_plain(found.head),
        "sentence": explanation_sentence(found),
        "lines_matched_by": "name" if found.by_name else "diff",
        "diffs": [_plain_diff(diff) for diff in found.diffs],
        "timing": [
            {
                **to_plain(s),
                "sentence": share_sentence(s),
                "effect": s.timing.effect,
                "exact": s.timing.workload in found.exact,
            }
            for s in found.shares
        ],
        "problems": list(found.problems),
        "notes": list(found.notes),
    }


def _plain_diff(diff: LedgerDiff) -> dict[str, Any]:
    shifts = [{**to_plain(shift), "word": shift.word} for shift in dtype_shifts(diff)]
    return {
        **to_plain(diff),
        "effect": diff.effect,
        "ops_effect": diff.ops_effect,
        "dtype_shifts": shifts,
        "temporaries": to_plain(temporaries(diff)),
    }


def _summary(found: Explanation) -> list[Block]:
    """A row for each workload that differs or gets a table; the others in one line."""
    telling = [d for d in found.diffs if changed(d) or d.workload in found.detailed]
    same = len(found.diffs) - len(telling)
    telling.sort(key=lambda d: (d.workload not in found.detailed, -abs(d.cost_effect), d.workload))
    shown, more = telling[:_WORKLOADS], telling[_WORKLOADS:]
    heads = ["workload", "B/px before", "after", "change", "ops", "after", "image", "time", "work predicts"]
    rows = [
        [
            d.workload,
            f"{d.bytes_before:,.2f}",
            f"{d.bytes_after:,.2f}",
            units.format_change(d.effect),
            f"{d.ops_before:,}",
            f"{d.ops_after:,}",
            d.image,
            *_time_cells(found.share_of(d.workload), d.workload in found.exact),
        ]
        for d in shown
    ]
    said = []
    if more:
        ends = [units.format_change(pick(d.effect for d in more)) for pick in (min, max)]
        span = f", {ends[0]} … {ends[1]}" if ends[0] != ends[1] else ""
        said.append(f"… and {plural(len(more), 'workload')} that moved less{span} (see --bench .)")
    if same:
        said.append(f"{plural(same, 'other workload')} on record: the same work")
    if any(cells[7].startswith("~") for cells in rows):
        said.append("~ the intervals of the samples overlap")
    if any(cells[7].endswith("*") for cells in rows):
        said.append("* timed at the nearest measured commits, which do other work than these two")
    table = Table(heads, rows, right=(1, 2, 3, 4, 5, 7, 8), codes=(0,))
    return [table, "\n".join(said)] if said else [table]


def _time_cells(share: WorkShare | None, exact: bool) -> tuple[str, str]:
    if share is None:
        return "", ""
    predicted = "" if share.predicted is None else units.format_change(share.predicted)
    about = "~" if share.timing.overlap else ""
    return f"{about}{units.format_change(share.timing.effect)}{'' if exact else '*'}", predicted


def _details(diff: LedgerDiff, found: Explanation, limit: int) -> list[Block]:
    blocks: list[Block] = [Title(f"{diff.workload}, by line" if diff.lines else diff.workload)]
    if diff.lines:
        blocks.append(_line_table(diff, limit))
    said = _left_out(diff, limit)
    said += _shift_lines(diff)
    said += _temporary_lines(temporaries(diff))
    said.append(_peak(diff))
    said.append(_image(diff))
    if (share := found.share_of(diff.workload)) is not None:
        stands_in = "; ".join(
            filter(None, (_apart(found.base, share.timing.base), _apart(found.head, share.timing.head)))
        )
        said.append(
            f"time of {share.timing.series} on {share.timing.machine}: {share_sentence(share)}"
            + (f" ({stands_in})" if stands_in else "")
        )
    else:
        said.append("time: not measured")
    how = (
        "by function names (no subject is registered)"
        if found.by_name
        else "through the diff of the two trees"
    )
    moved = (
        f"; {plural(diff.moved_lines, 'other place', 'other places')} only moved" if diff.moved_lines else ""
    )
    said.append(f"lines are matched {how}{moved}")
    return [*blocks, "\n".join(said)]


def _line_table(diff: LedgerDiff, limit: int) -> Table:
    shown = _merged(diff.lines)[:limit]
    names = _short_paths([row.change for row in shown])
    rows = [_line_row(row, names) for row in shown]
    total = diff.bytes_after - diff.bytes_before
    figures = (f"{diff.bytes_before:,.1f}", f"{diff.bytes_after:,.1f}", _signed(total))
    rows.append(["total of the run", "", "", "", "", f"{diff.ops_before}→{diff.ops_after}", *figures])
    heads = ["function", "line", "was", "operation", "dtype", "calls", "before", "after", "B/px"]
    return Table(heads, rows, right=(5, 6, 7, 8), codes=(0, 1, 2))


@dataclass(frozen=True, slots=True)
class _Row:
    """A change, or two of one operation at one site that differ in their dtype."""

    change: LineChange
    dtype: str


def _merged(lines: Sequence[LineChange]) -> list[_Row]:
    """An operation that went from one dtype to another is one row, largest rows first."""
    groups: dict[tuple[str, str], list[LineChange]] = {}
    for line in lines:
        groups.setdefault((line.site, line.op), []).append(line)
    rows = []
    for group in groups.values():
        gone = [c for c in group if not c.count_after]
        come = [c for c in group if not c.count_before]
        if len(group) == 2 and len(gone) == len(come) == 1:
            old, new = gone[0], come[0]
            both = replace(new, was=old.was, count_before=old.count_before, before=old.before)
            rows.append(_Row(both, f"{old.dtype}→{new.dtype}"))
        else:
            rows += [_Row(change, change.dtype) for change in group]
    return sorted(rows, key=lambda row: row.change.rank)


def _line_row(row: _Row, names: dict[str, str]) -> list[str]:
    c = row.change
    line, was = "" if c.gone else _short(c.where, names), _short(c.was, names)
    if line and line.rpartition(":")[0] == was.rpartition(":")[0]:
        was = was[was.rindex(":") :]  # the same file
    return [
        short_function(c.function, _FUNCTION),
        line,
        was,
        c.op,
        row.dtype,
        f"{c.count_before}→{c.count_after}",
        f"{c.before:,.1f}",
        f"{c.after:,.1f}",
        _signed(c.delta),
    ]


def _signed(value: float) -> str:
    """Bytes per pixel more; plain 0.0 where only operations differ."""
    shown = f"{value:+,.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown


def _short_paths(lines: Sequence[LineChange]) -> dict[str, str]:
    """File names without their folders where that leaves no doubt."""
    paths = {place.rpartition(":")[0] for line in lines for place in (line.where, line.was) if ":" in place}
    names = Counter(PurePosixPath(path).name for path in paths)
    return {p: PurePosixPath(p).name if names[PurePosixPath(p).name] == 1 else p for p in paths}


def _short(place: str, names: dict[str, str]) -> str:
    path, colon, line = place.rpartition(":")
    return f"{names.get(path, path)}:{line}" if colon else place


def _left_out(diff: LedgerDiff, limit: int) -> list[str]:
    rest = _merged(diff.lines)[limit:]
    if not rest:
        return []
    delta = sum(row.change.delta for row in rest)
    return [f"… and {plural(len(rest), 'more line')} ({_signed(delta)} B/px; see --lines)"]


def _shift_lines(diff: LedgerDiff) -> list[str]:
    shifts = dtype_shifts(diff)
    said = []
    for s in shifts[:_SHIFTS]:
        ops = ", ".join(s.ops[:4]) + (" …" if len(s.ops) > 4 else "")
        where = f"{s.where} {s.function} ({ops}; {plural(s.calls, 'call')})"
        said.append(f"dtype {s.word}: {s.before} → {s.after} at {where}: {s.delta:+,.1f} B/px")
    if len(shifts) > _SHIFTS:
        rest = shifts[_SHIFTS:]
        said.append(
            f"… and dtypes of {plural(len(rest), 'more function')}: {sum(s.delta for s in rest):+,.1f} B/px"
        )
    if shifts or diff.upcasts:
        said += [
            f"bytes in {name}: {old:,.1f} → {new:,.1f} B/px" for name, old, new in diff.dtypes if old != new
        ]
    if diff.upcasts:
        said.append(f"wider than asked: {diff.upcast_before:,.1f} → {diff.upcast_after:,.1f} B/px")
    return said


def _temporary_lines(made: Sequence[Temporary]) -> list[str]:
    said = []
    for word, group in (
        ("new", [m for m in made if m.calls > 0]),
        ("lost", [m for m in made if m.calls < 0]),
    ):
        if group and (len(group) > _FEW or any(abs(m.delta) >= 0.05 for m in group)):
            calls, delta = sum(abs(m.calls) for m in group), sum(m.delta for m in group)
            first = ", ".join(dict.fromkeys(m.function or "(benchmark)" for m in group[:4]))
            said.append(
                f"{word} temporaries: {calls:,} by {plural(len(group), 'operation')} ({delta:+,.1f} B/px), "
                f"most in {first}"
            )
    return said


def _peak(diff: LedgerDiff) -> str:
    figures = f"{units.format_bytes(diff.peak_before)} → {units.format_bytes(diff.peak_after)}"
    if diff.peak_before == diff.peak_after:
        figures = f"{units.format_bytes(diff.peak_after)}, as before"
    places = [
        f"{path}:{line} {function}"
        for path, line, function in (diff.peak_line_before, diff.peak_line_after)
        if path
    ]
    where = f", at {' → '.join(dict.fromkeys(places))}" if places else ""
    return f"peak live: {figures}{where}"


def _image(diff: LedgerDiff) -> str:
    if diff.new_image:
        return f"image: changed, its sum × {diff.image_ratio:.6g}"
    return (
        "image: bit-identical" if diff.image is ImageChange.SAME_BITS else "image: the same but for rounding"
    )


def _apart(asked: Commit, measured: Commit) -> str:
    """How far the measured commit is from the one asked for; '' where it is the same."""
    if same_source(asked, measured):
        return ""
    apart = measured.position - asked.position
    near = f", {plural(abs(apart), 'tree')} {'before' if apart < 0 else 'after'}" if asked.position else ""
    return f"{asked.short} was not timed: {measured.short} stands in{near}"
