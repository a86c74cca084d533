"""Values became wider or narrower than before."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.metrics import Role
from nbbench.model import EventDirection
from nbbench.work.ledger_diff import LedgerDiff


def holds(diff: LedgerDiff, direction: EventDirection) -> bool:
    """Whether widths moved with the direction: wider values never make a program faster."""
    if diff.retyped:
        return True
    wider = diff.head.upcast_per_pixel > diff.base.upcast_per_pixel
    return diff.upcasts and (
        direction is EventDirection.CHANGE or wider == (direction is EventDirection.REGRESSION)
    )


def find(facts: Facts) -> Evidence | None:
    """The ledger's widths, or the suite's own dtype series."""
    if facts.roles == {Role.ALLOCATOR}:
        return None
    held = any(holds(d, facts.direction) for d in facts.diffs)
    return facts.work if held or facts.of(Role.DTYPE) else None
