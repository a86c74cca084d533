"""The machine itself became slower or faster: its ceiling, or the reference kernels timed beside."""

from __future__ import annotations

from nbbench import units
from nbbench.disturbance import MACHINE_MOVED
from nbbench.history.causes.facts import Evidence, Facts
from nbbench.metrics import Role


def find(facts: Facts) -> Evidence | None:
    """The copy ceiling or every reference kernel moved with the event."""
    from nbbench.stats.canary import explains  # numpy: a command with nothing new does without

    if facts.ceiling is not None and abs(facts.ceiling) > MACHINE_MOVED:
        moved = units.format_change(facts.ceiling)
        return (*facts.work_or_same, f"the machine's copy ceiling moved by {moved} with it")
    if any(explains(facts.canary, c.effect) for c in facts.of(Role.TIME)):
        moved = units.format_change(facts.canary)
        return (
            *facts.work_or_same,
            f"the reference kernels, fixed programs timed beside these benchmarks, moved by {moved} with it",
        )
    return None
