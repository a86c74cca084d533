"""Change points of many series become events: one for each commit range, direction and cause."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from nbbench.disturbance import Disturbance, mean_disturbance
from nbbench.history.canaries import machine_jump
from nbbench.history.causes import explain_change, records_by_commit, slowest
from nbbench.history.changes import History
from nbbench.history.grouping import Group, group_changes
from nbbench.history.order import CommitOrder
from nbbench.ledger import Ledger
from nbbench.metrics import Role, change_metric, change_role
from nbbench.model import ChangePoint, Commit, Decision, Event, EventDirection, Flag, FlagState, ProcessRecord
from nbbench.stats.changepoint import level_effect
from nbbench.work.ledger_diff import LedgerDiff, diff_ledgers
from nbbench.workloads import ledger_families

# A recovery undoes at least half of the loss (on the log scale).
_RECOVERED_SHARE = 0.5
_NEIGHBOURS = 5


def build_events(
    history: History, changes: Sequence[ChangePoint], min_effect: float | None = None
) -> list[Event]:
    """Group change points and explain each group; oldest first.

    `grouping` says which belong together. Groups in which nothing reaches the thresholds are
    left out, and those between equal trees: equal code is never a regression.
    """
    branch = _Branch(history)
    groups = [
        group
        for group in group_changes(changes, branch.order)
        if _matters(group.changes, min_effect) and not branch.same_tree(group.lo, group.hi)
    ]
    groups.sort(key=lambda group: (group.hi, group.lo, group.direction))
    return _with_recoveries([_event(group, branch) for group in groups])


class _Branch:
    """Ledgers, telemetry and the machine's own series by place on the branch."""

    def __init__(self, history: History) -> None:
        self.order: CommitOrder = history.order()
        self.commits = self.order.commits
        self._ledgers: Mapping[str, Mapping[str, Ledger]] = history.ledgers
        self._records = records_by_commit(history.records)
        self._ceilings = history.ceilings()

    def same_tree(self, lo: int, hi: int) -> bool:
        """Whether the measured paths are known to be the same before `lo` and up to `hi`."""
        trees = {commit.tree for commit in self.commits[max(lo - 1, 0) : hi + 1]}
        return len(trees) == 1 and hi > 0 and "" not in trees

    def ledgers_around(self, lo: int, hi: int, families: tuple[str, ...]) -> list[LedgerDiff]:
        """Ledger differences of the families' workloads: `hi` against the nearest commit before `lo`.

        Workloads whose own last ledger lies further back are left out: what moved them may have
        happened before.
        """
        head = {name: one for name, one in self._usable(hi).items() if name.startswith(families)}
        for i in range(lo - 1, -1, -1):
            base = self._usable(i)
            if shared := sorted(base.keys() & head.keys()):
                return [diff_ledgers(base[name], head[name]) for name in shared]
        return []

    def _usable(self, index: int) -> dict[str, Ledger]:
        found = self._ledgers.get(self.commits[index].tree, {})
        return {name: ledger for name, ledger in found.items() if not ledger.error and ledger.pixels}

    def disturbance(self, lo: int, hi: int, machines: Collection[str]) -> tuple[Disturbance, Disturbance]:
        """Disturbance of the commits measured just before `lo`, and from `hi` on."""
        before, after = self._records_around(lo, hi, machines)
        return mean_disturbance(before), mean_disturbance(after)

    def canary_jump(self, lo: int, hi: int, changes: Iterable[ChangePoint]) -> float:
        """How far the canaries beside the changed series moved, as a log ratio; 0.0 where they did not."""
        changes = tuple(changes)
        before, after = self._records_around(lo, hi, {c.key.machine for c in changes})
        return machine_jump(before, after, {c.key.benchmark for c in changes})

    def _records_around(
        self, lo: int, hi: int, machines: Collection[str]
    ) -> tuple[list[ProcessRecord], list[ProcessRecord]]:
        """Telemetry of the commits measured just before `lo`, and of those from `hi` on."""

        def gather(places: Iterable[int]) -> list[ProcessRecord]:
            measured = (self._records.get(self.commits[i].hash, []) for i in places)
            here = ([r for r in records if r.machine in machines or not r.machine] for records in measured)
            return [r for records in [found for found in here if found][:_NEIGHBOURS] for r in records]

        return gather(range(lo - 1, -1, -1)), gather(range(hi, len(self.commits)))

    def ceiling_effect(self, lo: int, hi: int, machines: Collection[str]) -> float | None:
        """log ratio of the ceiling after/before; the least of several machines must explain all."""
        effects = []
        for series in self._ceilings:
            if series.key.machine not in machines:
                continue
            usable = [p for p in self.order.sort(series.points) if p.value and 0 < p.value < math.inf]
            before = [p.value for p in usable if p.value and self.order.index(p.commit) < lo][-_NEIGHBOURS:]
            after = [p.value for p in usable if p.value and self.order.index(p.commit) >= hi][:_NEIGHBOURS]
            if before and after:
                effects.append(math.log(median(after) / median(before)))
        return min(effects, key=abs, default=None)


