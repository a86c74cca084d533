"""Change points of many series become events: one commit range, one direction, one phase, one cause."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nbbench.history.around import Around
from nbbench.history.causes import find_cause
from nbbench.history.causes.facts import Facts
from nbbench.history.changes import History
from nbbench.history.grouping import Group, group_changes
from nbbench.metrics import Role, change_metric, change_role
from nbbench.model import Cause, ChangePoint, Event, EventDirection, Phase
from nbbench.stats.changepoint import level_effect
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.workloads import workload_of

# A recovery undoes at least half of the regression (on the log scale).
_RECOVERED_SHARE = 0.5
# A minor fault costs about 1.7 µs (docs/findings.md), in which a core moves about so much at 10 GB/s.
BYTES_PER_FAULT = 17_000
_PAGE_BYTES = 4096.0
_WORDS = {
    EventDirection.REGRESSION: "slower",
    EventDirection.IMPROVEMENT: "faster",
    EventDirection.CHANGE: "changed",
}


def build_events(
    history: History, changes: Sequence[ChangePoint], min_effect: float | None = None
) -> list[Event]:
    """Group change points and explain each group; oldest first.

    `grouping` says which belong together. Groups in which nothing counts (`metrics`; `min_effect` is the
    least log ratio of noisy ones) are left out, and those between equal trees: equal code is never a
    regression.
    """
    around = Around(history)
    groups = [
        group
        for group in group_changes(changes, around)
        if _matters(group, min_effect) and not around.same_tree(group.lo, group.hi)
    ]
    groups.sort(key=lambda group: (group.hi, group.lo, list(_WORDS).index(group.direction)))
    return _with_recoveries(_named([_event(group, around) for group in groups]))


def _matters(group: Group, min_effect: float | None) -> bool:
    if group.cause is Cause.FAILURE:
        return True
    metrics = ((one.change, change_metric(one.change)) for one in group.members)
    return any(m.counts(c, min_effect) for c, m in metrics if m.role is not Role.DERIVED)


def _event(group: Group, around: Around) -> Event:
    facts = _facts(group, around)
    cause, evidence = find_cause(facts, group.cause)
    lo, hi = around.commits[group.lo], around.commits[group.hi]
    effect, predicted = _headline(facts)
    return Event(
        id="",
        lo_commit=lo.hash,
        hi_commit=hi.hash,
        date=hi.date,
        subject=hi.subject,
        direction=group.direction,
        phase=group.phase,
        cause=cause,
        effect=effect,
        predicted=predicted,
        evidence=(*around.orders(facts.changes, group.lo, group.hi), *evidence),
        changes=tuple(sorted(facts.changes, key=lambda c: (change_role(c), -abs(c.effect), c.key.label))),
    )


def _facts(group: Group, around: Around) -> Facts:
    """What is on record of a group."""
    own = [one.change for one in group.members if one.role is not Role.DERIVED]
    diffs: dict[str, LedgerDiff] = {}
    for change in own:
        diffs |= {d.workload: d for d in around.diffs(change.key, group.lo, group.hi)}
    before, after = around.disturbance(group.lo, group.hi, {change.key.machine for change in own})
    return Facts(
        tuple(one.change for one in group.members),
        group.direction,
        tuple(diffs[name] for name in sorted(diffs)),
        before,
        after,
        around.canary_jump(group.lo, group.hi, [c for c in own if change_role(c) is Role.TIME]),
        around.setup(group.lo, group.hi, own),
        around.host(own, group.lo, group.hi),
    )


def _headline(facts: Facts) -> tuple[float, float | None]:
    """What a user waits for: the largest effect on time in the event's direction.

    Where no time was measured it is predicted from the cost of the work, which comes second; without a
    ledger the largest effect on work stands in, then any.
    """
    if any(c.fails for c in facts.changes):
        return math.inf, None
    same = [c for c in facts.changes if c.worse == (facts.way > 0) and math.isfinite(c.effect)]
    same = same or list(facts.changes)
    timed = [c for c in same if change_role(c) is Role.TIME]
    if timed:
        return max(timed, key=lambda c: abs(c.effect)).effect, None
    predicted = [e for e in _predicted(facts) if math.isfinite(e) and e * facts.way > 0]
    if predicted:
        effect = max(predicted, key=abs)
        return effect, effect
    moved = [c for c in same if change_role(c) in (Role.WORK, Role.DTYPE)] or same
    return max(moved, key=lambda c: abs(c.effect)).effect, None


def _predicted(facts: Facts) -> list[float]:
    """Log ratios of time that exact work and page faults predict, one a workload."""
    faults: dict[str | None, float] = {}
    for change in sorted(facts.of(Role.ALLOCATOR), key=lambda c: c.kind == "exact"):
        pages = 1.0 if change.unit == "faults" else _PAGE_BYTES  # of what is mapped each page faults once
        faults[workload_of(change.key)] = (change.after - change.before) / pages
    effects = []
    for diff in facts.diffs:
        more = faults.get(diff.workload, 0.0) * BYTES_PER_FAULT
        if more or facts.roles & {Role.WORK, Role.DTYPE}:
            old, new = (max(one.cost_bytes, 1.0) for one in (diff.base, diff.head))
            effects.append(math.log(max(new + more, 1.0) / old))
    return effects


def _event_id(event: Event) -> str:
    """`0123abcd-slower`, or `0123abcd..4567cdef-slower-import`: decisions find their event by it."""
    lo, hi = event.lo_commit, event.hi_commit
    span = hi[:8] if lo == hi else f"{lo[:8]}..{hi[:8]}"
    word = "fails" if event.cause is Cause.FAILURE else _WORDS[event.direction]
    return f"{span}-{word}" + ("" if event.phase is Phase.WARM else f"-{_word(event.phase)}")


def _word(name: Phase | Cause) -> str:
    return name.value.replace(" ", "-")


def _named(events: Sequence[Event]) -> list[Event]:
    """The events with their ids, those of one range, direction, phase and cause as one. Where only the cause
    differs, it names all but the largest."""
    found: dict[tuple[str, Cause], Event] = {}
    for event in events:
        key = _event_id(event), event.cause
        found[key] = _as_one(found[key], event) if key in found else event
    largest: dict[str, Cause] = {}
    for name, cause in sorted(found, key=lambda key: -abs(found[key].effect)):
        largest.setdefault(name, cause)
    return [
        replace(event, id=name if largest[name] is cause else f"{name}-{_word(cause)}")
        for (name, cause), event in found.items()
    ]


def _as_one(one: Event, other: Event) -> Event:
    first, second = sorted((one, other), key=lambda event: -abs(event.effect))
    more = (record for record in second.evidence if record not in first.evidence)
    return replace(first, changes=first.changes + second.changes, evidence=(*first.evidence, *more))


def _with_recoveries(events: list[Event]) -> list[Event]:
    """Name the later event that undid a regression: the regression stays in the record."""

    def healer(place: int, event: Event) -> str | None:
        later = (e for e in events[place + 1 :] if not e.worse and _heals(e, event))
        return next((e.hi_commit for e in later), None) if event.worse else None

    return [replace(event, recovered_by=healer(place, event)) for place, event in enumerate(events)]


def _heals(later: Event, event: Event) -> bool:
    """Whether at least half of the series that became worse are back at their old level."""
    levels: Mapping[object, float] = {c.key: c.after for c in later.changes if not c.worse}
    worse = [c for c in event.changes if c.worse]
    # Memory that was given back does not undo page faults, time or work.
    lost = [c for c in worse if change_role(c) not in (Role.MEMORY, Role.DERIVED)] or worse
    healed = [c for c in lost if c.key in levels and _undone(c, levels[c.key])]
    return bool(lost) and len(healed) * 2 >= len(lost)


def _undone(change: ChangePoint, level: float) -> bool:
    """Whether a level lies nearer to where the change began than half of it; levels, not sizes of
    steps, so that one improvement does not make up for two regressions."""
    kept = (1 - _RECOVERED_SHARE) * abs(change.effect)
    left = level_effect(change.before, level)
    if math.isinf(kept) or math.isinf(left):  # from or to zero: in the values themselves
        kept, left = (1 - _RECOVERED_SHARE) * abs(change.after - change.before), level - change.before
    return left * math.copysign(1.0, change.after - change.before) <= kept
