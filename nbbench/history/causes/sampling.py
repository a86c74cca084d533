"""asv sampled otherwise: other calls a sample, or other samples a result."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts

SAMPLING = {
    "number": "calls in each sample (asv's number)",
    "repeat": "samples of a result (asv's repeat)",
}
"""The names of sampling facts, and what they are."""


def find(facts: Facts) -> Evidence | None:
    """The sampling changed at the step, and not because the time did."""
    changed = [one for one in facts.setup if one.what in SAMPLING]
    if not changed:
        return None
    said = (f"{SAMPLING[one.what]} changed at this step: {one.before} → {one.after}" for one in changed)
    return (*facts.work_or_same, *said)