def _matters(changes: Sequence[ChangePoint], min_effect: float | None) -> bool:
    metrics = ((change, change_metric(change)) for change in changes)
    return any(m.counts(c, min_effect) for c, m in metrics if m.role is not Role.DERIVED)


def _event(group: Group, branch: _Branch) -> Event:
    machines = {change.key.machine for change in group.changes}
    families = {
        name for c in group.changes if change_role(c) is not Role.DERIVED for name in ledger_families(c.key)
    }
    diffs = branch.ledgers_around(group.lo, group.hi, tuple(families))
    before, after = branch.disturbance(group.lo, group.hi, machines)
    ceiling = branch.ceiling_effect(group.lo, group.hi, machines)
    canary = branch.canary_jump(group.lo, group.hi, (c for c in group.changes if change_role(c) is Role.TIME))
    cause, evidence = explain_change(group.changes, diffs, before, after, ceiling, canary)
    evidence = (*slowest(group.changes), *evidence)
    lo, hi = branch.commits[group.lo], branch.commits[group.hi]
    worse = group.direction > 0
    return Event(
        id=event_id(lo, hi, worse),
        lo_commit=lo.hash,
        hi_commit=hi.hash,
        date=hi.date,
        subject=hi.subject,
        direction=EventDirection.REGRESSION if worse else EventDirection.IMPROVEMENT,
        cause=cause,
        effect=_headline(group.changes, worse),
        evidence=evidence,
        changes=tuple(sorted(group.changes, key=lambda c: (change_role(c), -abs(c.effect), c.key.label))),
    )


def event_id(lo: Commit, hi: Commit, worse: bool) -> str:
    """`0123abcd-slower`, or `0123abcd..4567cdef-slower`: decisions find their event by this range."""
    span = hi.short if lo.hash == hi.hash else f"{lo.short}..{hi.short}"
    return f"{span}-{'slower' if worse else 'faster'}"


def _headline(changes: Sequence[ChangePoint], worse: bool) -> float:
    """The largest effect on time in the event's direction; without one, on work, then on anything."""
    same = [c for c in changes if c.worse == worse and math.isfinite(c.effect)] or list(changes)
    for part in ((Role.TIME,), (Role.WORK, Role.DTYPE), tuple(Role)):
        moved = [c for c in same if change_role(c) in part]
        if moved:
            return max(moved, key=lambda c: abs(c.effect)).effect
    return 0.0


def _with_recoveries(events: list[Event]) -> list[Event]:
    """Name the later event that undid a loss: the loss stays in the record."""
    done = []
    for i, event in enumerate(events):
        healer = None
        if event.worse:
            healer = next((e for e in events[i + 1 :] if not e.worse and _heals(e, event)), None)
        done.append(replace(event, recovered_by=healer.hi_commit) if healer else event)
    return done


def _heals(later: Event, event: Event) -> bool:
    """Whether at least half of the lost series are back at their old level."""
    levels = {c.key: c.after for c in later.changes if not c.worse}
    worse = [c for c in event.changes if c.worse]
    # Memory that was given back does not undo page faults, time or work.
    lost = [c for c in worse if change_role(c) not in (Role.MEMORY, Role.DERIVED)] or worse
    healed = [c for c in lost if c.key in levels and _undone(c, levels[c.key])]
    return bool(lost) and len(healed) * 2 >= len(lost)


def _undone(loss: ChangePoint, level: float) -> bool:
    """Whether a level lies nearer to where the loss began than half of it; levels, not sizes of
    steps, so that one gain does not make up for two losses."""
    kept = (1 - _RECOVERED_SHARE) * abs(loss.effect)
    left = level_effect(loss.before, level)
    if math.isinf(kept) or math.isinf(left):  # from or to zero: in the values themselves
        kept, left = (1 - _RECOVERED_SHARE) * abs(loss.after - loss.before), level - loss.before
    return left * math.copysign(1.0, loss.after - loss.before) <= kept


def attach_flags(
    events: Iterable[Event], decisions: Sequence[Decision], plan: str, commits: Sequence[Commit]
) -> list[Flag]:
    """Flags of a plan item: every event that is a loss, in the state of its newest decision.

    A decision belongs to an event when it names its id, or a range of commits that shares one
    with the event's, in the same direction: more measurements narrow a range and change the id,
    not the event.
    """
    order = {commit.short: i for i, commit in enumerate(CommitOrder(commits).commits)}
    flags = []
    for event in events:
        if not event.worse:
            continue
        mine = sorted(
            (d for d in decisions if d.plan == plan and _concerns(d, event, order)), key=lambda d: d.date
        )
        flags.append(Flag(event, plan, mine[-1].state if mine else FlagState.DETECTED, tuple(mine)))
    return flags


def _concerns(decision: Decision, event: Event, order: Mapping[str, int]) -> bool:
    if decision.event == event.id:
        return True
    span, _, way = decision.event.rpartition("-")
    if way != event.id.rpartition("-")[2]:
        return False
    first, _, last = span.partition("..")
    places = [order.get(name[:8]) for name in (first, last or first, event.lo_commit, event.hi_commit)]
    known = [place for place in places if place is not None]
    return len(known) == 4 and known[0] <= known[3] and known[2] <= known[1]
