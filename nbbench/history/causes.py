"""Why an event happened: one finder a cause, asked in the order of `FINDERS`.

A finder takes the facts of an event and gives its evidence, or None where it has nothing to say.
What is exact is asked first, what was recorded beside the measurements next, `_nothing_explains` last.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from nbbench.history.facts import SAME_WORK, SAMPLING, Evidence, Facts
from nbbench.metrics import Role
from nbbench.model import Cause, ChangePoint, EventDirection, EvidenceRecord, Phase, to_plain
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff
from nbbench.workloads import ledger_families, phase_of

_WORK_SHARE = 0.2
"""Work explains a change of time when it moved by at least this part of it (on the log scale). Time follows
bytes and operations loosely: on record are bytes -20 % with time -36 %."""

SURE = 1e-3
"""A p-value above this says too little to set a time against its own work."""

_KERNELS_SHARE = 0.5
"""Kernels that moved by this share of a change, in its direction, explain it: workloads follow them by a
factor of one to two."""


def _harness(facts: Facts) -> Evidence | None:
    """A process that runs no workload changed, which how it is started does, and no work did."""
    idle = any(phase_of(c.key) is Phase.MEMORY and not ledger_families(c.key) for c in facts.changes)
    if not idle or not facts.roles <= {Role.MEMORY, Role.TIME} or not all(d.equal for d in facts.diffs):
        return None
    return (EvidenceRecord("idle process"),)


def _image(facts: Facts) -> Evidence | None:
    """The workloads whose image changed; page faults alone have nothing to do with an image."""
    if facts.roles == {Role.ALLOCATOR} or not any(d.new_image for d in facts.diffs):
        return None
    return facts.work


def _widths_moved(diff: LedgerDiff, direction: EventDirection) -> bool:
    """Whether widths moved with the direction: wider values never make a program faster."""
    if diff.retyped:
        return True
    wider = diff.head.upcast_per_pixel > diff.base.upcast_per_pixel
    return diff.upcasts and (
        direction is EventDirection.CHANGE or wider == (direction is EventDirection.REGRESSION)
    )


def _dtype(facts: Facts) -> Evidence | None:
    """The ledger's widths, or the suite's own dtype series."""
    if facts.roles == {Role.ALLOCATOR}:
        return None
    held = any(_widths_moved(d, facts.direction) for d in facts.diffs)
    return facts.work if held or facts.of(Role.DTYPE) else None


def _work_moved(diff: LedgerDiff, direction: EventDirection) -> bool:
    """Whether the work moved, and in this direction (any, where there is none)."""
    if diff.equal:
        return False
    way = {EventDirection.REGRESSION: 1, EventDirection.IMPROVEMENT: -1}.get(direction, 0)
    effects = [e for e in (diff.effect, diff.ops_effect) if abs(e) > WORK_FLOOR]
    return any(way == 0 or math.copysign(1, e) == way for e in effects)


def explains_time(diff: LedgerDiff, change: ChangePoint) -> bool:
    """Whether the work is large enough to explain a change of time: the least that its interval allows. A
    time that is not sure by itself only confirms."""
    if change.p_value > SURE:
        return True
    ends = [abs(end) for end in (change.effect_lo, change.effect_hi) if math.isfinite(end)]
    sure = change.effect_lo * change.effect_hi > 0 and len(ends) == 2
    moved = max(map(abs, (diff.cost_effect, diff.effect, diff.ops_effect)))
    return moved >= _WORK_SHARE * (min(ends) if sure else 0.0)


def _work(facts: Facts) -> Evidence | None:
    """What tensors do while a workload starts up, the event's ledgers, or the suite's own counters."""
    if starting := facts.host_work(Cause.WORK):
        return starting
    if facts.roles == {Role.ALLOCATOR}:
        return None
    times = facts.of(Role.TIME)
    held = any(
        _work_moved(d, facts.direction) and all(explains_time(d, c) for c in times) for d in facts.diffs
    )
    return facts.work if held or any(c.kind == "exact" for c in facts.of(Role.WORK)) else None


def _recomposed(facts: Facts) -> Evidence | None:
    """Exact figures moved, or equal totals (or fewer) are made of other operations, and nothing else explains
    the time: their price is not known from their bytes."""
    other = any(diff.recomposed and not _work_moved(diff, facts.direction) for diff in facts.diffs)
    return facts.work_or_same if facts.counted or other else None


def _setup(facts: Facts, *, sampling: bool = False) -> Evidence | None:
    """Parameters of the results, or of the telemetry beside them, that differ at the step; or asv's sampling,
    where it did not change because the time did."""
    changed = (one for one in facts.setup if (one.what in SAMPLING) is sampling)
    said = [EvidenceRecord("setup", to_plain(one)) for one in changed]
    return (*facts.work_or_same, *said) if said else None


def _allocator(facts: Facts) -> Evidence | None:
    """Large blocks that a run allocates, or page faults, moved the event's way, and no work did."""
    if not facts.of(Role.ALLOCATOR):
        return None
    said = (SAME_WORK,) if facts.diffs and all(d.equal for d in facts.diffs) else facts.work_or_same
    return (*said, EvidenceRecord("malloc"))


