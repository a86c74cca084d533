"""Why an event happened: one file a cause but for those that are counts of host work, asked in the order of
`FINDERS`.

A finder takes the facts of an event and gives its evidence, or None where it has nothing to say.
What is exact is asked first, what was recorded beside the measurements next, `unexplained` last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from nbbench.history.causes import (
    allocator,
    contention,
    dtype,
    failure,
    harness,
    image,
    machine,
    setup,
    unexplained,
    work,
)
from nbbench.history.causes.facts import Evidence, Facts
from nbbench.model import Cause, EventDirection
from nbbench.work.ledger_diff import LedgerDiff

FINDERS: tuple[tuple[Cause, Callable[[Facts], Evidence | None]], ...] = (
    (Cause.FAILURE, failure.find),
    (Cause.HARNESS, harness.find),
    (Cause.IMAGE, image.find),
    (Cause.DTYPE, dtype.find),
    (Cause.WORK, work.find),
    *(
        (counted, partial(Facts.host_work, cause=counted))
        for counted in (Cause.IMPORT, Cause.OUTPUT, Cause.HOST)
    ),
    (Cause.ENVIRONMENT, setup.find),
    (Cause.ALLOCATOR, allocator.find),
    (Cause.CONTENTION, contention.find),
    (Cause.ENVIRONMENT, machine.find),
    (Cause.HARNESS, setup.find_sampling),
    (Cause.WORK, work.find_recomposed),
    (Cause.UNEXPLAINED, unexplained.find),
)

EXACT = ((Cause.IMAGE, image.holds), (Cause.DTYPE, dtype.holds), (Cause.WORK, work.holds))
"""The causes that exact work alone can name, the most telling first."""


def find_cause(facts: Facts, known: Cause | None = None) -> tuple[Cause, Evidence]:
    """The first cause that has evidence, and that evidence; `known` is what exact work has said already.

    A known cause decides, whatever the others would say; they are not asked.
    """
    if known is not None:
        facts = replace(
            facts, diffs=tuple(d for d in facts.diffs if exact_cause(d, facts.direction) is known)
        )
    for cause, find in FINDERS:
        if known in (None, cause) and (found := find(facts)) is not None:
            return cause, found
    return known or Cause.UNEXPLAINED, ()


def exact_cause(diff: LedgerDiff, direction: EventDirection) -> Cause | None:
    """What of one workload's exact work explains a change in this direction; None where nothing does."""
    return next((cause for cause, holds in EXACT if holds(diff, direction)), None)
