"""How much of a change of time the change of work explains (docs/ledger.md, "What the work explains").

The cost of a run is taken as C = bytes + operations x BYTES_PER_OPERATION: at an unchanged
bandwidth and dispatch cost, time is proportional to it. The share explained is
log(C_head / C_base) / log(t_head / t_base), within 0 and 1; what it leaves is a change of the
achieved bandwidth (or of the cost of an operation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.work.ledger_diff import BYTES_PER_OPERATION, log_ratio


@dataclass(frozen=True, slots=True)
class Timing:
    """A workload's time in seconds at two commits.

    `base` and `head` are those that were measured, the nearest ones where those asked for were not.
    """

    workload: str
    series: str
    machine: str
    base: Commit
    head: Commit
    before_s: float
    after_s: float
    intervals: tuple[tuple[float, float], tuple[float, float]] | None = None  # asv's, seconds

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
    """What the work predicts for the time (log ratio), and the share of the change it explains.

    `bandwidths` are ledger bytes over time, before and after (bytes a second): what the work does
    not explain is by definition in them. `share` is None where the time did not move beyond
    `floor` or its samples, and where the ledgers of the measured commits are not on record (then `predicted`
    and `bandwidths` are None, too). `dispatch` are the operations before and after where calling them costs
    more than their bytes on both sides; then the cost of an operation says more than a bandwidth.
    """

    timing: Timing
    predicted: float | None
    share: float | None
    bandwidths: tuple[float, float] | None
    floor: float
    dispatch: tuple[int, int] | None = None


def cost_bytes(ledger: Ledger) -> float:
    """The cost of a run in bytes: what it moves, and what its operations cost to dispatch."""
    return float(ledger.bytes + ledger.ops * BYTES_PER_OPERATION)


def explained_share(predicted: float, measured: float) -> float:
    """predicted/measured of two log ratios, within 0 and 1; 0 where they point apart."""
    if measured == 0 or predicted * measured <= 0 or math.isnan(predicted):
        return 0.0
    return min(predicted / measured, 1.0) if math.isfinite(measured) else 0.0


def work_share(timing: Timing, base: Ledger | None, head: Ledger | None, floor: float) -> WorkShare:
    """Hold the measured time against the ledgers of the commits at which it was measured.

    `floor` is the smallest change of time that counts, as a share (0.03 = 3 %).
    """
    if base is None or head is None or base.error or head.error:
        return WorkShare(timing, None, None, None, floor)
    predicted = log_ratio(cost_bytes(base), cost_bytes(head))
    moved = abs(timing.effect) > math.log1p(floor) and not timing.overlap
    share = explained_share(predicted, timing.effect) if moved else None
    rates = base.bytes / timing.before_s, head.bytes / timing.after_s
    bound = all(one.ops * BYTES_PER_OPERATION > one.bytes for one in (base, head))
    return WorkShare(timing, predicted, share, rates, floor, (base.ops, head.ops) if bound else None)
