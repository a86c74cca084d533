"""Others used the machine while one side was measured, and not the other."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.model import EvidenceRecord, to_plain


def find(facts: Facts) -> Evidence | None:
    """Contention of the slow side alone; nothing is claimed without telemetry of both."""
    before, after = facts.before, facts.after
    if not before.processes or not after.processes or not facts.way:
        return None
    slow, fast = (after, before) if facts.way > 0 else (before, after)
    if not slow.disturbed or fast.disturbed:
        return None
    busy = {"before": to_plain(before), "after": to_plain(after)}
    return (*facts.work_or_same, EvidenceRecord("others", busy))
