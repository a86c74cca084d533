"""What kind of change a ledger difference is: other dtypes, by function."""

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
    operations: dict[tuple[str, str], list[LineChange]] = defaultdict(list)
    for row in diff.lines:
        operations[row.site, row.op].append(row)
    for rows in operations.values():
        gone = [row for row in rows if row.calls < 0]
        come = [row for row in rows if row.calls > 0]
        if gone and come:
            old = max(gone, key=lambda row: abs(row.delta))
            new = max(come, key=lambda row: abs(row.delta))
            pairs[new.function, old.dtype, new.dtype].append((old, new, sum(row.delta for row in rows)))
    found = []
    for (function, before, after), group in pairs.items():
        old, new, _ = max(group, key=lambda item: item[1].after)
        ops = tuple(sorted({row.op for _, row, _ in group}))
        calls = sum(row.calls for _, row, _ in group)
        place = (function, new.where, old.was or old.where, before, after)
        found.append(DtypeShift(*place, ops, calls, sum(delta for *_, delta in group)))
    return sorted(found, key=lambda shift: (-abs(shift.delta), shift.where))


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
            sum(r.calls for r in rows),
        )
        for (path, function), rows in groups.items()
    ]
    return sorted(found, key=lambda f: (-round(abs(f.delta), 1), -abs(f.calls), f.path, f.function))
