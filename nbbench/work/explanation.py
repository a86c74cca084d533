"""What happened between two commits: the facts of `nbbench explain`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nbbench.model import Commit
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff
from nbbench.work.work_share import WorkShare


@dataclass(frozen=True, slots=True)
class Explanation:
    """Two commits, their differences by workload, and what was measured of them.

    `shares` hold the timed workloads; those of `exact` names were timed at commits that do the
    same work as base and head. `detailed` names the workloads that are worth a table, `main` is the
    difference that tells most. `by_name` says that lines were matched by function names, without the
    subject's diff.
    """

    base: Commit
    head: Commit
    diffs: tuple[LedgerDiff, ...]
    shares: tuple[WorkShare, ...]
    exact: frozenset[str]
    detailed: tuple[str, ...]
    by_name: bool
    main: LedgerDiff | None
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
    return Explanation(
        base,
        head,
        tuple(diffs),
        tuple(shares),
        exact,
        tuple(detailed),
        by_name,
        main,
        tuple(problems),
        tuple(notes),
    )


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
