"""The program asks for more or less: operations, bytes."""

from __future__ import annotations

import math

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.metrics import Role
from nbbench.model import Cause, ChangePoint, EventDirection
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff

_EXPLAINED_SHARE = 0.2
"""Work explains a change of time when it moved by at least this part of it (on the log scale). Time follows
bytes and operations loosely: on record are bytes -20 % with time -36 %."""

SURE = 1e-3
"""A p-value above this says too little to set a time against its own work."""


def holds(diff: LedgerDiff, direction: EventDirection) -> bool:
    """Whether the work moved, and in this direction (any, where there is none)."""
    if diff.equal:
        return False
    way = {EventDirection.REGRESSION: 1, EventDirection.IMPROVEMENT: -1}.get(direction, 0)
    effects = [e for e in (diff.effect, diff.ops_effect) if abs(e) > WORK_FLOOR]
    return any(way == 0 or math.copysign(1, e) == way for e in effects)


def explains_time(diff: LedgerDiff, change: ChangePoint) -> bool:
    """Whether the work is large enough to explain a change of time: the least that its interval allows. A
    time that is not sure by itself only confirms."""
    if change.p_value > SURE:
        return True
    ends = [abs(end) for end in (change.effect_lo, change.effect_hi) if math.isfinite(end)]
    sure = change.effect_lo * change.effect_hi > 0 and len(ends) == 2
    moved = max(map(abs, (diff.cost_effect, diff.effect, diff.ops_effect)))
    return moved >= _EXPLAINED_SHARE * (min(ends) if sure else 0.0)


def find(facts: Facts) -> Evidence | None:
    """What tensors do while a workload starts up, the event's ledgers, or the suite's own counters."""
    if starting := facts.host_work(Cause.WORK):
        return starting
    if facts.roles == {Role.ALLOCATOR}:
        return None
    times = facts.of(Role.TIME)
    held = any(holds(d, facts.direction) and all(explains_time(d, c) for c in times) for d in facts.diffs)
    return facts.work if held or any(c.kind == "exact" for c in facts.of(Role.WORK)) else None


def find_recomposed(facts: Facts) -> Evidence | None:
    """Exact figures moved, or equal totals (or fewer) are made of other operations, and nothing else explains
    the time: their price is not known from their bytes."""
    other = any(diff.recomposed and not holds(diff, facts.direction) for diff in facts.diffs)
    return facts.work_or_same if facts.counted or other else None
