"""Other operations of the same size, or exact memory alone: their price is not known from their bytes."""

from __future__ import annotations

from nbbench.history.causes import work
from nbbench.history.causes.facts import Evidence, Facts, largest_changes


def find(facts: Facts) -> Evidence | None:
    """Exact figures moved, or equal totals (or fewer) are made of other operations, and nothing else explains
    the time."""
    other = any(diff.recomposed and not work.holds(diff, facts.direction) for diff in facts.diffs)
    if not facts.exact and not other:
        return None
    return (*facts.work_or_same, *largest_changes(facts.exact))
