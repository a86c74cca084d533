"""malloc maps and unmaps large blocks anew: page faults, and time with them."""

from __future__ import annotations

from nbbench.history.causes.facts import SAME_WORK, Evidence, Facts
from nbbench.metrics import Role
from nbbench.model import EvidenceRecord


def find(facts: Facts) -> Evidence | None:
    """Large blocks that a run allocates, or page faults, moved the event's way, and no work did."""
    if not facts.of(Role.ALLOCATOR):
        return None
    said = (SAME_WORK,) if facts.diffs and all(d.equal for d in facts.diffs) else facts.work_or_same
    return (*said, EvidenceRecord("malloc"))
