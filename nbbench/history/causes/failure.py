"""A benchmark that ran before and cannot run any more."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts

FAILS = "fails"
"""The kind of a change point from a value to no value."""


def find(facts: Facts) -> Evidence | None:
    """The change points say it themselves."""
    return () if any(c.kind == FAILS for c in facts.changes) else None
