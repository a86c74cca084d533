"""What happened between two commits, in one sentence and the figures behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nbbench import units
from nbbench.model import Commit
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff
from nbbench.work.shifts import by_function, dtype_shifts
from nbbench.work.work_share import WorkShare

# A function with this share of the bytes that changed is "mostly" where it happened.
_MOSTLY = 0.6
_DTYPE_SHARE = 0.2  # of the bytes that changed: from here on the dtype is the story


@dataclass(frozen=True, slots=True)
class Explanation:
    """Two commits, their differences by workload, and what was measured of them.

    `shares` hold the timed workloads; those of `exact` names were timed at commits that do the
    same work as base and head. `detailed` names the workloads that are worth a table. `by_name`
    says that lines were matched by function names, without the subject's diff.
    """

    base: Commit
    head: Commit
    diffs: tuple[LedgerDiff, ...]
    shares: tuple[WorkShare, ...]
    exact: frozenset[str]
    detailed: tuple[str, ...]
    by_name: bool
    sentence: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def share_of(self, workload: str) -> WorkShare | None:
        """What was timed of a workload; None where nothing was."""
        return next((s for s in self.shares if s.timing.workload == workload), None)


def explain(
    base: Commit,
    head: Commit,
    diffs: Sequence[LedgerDiff],
    shares: Sequence[WorkShare],
    *,
    exact: frozenset[str] = frozenset(),
    asked: re.Pattern[str] | None = None,
    usual: re.Pattern[str] | None = None,
    by_name: bool = False,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Explanation:
    """Put the explanation together.

    `asked` chooses the workloads that get a table; without it the one that tells most does,
    where those of `usual` go first.
    """
    main = main_diff(diffs, usual)
    if asked is not None:
        detailed = [d.workload for d in diffs if asked.search(d.workload)]
    else:
        detailed = [main.workload] if main else []
    made = Explanation(
        base,
        head,
        tuple(diffs),
        tuple(shares),
        exact,
        tuple(detailed),
        by_name,
        "",
        tuple(problems),
        tuple(notes),
    )
    share = made.share_of(main.workload) if main and main.workload in exact else None
    told = _sentence(base, head, diffs, main, share)
    return replace(made, sentence=told)


def changed(diff: LedgerDiff) -> bool:
    """Whether anything exact differs: bytes, operations, which operations, or the image."""
    return not diff.equal or diff.recomposed or diff.new_image


def main_diff(diffs: Sequence[LedgerDiff], usual: re.Pattern[str] | None = None) -> LedgerDiff | None:
    """The difference that tells most: a usual workload that moved, else the one that moved most."""
    if not diffs:
        return None
    ranked = sorted(diffs, key=lambda d: (-abs(d.cost_effect), not d.new_image, d.workload))
    telling = [d for d in ranked if usual and usual.search(d.workload) and abs(d.cost_effect) > WORK_FLOOR]
    return telling[0] if telling else ranked[0]


def _sentence(
    base: Commit,
    head: Commit,
    diffs: Sequence[LedgerDiff],
    main: LedgerDiff | None,
    share: WorkShare | None,
) -> str:
    start = f"{base.short} → {head.short}: "
    if main is None:
        return f"{start}nothing could be compared."
    if base.tree and base.tree == head.tree:
        return f"{start}the measured source is the same tree, so the work is the same."
    told = start + (_same(diffs) if not any(not d.equal or d.recomposed for d in diffs) else _moved(main))
    images = [d for d in diffs if d.new_image]
    if images:
        where = "" if len(images) == len(diffs) else f" of {len(images)} of {len(diffs)} workloads"
        told += f" The image{where} changed: not like for like."
    if share is None:
        return told
    nearest = " at the nearest timed commits" if share.timing.note else ""
    return f"{told} Time of {main.workload}{nearest}: {share.sentence}."


def _same(diffs: Sequence[LedgerDiff]) -> str:
    names = [d.workload for d in diffs]
    count = " and ".join(names) if len(names) < 3 else f"all {len(names)} workloads that were compared"
    moved = max(d.moved_lines for d in diffs)
    more = f"; {moved} lines that cost something only moved" if moved else ""
    return f"the work is the same, to the byte, in {count}{more}."


def _moved(diff: LedgerDiff) -> str:
    figures = (
        f"{diff.workload} moves {diff.bytes_before:,.1f} → {diff.bytes_after:,.1f} B/pixel "
        f"({units.format_change(diff.effect)}) in {diff.ops_before:,} → {diff.ops_after:,} operations"
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
    if total < WORK_FLOOR * max(diff.bytes_before, 1.0):  # bytes do not matter here: operations do
        most = max(functions, key=lambda f: abs(f.calls))
        return f", {most.calls:+,} operations in {most.function}" if most.calls else f", in {most.function}"
    first = functions[0]
    if abs(first.delta) >= _MOSTLY * total or len(functions) == 1:
        return f", mostly in {first.function} ({first.delta:+,.1f} B/pixel)"
    second = functions[1]
    return f", most in {first.function} ({first.delta:+,.1f}) and {second.function} ({second.delta:+,.1f})"


def _dtypes(diff: LedgerDiff) -> str:
    shifts = dtype_shifts(diff)
    total = sum(abs(line.delta) for line in diff.lines)
    told = []
    if shifts and sum(abs(s.delta) for s in shifts) > _DTYPE_SHARE * abs(
        diff.bytes_after - diff.bytes_before
    ):
        most = shifts[0]
        if total and sum(abs(s.delta) for s in shifts) > WORK_FLOOR * diff.bytes_before:
            told.append(
                f"values {most.word} from {most.before} to {most.after}, first of all in {most.function}"
            )
    if diff.retyped:
        told.append(f"the output is {diff.dtype_after}, was {diff.dtype_before}")
    return "; ".join(told)
