"""The steps of a branch: each commit at which something exact changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nbbench.config import ImageTolerance
from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.work.ledger_diff import ROUNDING, LedgerDiff, diff_ledgers
from nbbench.work.line_match import LineMatch
from nbbench.work.work_share import Timing

TimeOf = Callable[[str, Commit, Commit], Timing | None]
MatchOf = Callable[[Commit, Commit], LineMatch | None]


@dataclass(frozen=True, slots=True)
class WorkStep:
    """One workload at a commit where its bytes, operations or image changed, or where it broke.

    `base` is the commit before, of those that the workload runs on. `timing` is None unless both
    were timed.
    """

    commit: Commit
    base: Commit | None
    workload: str
    diff: LedgerDiff | None
    timing: Timing | None
    error: str = ""


def find_steps(
    found: Iterable[tuple[Commit, Mapping[str, Ledger]]],
    time_of: TimeOf = lambda *_: None,
    match_of: MatchOf = lambda *_: None,
    tolerance: ImageTolerance = ROUNDING,
) -> list[WorkStep]:
    """The steps of commits in order, oldest first; ledgers are keyed by workload.

    `match_of` tells which lines of two commits are the same (None: functions are matched by name).

    A broken commit is a step of its own, and the next one that runs is compared with the last
    one that ran.
    """
    last: dict[str, tuple[Commit, Ledger]] = {}
    steps = []
    for commit, ledgers in found:
        for name, one in ledgers.items():
            base, before = last.get(name, (None, None))
            if one.error:
                steps.append(WorkStep(commit, base, name, None, None, one.error.partition("\n")[0]))
                continue
            if base is not None and before is not None:
                diff = diff_ledgers(before, one, tolerance=tolerance)
                if not diff.equal or diff.new_image:
                    if (match := match_of(base, commit)) is not None:
                        diff = diff_ledgers(before, one, match, tolerance)
                    steps.append(WorkStep(commit, base, name, diff, time_of(name, base, commit)))
            last[name] = commit, one
    return steps