def _contention(facts: Facts) -> Evidence | None:
    """Contention of the slow side alone; nothing is claimed without telemetry of both."""
    before, after = facts.before, facts.after
    if not before.processes or not after.processes or not facts.way:
        return None
    slow, fast = (after, before) if facts.way > 0 else (before, after)
    if not slow.disturbed or fast.disturbed:
        return None
    busy = {"before": to_plain(before), "after": to_plain(after)}
    return (*facts.work_or_same, EvidenceRecord("others", busy))


def kernels_explain(jump: float, effect: float) -> bool:
    """Whether the kernels' jump goes far enough with a change of time (log ratios)."""
    return jump * effect > 0 and abs(jump) >= _KERNELS_SHARE * abs(effect)


def _machine(facts: Facts) -> Evidence | None:
    """Every reference kernel moved with the event's times."""
    if not any(kernels_explain(facts.canary, c.effect) for c in facts.of(Role.TIME)):
        return None
    return (*facts.work_or_same, EvidenceRecord("reference kernels", {"effect": facts.canary}))


def _unpriced(facts: Facts) -> Evidence | None:
    """Calls to the outside, whose cost counts do not tell, are all that differs in the phase that changed."""
    calls = facts.unpriced_calls if facts.of(Role.TIME) else ()
    return (*facts.work_or_same, *calls) if calls else None


def _nothing_explains(facts: Facts) -> Evidence:
    """What was looked at, and whether there is any of it on record."""
    looked = {
        "work": bool(facts.diffs or facts.host or any(c.kind == "exact" for c in facts.changes)),
        "load": bool(facts.before.processes and facts.after.processes),
    }
    return (*facts.work_or_same, EvidenceRecord("nothing", looked))


FINDERS: tuple[tuple[Cause, Callable[[Facts], Evidence | None]], ...] = (
    (Cause.FAILURE, lambda facts: () if any(c.fails for c in facts.changes) else None),
    (Cause.HARNESS, _harness),
    (Cause.IMAGE, _image),
    (Cause.DTYPE, _dtype),
    (Cause.WORK, _work),
    *(
        (counted, partial(Facts.host_work, cause=counted))
        for counted in (Cause.IMPORT, Cause.OUTPUT, Cause.HOST)
    ),
    (Cause.ENVIRONMENT, _setup),
    (Cause.ALLOCATOR, _allocator),
    (Cause.CONTENTION, _contention),
    (Cause.ENVIRONMENT, _machine),
    (Cause.HARNESS, partial(_setup, sampling=True)),
    (Cause.WORK, _recomposed),
    (Cause.HOST, _unpriced),
    (Cause.UNEXPLAINED, _nothing_explains),
)

EXACT: tuple[tuple[Cause, Callable[[LedgerDiff, EventDirection], bool]], ...] = (
    (Cause.IMAGE, lambda diff, _: diff.new_image),
    (Cause.DTYPE, _widths_moved),
    (Cause.WORK, _work_moved),
)
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
