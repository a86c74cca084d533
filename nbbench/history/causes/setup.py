"""What measured was another: processor, torch, Python, threads, harness, or asv's sampling."""

from __future__ import annotations

from nbbench.history.causes.facts import SAMPLING, Evidence, Facts, setup_records


def find(facts: Facts) -> Evidence | None:
    """Parameters of the results, or of the telemetry beside them, that differ at the step."""
    changed = [one for one in facts.setup if one.what not in SAMPLING]
    return (*facts.work_or_same, *setup_records(changed)) if changed else None


def find_sampling(facts: Facts) -> Evidence | None:
    """The sampling changed at the step, and not because the time did."""
    changed = [one for one in facts.setup if one.what in SAMPLING]
    return (*facts.work_or_same, *setup_records(changed)) if changed else None
