"""`nbbench explain`: the sentence, a row for each workload, then the lines of those that tell most."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nbbench import units
from nbbench.ledger import ImageChange
from nbbench.model import NotJudged, NotJudgedReason, to_plain
from nbbench.report.blocks import Block, Bullets, Table, Title
from nbbench.report.causes import evidence_sentences, evidence_text
from nbbench.report.explain_sentences import explanation_sentence, share_sentence
from nbbench.words import plural, short_function
from nbbench.work.count_diff import HostDiff
from nbbench.work.ledger_diff import LedgerDiff, LineChange
from nbbench.work.steps import dtype_shifts
from nbbench.work.work_share import Explanation, WorkShare

_FUNCTION = 30  # columns: the whole table fits 120
_WORKLOADS = 10  # rows of the summary


def explain_blocks(found: Explanation, *, lines: int) -> list[Block]:
    """The report, with at most `lines` lines a workload."""
    blocks: list[Block] = [explanation_sentence(found)]
    if found.same_program:
        return blocks
    if found.first is not None:
        blocks.append("\n".join(evidence_sentences((found.first.record,))))
    if found.diffs:
        blocks += _summary(found)
    for diff in found.diffs:
        if diff.workload in found.detailed:
            blocks += _details(diff, found, lines)
    if found.host:
        blocks.append(Title("Host work, by line"))
        told = [evidence_sentences((one.record,)) for one in found.host[:_WORKLOADS]]
        blocks += [Bullets(lines, title=total) for total, *lines in told]
    if found.orders:
        grown = evidence_sentences(one.record for one in found.orders)
        blocks.append(Bullets(grown, title="Orders of growth"))
    if found.not_compared:
        blocks.append("\n".join(f"not compared: {_why_not(one)}" for one in found.not_compared))
    return [*blocks, f"note: {_left_out_of_suite(found)}"] if found.left_out else blocks


def explain_payload(found: Explanation) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.explain/2`."""
    first = found.first and {**to_plain(found.first), "sentence": evidence_text([found.first.record])}
    return {
        "base": to_plain(found.base),
        "head": to_plain(found.head),
        "torch": found.torch,
        "sentence": explanation_sentence(found),
        "lines_matched_by": "name" if found.by_name else "diff",
        "diffs": [plain_diff(diff) for diff in found.diffs],
        "timing": [
            {
                **to_plain(s.timing),
                "sentence": share_sentence(s),
                "effect": s.timing.effect,
                "predicted": s.predicted,
                "price": to_plain(s.price),
                "share": s.share,
            }
            for s in found.shares
        ],
        "host": None if found.host is None else [_plain_host(one) for one in found.host],
        "first_difference": first,
        "orders": [one.record.figures for one in found.orders],
        "problems": [_why_not(one) for one in found.not_compared],
        "notes": [_left_out_of_suite(found)] if found.left_out else [],
    }


def _plain_host(diff: HostDiff) -> dict[str, Any]:
    effect = diff.effect if math.isfinite(diff.effect) else None
    said = evidence_text([diff.record])
    return {**to_plain(diff), "effect": effect, "counts": diff.counts, "sentence": said}


def _why_not(one: NotJudged) -> str:
    if one.reason is NotJudgedReason.FAILING:
        return f"{one.series} fails at {one.since[:8]}: {one.detail}"
    return f"{one.series} is not on record at {one.since[:8]}"


def _left_out_of_suite(found: Explanation) -> str:
    remedy = "" if found.by_name else ": --bench . records them"
    return f"{plural(found.left_out, 'workload')} of the suite not on record, so not compared{remedy}"


def plain_diff(diff: LedgerDiff) -> dict[str, Any]:
    """A difference as JSON-ready values, without the ledgers themselves."""
    return {
        **diff.figures,
        "lines": to_plain(diff.lines),
        "dtypes": _bytes_by_dtype(diff),
        "dtype_shifts": [{**to_plain(shift), "word": shift.word} for shift in dtype_shifts(diff)],
    }


def _bytes_by_dtype(diff: LedgerDiff) -> list[tuple[str, float, float]]:
    """Each dtype with its bytes per pixel before and after."""
    before, after = dict(diff.base.bytes_by_dtype), dict(diff.head.bytes_by_dtype)
    return [
        (name, before.get(name, 0) / diff.base.pixels, after.get(name, 0) / diff.head.pixels)
        for name in sorted(before.keys() | after.keys())
    ]


def _summary(found: Explanation) -> list[Block]:
    """A row for each workload that differs or gets a table; the others in one line."""
    telling = [d for d in found.diffs if d.changed or d.workload in found.detailed]
    same = len(found.diffs) - len(telling)
    telling.sort(key=lambda d: (d.workload not in found.detailed, -abs(d.cost_effect), d.workload))
    shown, more = telling[:_WORKLOADS], telling[_WORKLOADS:]
    heads = ["workload", "B/px before", "after", "change", "ops", "after", "image", "time", "work predicts"]
    rows = []
    for d in shown:
        sizes = [f"{one.bytes_per_pixel:,.2f}" for one in (d.base, d.head)]
        counts = [f"{one.ops:,}" for one in (d.base, d.head)]
        times = _time_cells(found.share_of(d.workload))
        rows.append([d.workload, *sizes, units.format_change(d.effect), *counts, d.image, *times])
    said = []
    if more:
        ends = [units.format_change(pick(d.effect for d in more)) for pick in (min, max)]
        span = f", {ends[0]} … {ends[1]}" if ends[0] != ends[1] else ""
        said.append(f"… and {plural(len(more), 'workload')} that moved less{span} (see --bench .)")
    if same:
        said.append(f"{plural(same, 'other workload')} on record: the same work")
    if any(cells[7].startswith("~") for cells in rows):
        said.append("~ the intervals of the samples overlap")
    table = Table(heads, rows, right=(1, 2, 3, 4, 5, 7, 8), codes=(0,))
    return [table, "\n".join(said)] if said else [table]


