"""Nothing on record explains the event."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.model import EvidenceRecord


def find(facts: Facts) -> Evidence:
    """What was looked at."""
    return (*facts.work_or_same, EvidenceRecord("nothing"))
