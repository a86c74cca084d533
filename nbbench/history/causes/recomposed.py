"""Other operations of the same size, or exact memory alone: their price is not known from their bytes."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts, largest_changes


def find(facts: Facts) -> Evidence | None:
    """Exact figures moved, or the work is made of other operations, and nothing else explains the time."""
    if not facts.exact and not any(diff.recomposed for diff in facts.diffs):
        return None
    return (*facts.work_or_same, *largest_changes(facts.exact))
