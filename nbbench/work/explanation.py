"""What happened between two commits: the facts of `nbbench explain`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbbench.model import Commit, NotJudged
from nbbench.work.first_difference import FirstDifference
from nbbench.work.host_diff import HostDiff
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff
from nbbench.work.scaling import OrderChange
from nbbench.work.work_share import WorkShare


@dataclass(frozen=True, slots=True)
class Explanation:
    """Two commits, their differences by workload, and what was measured of them.

    `usual` are the workloads that are looked at without being asked for, `asked` those that get a table.
    `not_compared` says which fail or lack a ledger at one of the commits (`since`), `left_out` how many of
    the suite have none at either. `by_name` says that lines were matched by function names, without the
    subject's diff.
    """

    base: Commit
    head: Commit
    diffs: tuple[LedgerDiff, ...]
    shares: tuple[WorkShare, ...] = ()
    usual: re.Pattern[str] | None = None
    asked: re.Pattern[str] | None = None
    by_name: bool = False
    not_compared: tuple[NotJudged, ...] = ()
    left_out: int = 0
    host: tuple[HostDiff, ...] | None = None  # None: not on record
    first: FirstDifference | None = None  # of the smallest workload whose image changed
    orders: tuple[OrderChange, ...] = ()

    @property
    def same_tree(self) -> bool:
        """Whether both commits have the same measured source."""
        return bool(self.base.tree) and self.base.tree == self.head.tree

    @property
    def main(self) -> LedgerDiff | None:
        """The difference that tells most: a usual workload that moved, else the one that moved most."""
        ranked = sorted(self.diffs, key=lambda d: (-abs(d.cost_effect), not d.new_image, d.workload))
        usual = [d for d in ranked if self.usual and self.usual.search(d.workload)]
        telling = [d for d in usual if abs(d.cost_effect) > WORK_FLOOR]
        return next(iter([*telling, *ranked]), None)

    @property
    def detailed(self) -> tuple[str, ...]:
        """The workloads that are worth a table of lines."""
        if self.asked is not None:
            return tuple(d.workload for d in self.diffs if self.asked.search(d.workload))
        return (self.main.workload,) if self.main else ()

    def share_of(self, workload: str) -> WorkShare | None:
        """What was timed of a workload; None where nothing was."""
        return next((s for s in self.shares if s.timing.workload == workload), None)
