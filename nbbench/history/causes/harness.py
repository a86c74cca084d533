"""The way benchmark processes are started changed, and nothing that they compute."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts, largest_changes
from nbbench.metrics import Role

# Processes that import and do nothing: what moves them is the way they are started.
_IDLE = frozenset({"bandwidth.Baseline.peakmem_nothing"})


def find(facts: Facts) -> Evidence | None:
    """An idle process changed, and no work did."""
    idle = [c for c in facts.changes if c.key.benchmark in _IDLE]
    if not idle or not facts.roles <= {Role.MEMORY, Role.TIME} or not all(d.equal for d in facts.diffs):
        return None
    return (
        *largest_changes(idle),
        "a process that imports and does nothing changed: what is imported differs, not what is computed",
    )