def _time_cells(share: WorkShare | None) -> tuple[str, str]:
    if share is None:
        return "", ""
    predicted = units.format_change(share.predicted)
    about = "~" if share.timing.overlap else ""
    return f"{about}{units.format_change(share.timing.effect)}", predicted


def _details(diff: LedgerDiff, found: Explanation, limit: int) -> list[Block]:
    blocks: list[Block] = [Title(f"{diff.workload}, by line" if diff.lines else diff.workload)]
    if diff.lines:
        blocks.append(_line_table(diff, limit))
    said = [*_left_out(diff, limit), *_dtype_lines(diff), _peak(diff), _image(diff)]
    if (share := found.share_of(diff.workload)) is None:
        said.append("time: not measured")
    else:
        said.append(f"time of {share.timing.series} on {share.timing.machine}: {share_sentence(share)}")
    moved = f"; {plural(diff.moved_lines, 'other place')} only moved" if diff.moved_lines else ""
    said.append(f"lines are matched {matched_by(found.by_name)}{moved}")
    return [*blocks, "\n".join(said)]


def matched_by(by_name: bool) -> str:
    """How lines of two trees were matched."""
    return "by function names (no subject is registered)" if by_name else "through the diff of the two trees"


def _line_table(diff: LedgerDiff, limit: int) -> Table:
    shown = _merged(diff.lines)[:limit]
    rows = [_line_row(row) for row in shown]
    total = diff.head.bytes_per_pixel - diff.base.bytes_per_pixel
    figures = (f"{diff.base.bytes_per_pixel:,.1f}", f"{diff.head.bytes_per_pixel:,.1f}", _signed(total))
    rows.append(["total of the run", "", "", "", "", f"{diff.base.ops}→{diff.head.ops}", *figures])
    heads = ["function", "line", "was", "operation", "dtype", "calls", "before", "after", "B/px"]
    return Table(heads, rows, right=(5, 6, 7, 8), codes=(0, 1, 2))


def _merged(lines: Sequence[LineChange]) -> list[LineChange]:
    """The changes, largest first; an operation that went from one dtype to another is one."""
    groups: dict[tuple[str, str], list[LineChange]] = {}
    for line in lines:
        groups.setdefault((line.site, line.op), []).append(line)
    rows = []
    for group in groups.values():
        gone = [c for c in group if not c.count_after]
        come = [c for c in group if not c.count_before]
        if len(group) == 2 and len(gone) == len(come) == 1:
            old, dtype = gone[0], f"{gone[0].dtype}→{come[0].dtype}"
            both = replace(
                come[0], was=old.was, count_before=old.count_before, before=old.before, dtype=dtype
            )
            rows.append(both)
        else:
            rows += group
    return sorted(rows, key=lambda row: row.rank)


def _line_row(c: LineChange) -> list[str]:
    line, was = "" if c.gone else _short(c.where), _short(c.was)
    if line and line.rpartition(":")[0] == was.rpartition(":")[0]:
        was = was[was.rindex(":") :]  # the same file
    calls, sizes = f"{c.count_before}→{c.count_after}", (f"{c.before:,.1f}", f"{c.after:,.1f}")
    return [
        short_function(c.function, _FUNCTION),
        line,
        was,
        c.op,
        c.dtype,
        calls,
        *sizes,
        _signed(c.delta),
    ]


def _signed(value: float) -> str:
    """Bytes per pixel more; plain 0.0 where only operations differ."""
    shown = f"{value:+,.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown


def _short(place: str) -> str:
    """A place with the file's folder, which tells files of one name apart."""
    return "/".join(place.split("/")[-2:])


def _left_out(diff: LedgerDiff, limit: int) -> list[str]:
    rest = _merged(diff.lines)[limit:]
    if not rest:
        return []
    delta = sum(row.delta for row in rest)
    return [f"… and {plural(len(rest), 'more line')} ({_signed(delta)} B/px; see --lines)"]


def _dtype_lines(diff: LedgerDiff) -> list[str]:
    said = []
    if diff.upcasts or dtype_shifts(diff):
        said += [f"bytes in {n}: {a:,.1f} → {b:,.1f} B/px" for n, a, b in _bytes_by_dtype(diff) if a != b]
    if diff.upcasts:
        before, after = diff.base.upcast_per_pixel, diff.head.upcast_per_pixel
        said.append(f"wider than asked: {before:,.1f} → {after:,.1f} B/px")
    return said


def _peak(diff: LedgerDiff) -> str:
    before, after = (units.format_bytes(one.peak_live_bytes) for one in (diff.base, diff.head))
    figures = f"{after}, as before" if not diff.peak_effect else f"{before} → {after}"
    lines = [one.peak_line for one in (diff.base, diff.head) if one.peak_line[0]]
    places = dict.fromkeys(f"{path}:{line} {function}" for path, line, function in lines)
    return f"peak live: {figures}" + (f", at {' → '.join(places)}" if places else "")


def _image(diff: LedgerDiff) -> str:
    if diff.new_image:
        return f"image: changed, its sum × {diff.image_ratio:.6g}"
    return (
        "image: bit-identical" if diff.image is ImageChange.SAME_BITS else "image: the same but for rounding"
    )
