"""The machine itself became slower or faster, by the reference kernels timed beside each benchmark."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.metrics import Role
from nbbench.model import EvidenceRecord

_EXPLAINED_SHARE = 0.5
"""Kernels that moved by this share of a change, in its direction, explain it: workloads follow them by a
factor of one to two."""


def explains(jump: float, effect: float) -> bool:
    """Whether the kernels' jump goes far enough with a change of time (log ratios)."""
    return jump * effect > 0 and abs(jump) >= _EXPLAINED_SHARE * abs(effect)


def find(facts: Facts) -> Evidence | None:
    """Every reference kernel moved with the event's times."""
    if not any(explains(facts.canary, c.effect) for c in facts.of(Role.TIME)):
        return None
    return (*facts.work_or_same, EvidenceRecord("reference kernels", {"effect": facts.canary}))
