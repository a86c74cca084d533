"""Change points of many series become events: one for each commit range, direction and cause."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nbbench.analyse.causes import Contention, contention, explain_change, records_by_commit
from nbbench.analyse.changes import History
from nbbench.analyse.ledger_diff import LedgerDiff, diff_ledgers
from nbbench.analyse.roles import Role, role
from nbbench.model import Cause, ChangePoint, Commit, Decision, Event, Flag, FlagState, Ledger, ProcessRecord

# A recovery undoes at least half of the loss (on the log scale).
_RECOVERED_SHARE = 0.5
_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Below these (log ratios) a change is recorded but makes no flag."""

    time: float = 0.05
    work: float = 0.01


def build_events(
    history: History, changes: Sequence[ChangePoint], thresholds: Thresholds | None = None
) -> list[Event]:
    """Group change points and explain each group; oldest first.

    Exact change points come first: their commit ranges are sharp. A noisy change point joins
    the group whose range its own overlaps, where the directions agree; the rest form groups
    of their own. Groups in which nothing reaches the thresholds are left out.
    """
    thresholds = thresholds or Thresholds()
    branch = _Branch(history)
    groups = _group(changes, branch)
    events = [_event(group, branch) for group in groups if _matters(group.changes, thresholds)]
    events.sort(key=lambda event: branch.index(event.hi_commit))
    return _with_recoveries(events, branch)


@dataclass(slots=True)
class _Group:
    lo: int
    hi: int
    changes: list[ChangePoint]


