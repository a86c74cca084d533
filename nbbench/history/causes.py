"""Why something moved: the cause of an event, with the evidence in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from nbbench import units
from nbbench.disturbance import MACHINE_MOVED, Disturbance
from nbbench.history.grouping import direction
from nbbench.metrics import Role, change_role
from nbbench.model import Cause, ChangePoint, ProcessRecord
from nbbench.stats.canary import explains
from nbbench.work.allocator_cost import MALLOC_REMEDY
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff

# What probe.resources.pin_malloc does, as a setting for users who run the subject themselves.
_LINES_SHOWN = 3
# Processes that import and do nothing: what moves them is the way they are started.
_IDLE = frozenset({"bandwidth.Baseline.peakmem_nothing"})


def explain_change(
    changes: Sequence[ChangePoint],
    diffs: Sequence[LedgerDiff],
    before: Disturbance,
    after: Disturbance,
    ceiling_effect: float | None,
    canary_jump: float = 0.0,
) -> tuple[Cause, tuple[str, ...]]:
    """The cause of an event and its evidence.

    What is exact decides first: a changed image, wider values, work that moved the event's way.
    Otherwise the allocator, the machine (by its ceiling and by the canaries beside the series) and its
    other users are asked, and at last whatever else changed in the work. Less work never explains a loss
    by itself.
    """
    way = direction(changes)
    work = [sentence for diff in _telling(diffs) for sentence in describe_diff(diff)]
    allocator = _evidence(c for c in changes if change_role(c) is Role.ALLOCATOR)
    exact = [c for c in changes if c.kind == "exact" and change_role(c) is not Role.DERIVED]
    roles = {change_role(c) for c in changes} - {Role.DERIVED}
    idle = [c for c in changes if c.key.benchmark in _IDLE]
    if idle and roles <= {Role.MEMORY, Role.TIME} and all(diff.equal for diff in diffs):
        return Cause.HARNESS, (
            *_evidence(idle),
            "a process that imports and does nothing changed: what is imported differs, not what is computed",
        )
    if roles == {Role.ALLOCATOR}:
        same = (
            ["the ledger is unchanged: same operations, same bytes"] if all(d.equal for d in diffs) else work
        )
        return Cause.ALLOCATOR, (*(same if diffs else ()), *allocator, f"remedy: {MALLOC_REMEDY}")
    if any(diff.image == "changed" for diff in diffs):
        return Cause.IMAGE, (*work, *allocator)
    if any(d.upcasts or d.retyped for d in diffs) or any(change_role(c) is Role.DTYPE for c in changes):
        return Cause.DTYPE, (*work, *allocator, *([] if work else _evidence(exact)))
    if any(_moves(diff, way) for diff in diffs):
        return Cause.WORK, (*work, *allocator)
    if any(change_role(c) is Role.WORK for c in exact):
        return Cause.WORK, (*work, *allocator, *_evidence(exact))
    told = work or (["the ledger is unchanged: same operations, same bytes"] if diffs else [])
    if allocator:
        return Cause.ALLOCATOR, (*told, *allocator, f"remedy: {MALLOC_REMEDY}")
    if _contention_explains(before, after, way):
        return Cause.CONTENTION, (*told, _contention_sentence(before, after))
    if ceiling_effect is not None and abs(ceiling_effect) > MACHINE_MOVED:
        moved = units.format_change(ceiling_effect)
        return Cause.ENVIRONMENT, (*told, f"the machine's copy ceiling moved by {moved} with it")
    if any(explains(canary_jump, c.effect) for c in changes if change_role(c) is Role.TIME):
        moved = units.format_change(canary_jump)
        return Cause.ENVIRONMENT, (
            *told,
            f"the canaries, fixed programs timed beside these benchmarks, moved by {moved} with it",
        )
    if exact or any(diff.recomposed for diff in diffs):
        # Equal totals, or fewer, of other operations: their price is not known from their bytes.
        return Cause.WORK, (*told, *_evidence(exact))
    return Cause.UNEXPLAINED, (*told, "neither work, allocator nor the machine's load explains it")


def _moves(diff: LedgerDiff, way: int) -> bool:
    """Whether the work moved, and in the direction of the event (any, where that has none)."""
    moved = [e for e in (diff.effect, diff.ops_effect) if abs(e) > WORK_FLOOR]
    return any(e * way > 0 for e in moved) if way else bool(moved)


def _contention_explains(before: Disturbance, after: Disturbance, way: int) -> bool:
    """Whether others were busy on the slow side only; without telemetry of both sides nothing is known."""
    if not before.processes or not after.processes:
        return False
    slow, fast = (after, before) if way > 0 else (before, after)
    return slow.disturbed and not fast.disturbed


def _telling(diffs: Sequence[LedgerDiff]) -> list[LedgerDiff]:
    """The diffs worth telling: the two that moved most, or the first whose image changed."""
    moved = [d for d in diffs if not d.equal or d.recomposed or d.image == "changed"]
    moved.sort(key=lambda d: (-abs(d.effect), -abs(d.ops_effect), d.image != "changed", d.workload))
    return moved[:2]


def describe_diff(diff: LedgerDiff) -> list[str]:
    """A ledger difference in sentences, largest lines named."""
    told = [
        f"{diff.workload}: {diff.bytes_before:,.1f} → {diff.bytes_after:,.1f} B/pixel "
        f"({units.format_change(diff.effect)}), {diff.ops_before:,} → {diff.ops_after:,} operations"
    ]
    if diff.retyped:
        told.append(f"{diff.workload}: the output is {diff.dtype_after}, was {diff.dtype_before}")
    if diff.upcasts:
        told.append(
            f"{diff.workload}: {diff.upcast_before:,.1f} → {diff.upcast_after:,.1f} B/pixel wider than asked"
        )
    if diff.image == "changed":
        told.append(f"{diff.workload}: the image changed (sum × {diff.image_ratio:.6g}): not like for like")
    elif diff.image == "same bits":
        told.append(f"{diff.workload}: the image is bit-identical")
    for line in diff.lines[:_LINES_SHOWN]:
        if abs(line.delta) >= 0.5:
            told.append(
                f"{line.where} {line.function}: {line.op} {line.dtype} "
                f"{line.before:,.1f} → {line.after:,.1f} B/pixel "
                f"({line.count_before} → {line.count_after} calls)"
            )
    return told


def _evidence(changes: Iterable[ChangePoint]) -> list[str]:
    """The two change points that moved most, in their own figures."""
    moved = sorted(changes, key=lambda c: (-abs(c.effect), c.key.label))
    return [
        f"{c.key.label}: {units.format_value(c.before, c.unit)} → {units.format_value(c.after, c.unit)}"
        f"{_interval(c)}"
        for c in moved[:2]
    ]


def _interval(change: ChangePoint) -> str:
    """The 95 % interval of a noisy effect; exact ones have none."""
    ends = change.effect_lo, change.effect_hi
    if change.kind == "exact" or not all(math.isfinite(end) for end in ends):
        return ""
    return f" ({units.format_change(ends[0])} to {units.format_change(ends[1])})"


def slowest(changes: Iterable[ChangePoint]) -> list[str]:
    """The two timed series that moved most."""
    return _evidence(c for c in changes if change_role(c) is Role.TIME)


def _contention_sentence(before: Disturbance, after: Disturbance) -> str:
    return (
        f"others used {before.others:.0%} of a core while the older commits were measured and "
        f"{after.others:.0%} meanwhile (steal {before.steal:.1%} → {after.steal:.1%})"
    )


def records_by_commit(records: Iterable[ProcessRecord]) -> Mapping[str, list[ProcessRecord]]:
    """Telemetry grouped by commit."""
    grouped: dict[str, list[ProcessRecord]] = {}
    for record in records:
        grouped.setdefault(record.commit, []).append(record)
    return grouped
