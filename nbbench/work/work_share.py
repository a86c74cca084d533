"""The facts of `nbbench explain`, and how much of a change of time the change of work explains
(docs/ledger.md, "What the work explains").

The cost of a run is taken as C = bytes + operations x BYTES_PER_OPERATION: at an unchanged
bandwidth and dispatch cost, time is proportional to it. The share explained is
log(C_head / C_base) / log(t_head / t_base), within 0 and 1; what it leaves is a change of the
achieved bandwidth (or of the cost of an operation).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from nbbench.ledger import BYTES_PER_OPERATION
from nbbench.model import Commit, NotJudged
from nbbench.work.dataflow_diff import FirstDifference
from nbbench.work.host_diff import HostDiff
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff, log_ratio
from nbbench.work.price import Price
from nbbench.work.scaling import OrderChange


@dataclass(frozen=True, slots=True)
class Timing:
    """A workload's time in seconds at two commits, with asv's intervals of both (None: not on record)."""

    workload: str
    series: str
    machine: str
    before_s: float
    after_s: float
    intervals: tuple[tuple[float, float], tuple[float, float]] | None = None

    @property
    def effect(self) -> float:
        """log(after/before) of the time."""
        return log_ratio(self.before_s, self.after_s)

    @property
    def overlap(self) -> bool:
        """Whether asv's intervals of the two results have a common part: the samples cannot tell."""
        if self.intervals is None:
            return False
        before, after = self.intervals
        return before[0] <= after[1] and after[0] <= before[1]


@dataclass(frozen=True, slots=True)
class WorkShare:
    """A measured time and the work that was done in it.

    `floor` is the smallest change of time that counts, as a share (0.03 = 3 %). `price` is what the work
    costs here, of tensors and of Python; without it the cost C of the tensors alone predicts.
    """

    timing: Timing
    diff: LedgerDiff
    floor: float
    price: Price | None = None

    @property
    def predicted(self) -> float:
        """log(after/before) of the time that the work lets expect."""
        return self.price.effect if self.price else self.diff.cost_effect

    @property
    def share(self) -> float | None:
        """The part of the change that the work explains; None where the time did not move beyond the floor
        or its samples."""
        moved = abs(self.timing.effect) > math.log1p(self.floor) and not self.timing.overlap
        return explained_share(self.predicted, self.timing.effect) if moved else None

    @property
    def by_dispatch(self) -> bool:
        """Whether calling operations costs more than their bytes on both sides: then the cost of an
        operation says more than a bandwidth."""
        return all(one.ops * BYTES_PER_OPERATION > one.bytes for one in (self.diff.base, self.diff.head))


def explained_share(predicted: float, measured: float) -> float:
    """predicted/measured of two log ratios, within 0 and 1; 0 where they point apart."""
    if measured == 0 or predicted * measured <= 0 or math.isnan(predicted):
        return 0.0
    return min(predicted / measured, 1.0) if math.isfinite(measured) else 0.0


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