class _Branch:
    """Positions, ledgers and telemetry by place on the branch."""

    def __init__(self, history: History) -> None:
        known = sorted(history.commits, key=lambda c: (c.position, c.date.timestamp()))
        self.commits: list[Commit] = known
        self._index = {commit.hash: i for i, commit in enumerate(known)}
        self.ledgers: Mapping[str, Mapping[str, Ledger]] = history.ledgers
        self.records = records_by_commit(history.records)
        self.machine_series = [s for s in history.series if role(s.key, s.unit, s.kind) is Role.MACHINE]

    def index(self, commit: str) -> int:
        """Place of a commit on the branch; -1 when it is unknown."""
        return self._index.get(commit, -1)

    def ledgers_around(self, lo: int, hi: int) -> list[LedgerDiff]:
        """Ledger differences from the last tree before `lo` to `hi`, by workload."""
        head = self._usable(hi)
        base = next((found for i in range(lo - 1, -1, -1) if (found := self._usable(i))), {})
        return [diff_ledgers(base[name], head[name]) for name in sorted(base.keys() & head.keys())]

    def _usable(self, index: int) -> dict[str, Ledger]:
        found = self.ledgers.get(self.commits[index].tree, {}) if 0 <= index < len(self.commits) else {}
        return {name: ledger for name, ledger in found.items() if not ledger.error and ledger.pixels}

    def contention(self, lo: int, hi: int) -> tuple[Contention, Contention]:
        """Disturbance of the measured commits just before `lo`, and from `hi` on."""

        def gather(indices: Iterable[int]) -> list[ProcessRecord]:
            measured = [i for i in indices if self.commits[i].hash in self.records]
            return [r for i in measured[:_NEIGHBOURS] for r in self.records[self.commits[i].hash]]

        return contention(gather(range(lo - 1, -1, -1))), contention(gather(range(hi, len(self.commits))))

    def ceiling_effect(self, lo: int, hi: int) -> float | None:
        """log ratio of the machine's ceiling after/before, where it was measured."""
        for series in self.machine_series:
            values = {self.index(p.commit): p.value for p in series.points if p.value}
            before = [v for i, v in sorted(values.items()) if i < lo and v][-_NEIGHBOURS:]
            after = [v for i, v in sorted(values.items()) if i >= hi and v][:_NEIGHBOURS]
            if before and after:
                return math.log(sorted(after)[len(after) // 2] / sorted(before)[len(before) // 2])
        return None


def _role(change: ChangePoint) -> Role:
    return role(change.key, change.unit, "time" if change.unit in ("seconds", "s") else "track")


def _group(changes: Sequence[ChangePoint], branch: _Branch) -> list[_Group]:
    exact = [c for c in changes if c.kind == "exact" and _role(c) is not Role.DERIVED]
    noisy = [c for c in changes if c.kind != "exact" and _role(c) is not Role.DERIVED]
    derived = [c for c in changes if _role(c) is Role.DERIVED]
    groups: list[_Group] = []
    for change in sorted(exact, key=lambda c: _span(c, branch)):
        lo, hi = _span(change, branch)
        home = next((g for g in groups if g.lo == lo and g.hi == hi), None)
        # A wider range (fewer commits measured for that series) belongs to the sharp one inside.
        home = home or next((g for g in groups if lo <= g.lo and g.hi <= hi), None)
        if home is None:
            groups.append(_Group(lo, hi, [change]))
        else:
            home.changes.append(change)
    for change in sorted(noisy, key=lambda c: (-abs(c.effect), _span(c, branch))):
        _join(groups, change, branch, found_new=True)
    for change in derived:
        _join(groups, change, branch, found_new=False)
    return groups


def _span(change: ChangePoint, branch: _Branch) -> tuple[int, int]:
    lo, hi = branch.index(change.lo_commit), branch.index(change.hi_commit)
    return min(lo, hi), hi


def _join(groups: list[_Group], change: ChangePoint, branch: _Branch, *, found_new: bool) -> None:
    """Put a noisy change point where its range and direction fit best."""
    lo, hi = _span(change, branch)
    fitting = [
        g
        for g in groups
        if g.lo <= hi and lo <= g.hi and (not found_new or _direction(g.changes) in (0, _sign(change)))
    ]
    if fitting:
        best = max(fitting, key=lambda g: (_weight(g.changes), -abs(g.hi - hi)))
        if all(c.kind != "exact" for c in best.changes):
            best.lo, best.hi = max(best.lo, lo), min(best.hi, hi)
        best.changes.append(change)
    elif found_new:
        groups.append(_Group(lo, hi, [change]))


def _sign(change: ChangePoint) -> int:
    return 1 if change.worse else -1


def _weight(changes: Sequence[ChangePoint]) -> float:
    return max((abs(c.effect) for c in changes if math.isfinite(c.effect)), default=0.0)


def _direction(changes: Sequence[ChangePoint]) -> int:
    """+1 worse, -1 better: time decides, then exact work, then memory and the allocator."""
    for part in ((Role.TIME,), (Role.WORK, Role.DTYPE), (Role.ALLOCATOR,), (Role.MEMORY, Role.OTHER)):
        moved = [c for c in changes if _role(c) in part and c.unit != "dtype code"]
        if moved:
            return _sign(max(moved, key=lambda c: abs(c.effect)))
    return 0


def _matters(changes: Sequence[ChangePoint], thresholds: Thresholds) -> bool:
    for change in changes:
        part = _role(change)
        if part is Role.DERIVED:
            continue
        limit = thresholds.work if part in (Role.WORK, Role.DTYPE) else thresholds.time
        if abs(change.effect) >= limit:
            return True
    return False


def _event(group: _Group, branch: _Branch) -> Event:
    diffs = branch.ledgers_around(group.lo, group.hi)
    before, after = branch.contention(group.lo, group.hi)
    cause, evidence = explain_change(
        group.changes, diffs, before, after, branch.ceiling_effect(group.lo, group.hi)
    )
    lo, hi = branch.commits[group.lo], branch.commits[group.hi]
    worse = _direction(group.changes) > 0
    return Event(
        id=f"{hi.short}-{'slower' if worse else 'faster'}",
        lo_commit=lo.hash,
        hi_commit=hi.hash,
        date=hi.date,
        subject=hi.subject,
        worse=worse,
        cause=cause,
        effect=_headline(group.changes, worse),
        evidence=evidence,
        changes=tuple(sorted(group.changes, key=lambda c: (_role(c), -abs(c.effect), c.key.label))),
    )


def _headline(changes: Sequence[ChangePoint], worse: bool) -> float:
    """The largest effect on time in the event's direction; without one, on work, then on anything."""
    same = [c for c in changes if c.worse == worse and math.isfinite(c.effect)] or list(changes)
    for part in ((Role.TIME,), (Role.WORK, Role.DTYPE), tuple(Role)):
        moved = [c for c in same if _role(c) in part]
        if moved:
            return max(moved, key=lambda c: abs(c.effect)).effect
    return 0.0


def _with_recoveries(events: list[Event], branch: _Branch) -> list[Event]:
    """Name the later event that undid a loss: the loss stays in the record."""
    done = []
    for i, event in enumerate(events):
        healer = None
        if event.worse:
            lost = {c.key for c in event.changes if c.worse}
            healer = next((e for e in events[i + 1 :] if not e.worse and _heals(e, event, lost)), None)
        done.append(replace(event, recovered_by=healer.hi_commit) if healer else event)
    return done


def _heals(later: Event, event: Event, lost: set[object]) -> bool:
    gains = {c.key: c.effect for c in later.changes if not c.worse}
    shared = [c for c in event.changes if c.worse and c.key in gains]
    healed = [c for c in shared if abs(gains[c.key]) >= _RECOVERED_SHARE * abs(c.effect)]
    return bool(lost) and len(healed) * 2 >= len(lost)


def attach_flags(
    events: Iterable[Event], decisions: Sequence[Decision], plan: str, commits: Sequence[Commit]
) -> list[Flag]:
    """Flags of a plan item: every event that is a loss, in the state of its newest decision.

    A decision belongs to an event when it names its id, or a commit inside its range with the
    same direction: more measurements narrow a range and change the id, not the event.
    """
    order = {c.hash[:8]: i for i, c in enumerate(sorted(commits, key=lambda c: (c.position, c.date)))}
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
    commit, _, direction = decision.event.partition("-")
    if direction != event.id.partition("-")[2] or commit not in order:
        return False
    lo, hi = order.get(event.lo_commit[:8]), order.get(event.hi_commit[:8])
    return lo is not None and hi is not None and lo <= order[commit] <= hi


def is_noteworthy(event: Event) -> bool:
    """Whether an event says something about speed (an image-only change is none)."""
    return event.cause is not Cause.IMAGE or bool(event.changes)
