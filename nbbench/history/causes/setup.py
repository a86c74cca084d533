"""What measured was another: processor, torch, Python, threads, harness; all of it is on record."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.history.causes.sampling import SAMPLING


def find(facts: Facts) -> Evidence | None:
    """Parameters of the results, or of the telemetry beside them, that differ at the step."""
    changed = [one for one in facts.setup if one.what not in SAMPLING]
    if not changed:
        return None
    said = (f"{one.what} changed at this step: {one.before} → {one.after}" for one in changed)
    return (*facts.work_or_same, *said)
