"""A benchmark that ran before and cannot run any more."""

from __future__ import annotations

from nbbench import units
from nbbench.history.causes.facts import Evidence, Facts

FAILS = "fails"
"""The kind of a change point from a value to no value."""


def find(facts: Facts) -> Evidence | None:
    """What ran before, with its last value."""
    failing = [c for c in facts.changes if c.kind == FAILS]
    if not failing:
        return None
    return tuple(
        f"{c.key.label} fails since {c.hi_commit[:8]}; it was {units.format_value(c.before, c.unit)}"
        for c in sorted(failing, key=lambda c: c.key.label)[:5]
    )
