"""The sentences of `nbbench explain`: what happened to the work, and what it explains of the time."""

import math
from collections.abc import Sequence

from nbbench import units
from nbbench.metrics import least_effect
from nbbench.report.causes import evidence_sentences
from nbbench.words import plural
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff
from nbbench.work.steps import by_function, dtype_shifts
from nbbench.work.work_share import Explanation, WorkShare

# A function with this share of the bytes that changed is "mostly" where it happened.
_MOSTLY = 0.6
_DTYPE_SHARE = 0.2  # of the bytes that changed: from here on the dtype is the story
_ALL = 0.9  # a share from here on leaves nothing worth looking for


def explanation_sentence(found: Explanation) -> str:
    """What happened between the two commits, and what it means for the time."""
    start, diffs, main = f"{found.base.short} → {found.head.short}: ", found.diffs, found.main
    if found.torch:
        start = f"{found.base.short} under torch {found.torch[0]} → {found.torch[1]}: "
    if main is None:
        return f"{start}nothing could be compared."
    if found.same_program:
        return f"{start}the measured source is the same tree, so the work is the same."
    moved = any(not d.equal or d.recomposed for d in diffs)
    said = start + (_moved(main) if moved else _same(diffs))
    said += _peak_sentence(diffs) + _host_sentence(found)
    for grown in evidence_sentences(one.record for one in found.orders[:1]):
        said += f" Growth: {grown}."
    images = [d for d in diffs if d.new_image]
    if images:
        where = "" if len(images) == len(diffs) else f" of {len(images)} of {len(diffs)} workloads"
        said += f" The image{where} changed: not like for like."
    if found.not_compared:
        missing = {one.series for one in found.not_compared}
        said += f" {plural(len(missing), 'workload')} could not be compared."
    if found.torch and (moved or found.host or images):
        said += " The source is the same on both sides: what differs is torch's, nothing is the subject's."
    share = found.share_of(main.workload)
    return said if share is None else f"{said} Time of {main.workload}: {share_sentence(share)}."


def _peak_sentence(diffs: Sequence[LedgerDiff]) -> str:
    """The workload whose peak memory moved most, where one moved by what counts (H3)."""
    most = max(diffs, key=lambda d: abs(d.peak_effect))
    if abs(most.peak_effect) <= least_effect("B (exact)"):
        return ""
    sizes = " → ".join(units.format_bytes(one.peak_live_bytes) for one in (most.base, most.head))
    return f" Peak memory of {most.workload}: {sizes} ({units.format_change(most.peak_effect)})."


def _host_sentence(found: Explanation) -> str:
    """What of the host work counts: the largest, and how many more."""
    counted = [one for one in found.host or () if one.counts]
    if not counted:
        return ""
    first, more = evidence_sentences((counted[0].record,))[0], len(counted) - 1
    rest = f" and {plural(more, 'figure')} more" if more else ""
    return f" Host work of {first}{rest}."


def _same(diffs: Sequence[LedgerDiff]) -> str:
    names = [d.workload for d in diffs]
    count = " and ".join(names) if len(names) < 3 else f"all {len(names)} workloads that were compared"
    moved = max(d.moved_lines for d in diffs)
    cost = "costs" if moved == 1 else "cost"
    more = f"; {plural(moved, 'line')} that {cost} something only moved" if moved else ""
    return f"the work is the same, to the byte, in {count}{more}."


def _moved(diff: LedgerDiff) -> str:
    figures = (
        f"{diff.workload} moves {diff.base.bytes_per_pixel:,.1f} → {diff.head.bytes_per_pixel:,.1f} B/pixel "
        f"({units.format_change(diff.effect)}) in {diff.base.ops:,} → {diff.head.ops:,} operations"
    )
    if diff.equal:
        figures += ", the same totals by other operations"
    return "; ".join(filter(None, (figures + _where(diff), _dtypes(diff)))) + "."


def _where(diff: LedgerDiff) -> str:
    """The functions in which most of it happened."""
    functions = by_function(diff)
    if not functions:
        return ""
    total = sum(abs(f.delta) for f in functions)
    if total < WORK_FLOOR * max(diff.base.bytes_per_pixel, 1.0):  # bytes do not matter here: operations do
        most = max(functions, key=lambda f: abs(f.calls))
        return f", {most.calls:+,} operations in {most.function}" if most.calls else f", in {most.function}"
    first = functions[0]
    if abs(first.delta) >= _MOSTLY * total or len(functions) == 1:
        return f", mostly in {first.function} ({first.delta:+,.1f} B/pixel)"
    second = functions[1]
    return f", most in {first.function} ({first.delta:+,.1f}) and {second.function} ({second.delta:+,.1f})"


def _dtypes(diff: LedgerDiff) -> str:
    shifts = dtype_shifts(diff)
    moved = sum(abs(s.delta) for s in shifts)
    said = []
    total = abs(diff.head.bytes_per_pixel - diff.base.bytes_per_pixel)
    if moved > max(_DTYPE_SHARE * total, WORK_FLOOR * diff.base.bytes_per_pixel):
        most = shifts[0]
        said.append(f"values {most.word} from {most.before} to {most.after}, first of all in {most.function}")
    if diff.retyped:
        said.append(f"the output is {diff.head.output_dtype}, was {diff.base.output_dtype}")
    return "; ".join(said)


def share_sentence(found: WorkShare) -> str:
    """What was measured of a workload, and how much of it the work explains."""
    timing, predicted, share = found.timing, found.predicted, found.share
    seconds = f"{units.format_seconds(timing.before_s)} → {units.format_seconds(timing.after_s)}"
    said = f"measured {units.format_change(timing.effect)} ({seconds})"
    work = units.format_change(predicted)
    if found.price and found.price.lo != found.price.hi:
        work += f" ({units.format_change(found.price.lo)} to {units.format_change(found.price.hi)})"
    if share is None:
        small = abs(predicted) <= math.log1p(found.floor)
        more = "as the work predicts" if small else f"the work predicts {work}"
        within = "the spread of its samples" if timing.overlap else f"{found.floor * 100:.0f} %"
        return f"{said}, within {within}: {more}"
    rate = _rate(found)
    if predicted * timing.effect < 0:
        return f"{said}, but the work predicts {work}: none explained, {rate}"
    if predicted / timing.effect > 1 / _ALL:
        return f"{said}; the work predicts {work}, more than was measured: {rate}"
    if share >= _ALL:
        return f"{said}; the work predicts {work} and explains it"
    return f"{said}; the work predicts {work}: {share * 100:.0f} % explained, the rest is {rate}"


def _rate(found: WorkShare) -> str:
    """What time that the work does not explain went with: bandwidth, or the cost of an operation."""
    ends = (found.timing.before_s, found.diff.base), (found.timing.after_s, found.diff.head)
    if found.by_dispatch:
        each = [units.format_seconds(time / one.ops) for time, one in ends]
        return f"{' → '.join(each)} an operation"
    rates = [f"{one.bytes / time / 1e9:.3g}" for time, one in ends]
    return f"bandwidth {' → '.join(rates)} GB/s"
