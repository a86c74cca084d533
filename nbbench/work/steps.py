"""The steps of a branch: each commit at which something exact changed; other dtypes, by function."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nbbench.config import ImageTolerance
from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.work.ledger_diff import ROUNDING, LedgerDiff, LineChange, diff_ledgers
from nbbench.work.line_match import LineMatch


@dataclass(frozen=True, slots=True)
class WorkStep:
    """One workload at a commit where its bytes, operations or image changed, or where it broke.

    `base` is the commit before, of those that the workload runs on.
    """

    commit: Commit
    base: Commit | None
    workload: str
    diff: LedgerDiff | None
    error: str = ""


def find_steps(
    found: Iterable[tuple[Commit, Mapping[str, Ledger]]],
    match_of: Callable[[Commit, Commit], LineMatch | None] = lambda *_: None,
    tolerance: ImageTolerance = ROUNDING,
) -> list[WorkStep]:
    """The steps of commits in order, oldest first; ledgers are keyed by workload.

    `match_of` tells which lines of two commits are the same (None: functions are matched by name). A broken
    commit is a step of its own, and the next one that runs is compared with the last one that ran.
    """
    last: dict[str, tuple[Commit, Ledger]] = {}
    steps = []
    for commit, ledgers in found:
        for name, one in ledgers.items():
            base, before = last.get(name, (None, None))
            if one.error:
                steps.append(WorkStep(commit, base, name, None, one.error.partition("\n")[0]))
                continue
            if base is not None and before is not None:
                diff = diff_ledgers(before, one, tolerance=tolerance)
                if not diff.equal or diff.new_image:
                    if (match := match_of(base, commit)) is not None:
                        diff = diff_ledgers(before, one, match, tolerance)
                    steps.append(WorkStep(commit, base, name, diff))
            last[name] = commit, one
    return steps


_WIDTH = re.compile(r"\d+$")


@dataclass(frozen=True, slots=True)
class DtypeShift:
    """One function's operations that now give another dtype; `delta` is bytes per pixel more."""

    function: str
    before: str
    after: str
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
    deltas: dict[tuple[str, str, str], float] = defaultdict(float)
    operations: dict[tuple[str, str], list[LineChange]] = defaultdict(list)
    for row in diff.lines:
        operations[row.site, row.op].append(row)
    for rows in operations.values():
        gone = [row for row in rows if row.calls < 0]
        come = [row for row in rows if row.calls > 0]
        if gone and come:
            old, new = (max(side, key=lambda row: abs(row.delta)) for side in (gone, come))
            deltas[new.function, old.dtype, new.dtype] += sum(row.delta for row in rows)
    found = [DtypeShift(*place, delta) for place, delta in deltas.items()]
    return sorted(found, key=lambda shift: (-abs(shift.delta), shift.function))


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
