"""The way benchmark processes are started changed, and nothing that they compute."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.metrics import Role
from nbbench.model import EvidenceRecord, Phase, SeriesKey
from nbbench.workloads import ledger_families, phase_of


def find(facts: Facts) -> Evidence | None:
    """An idle process changed, and no work did."""
    idle = any(_is_idle(c.key) for c in facts.changes)
    if not idle or not facts.roles <= {Role.MEMORY, Role.TIME} or not all(d.equal for d in facts.diffs):
        return None
    return (EvidenceRecord("idle process"),)


def _is_idle(key: SeriesKey) -> bool:
    """Whether a series is the memory of processes that run no workload: how they are started moves it."""
    return phase_of(key) is Phase.MEMORY and not ledger_families(key)
