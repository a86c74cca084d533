"""Another image: the program computes something else, so its cost is not comparable."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.metrics import Role
from nbbench.model import EventDirection
from nbbench.work.ledger_diff import LedgerDiff


def holds(diff: LedgerDiff, _direction: EventDirection) -> bool:
    """Whether the workload's image changed beyond rounding."""
    return diff.new_image


def find(facts: Facts) -> Evidence | None:
    """The workloads whose image changed; page faults alone have nothing to do with an image."""
    if facts.roles == {Role.ALLOCATOR} or not any(d.new_image for d in facts.diffs):
        return None
    return facts.work
