"""What kind of change a ledger difference is: other dtypes, new and lost temporaries, by function."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from nbbench.work.ledger_diff import LedgerDiff, LineChange

_WIDTH = re.compile(r"\d+$")


@dataclass(frozen=True, slots=True)
class DtypeShift:
    """One function's operations that now give another dtype; `delta` is bytes per pixel more.

    `where` and `was` are the places of the operation that moves most.
    """

    function: str
    where: str
    was: str
    before: str
    after: str
    ops: tuple[str, ...]
    calls: int
    delta: float

    @property
    def word(self) -> str:
        """widened, narrowed, or retyped where the widths agree."""
        old, new = _width(self.before), _width(self.after)
        return "widened" if new > old else "narrowed" if new < old else "retyped"


@dataclass(frozen=True, slots=True)
class Temporary:
    """An operation that makes a tensor and that a site did not have before (or no longer has)."""

    function: str
    where: str
    op: str
    dtype: str
    calls: int  # negative where they are gone
    delta: float


@dataclass(frozen=True, slots=True)
class FunctionChange:
    """What all operations of one function cost more, in bytes per pixel and calls."""

    function: str
    path: str
    delta: float
    calls: int


def _width(dtype: str) -> int:
    found = _WIDTH.search(dtype)
    return int(found[0]) if found else 0


def dtype_shifts(diff: LedgerDiff) -> list[DtypeShift]:
    """Operations whose dtype changed at their site, by function, the most expensive first."""
    pairs: dict[tuple[str, str, str], list[tuple[LineChange, LineChange, float]]] = defaultdict(list)
    for rows in _by_operation(diff).values():
        gone = [row for row in rows if row.count_after < row.count_before]
        come = [row for row in rows if row.count_after > row.count_before]
        if gone and come:
            old = max(gone, key=lambda row: abs(row.delta))
            new = max(come, key=lambda row: abs(row.delta))
            pairs[new.function, old.dtype, new.dtype].append((old, new, sum(row.delta for row in rows)))
    found = []
    for (function, before, after), group in pairs.items():
        old, new, _ = max(group, key=lambda item: item[1].after)
        ops = tuple(sorted({row.op for _, row, _ in group}))
        calls = sum(row.count_after - row.count_before for _, row, _ in group)
        place = (function, new.where, old.was or old.where, before, after)
        found.append(DtypeShift(*place, ops, calls, sum(delta for *_, delta in group)))
    return sorted(found, key=lambda shift: (-abs(shift.delta), shift.where))


def temporaries(diff: LedgerDiff) -> list[Temporary]:
    """Operations that appeared at a site, or vanished, and give a tensor; in-place ones do not."""
    found = []
    for rows in _by_operation(diff).values():
        before, after = sum(r.count_before for r in rows), sum(r.count_after for r in rows)
        row = max(rows, key=lambda r: abs(r.delta))
        if (before == 0) != (after == 0) and not row.op.endswith("_"):
            delta = sum(r.delta for r in rows)
            found.append(Temporary(row.function, row.where, row.op, row.dtype, after - before, delta))
    return sorted(found, key=lambda made: (-abs(made.delta), made.where, made.op))


def by_function(diff: LedgerDiff) -> list[FunctionChange]:
    """The changes added up by function, the largest first."""
    groups: dict[tuple[str, str], list[LineChange]] = defaultdict(list)
    for row in diff.lines:
        groups[row.where.rpartition(":")[0], row.function].append(row)
    found = [
        FunctionChange(
            function or "(benchmark)",
            path,
            sum(r.delta for r in rows),
            sum(r.count_after - r.count_before for r in rows),
        )
        for (path, function), rows in groups.items()
    ]
    return sorted(found, key=lambda f: (-round(abs(f.delta), 1), -abs(f.calls), f.path, f.function))


def _by_operation(diff: LedgerDiff) -> dict[tuple[str, str], list[LineChange]]:
    """Changes of one operation at one site, whatever their dtype."""
    groups: dict[tuple[str, str], list[LineChange]] = defaultdict(list)
    for row in diff.lines:
        groups[row.site, row.op].append(row)
    return groups
