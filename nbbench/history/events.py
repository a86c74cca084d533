"""Change points of many series become events: one commit range, one direction, one phase, one cause,
with what is on record around its commits: ledgers, telemetry, the setup.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, islice

from nbbench.disturbance import Disturbance
from nbbench.history.causes import find_cause
from nbbench.history.changes import History
from nbbench.history.facts import Facts, SetupChange, setup_changes
from nbbench.history.grouping import Group, group_changes, module_of
from nbbench.history.ledger_series import CommitOrder
from nbbench.history.recoveries import with_recoveries
from nbbench.history.telemetry import disturbed_collections, machine_jump, rested_on
from nbbench.host import IMPORT_WORKLOAD, HostMetric
from nbbench.ledger import Ledger
from nbbench.metrics import Role, change_metric, change_role, phase_of
from nbbench.model import (
    Cause,
    ChangePoint,
    Event,
    EventDirection,
    EvidenceRecord,
    Phase,
    ProcessRecord,
    SeriesKey,
)
from nbbench.work.count_diff import HostDiff, diff_all, diff_scales
from nbbench.work.ledger_diff import LedgerDiff, diff_ledgers
from nbbench.workloads import ledger_families, workload_of

_NEIGHBOURS = 5


class Around:
    """Ledgers, telemetry and setups by place on the branch."""

    def __init__(self, history: History) -> None:
        self.order: CommitOrder = CommitOrder(history.commits)
        self.commits = self.order.commits
        self._ledgers: Mapping[str, Mapping[str, Ledger]] = history.ledgers
        self._records: dict[str, list[ProcessRecord]] = {}
        for record in history.records:
            self._records.setdefault(record.commit, []).append(record)
        self._left_out = disturbed_collections(history.records)
        self._setups = history.setups
        self._tolerance = history.tolerance
        self._host, self._scaled = history.host, history.scaled
        self._diff = cache(self._find_diff)

    def same_tree(self, lo: int, hi: int) -> bool:
        """Whether the measured paths are known to be the same before `lo` and up to `hi`."""
        trees = {commit.tree for commit in self.commits[max(lo - 1, 0) : hi + 1]}
        return len(trees) == 1 and hi > 0 and "" not in trees

    def diffs(self, key: SeriesKey, lo: int, hi: int) -> list[LedgerDiff]:
        """Ledger differences of what a series runs: its own workload, or all of its families where it is not
        known which. Empty where no ledger belongs to the series, or none is on record."""
        named = workload_of(key)
        if named is not None and (own := self._diff(named, lo, hi)) is not None:
            return [own]
        families = ledger_families(key)
        names = sorted(name for name in self._usable(hi) if families and name.startswith(families))
        return [diff for name in names if (diff := self._diff(name, lo, hi)) is not None]

    def _find_diff(self, workload: str, lo: int, hi: int) -> LedgerDiff | None:
        """`hi` against the nearest commit before `lo` that has a usable ledger of the workload's family.

        None where that one lacks the workload: what moved it may have happened before.
        """
        head = self._usable(hi).get(workload)
        family = workload.partition("-")[0] + "-"
        if head is None:
            return None
        for i in range(lo - 1, -1, -1):
            base = self._usable(i)
            if workload in base:
                return diff_ledgers(base[workload], head, tolerance=self._tolerance)
            if any(name.startswith(family) for name in base):
                return None
        return None

    def host(self, changes: Iterable[ChangePoint], lo: int, hi: int) -> tuple[HostDiff, ...]:
        """The host work behind these changes, by line: `hi` against the nearest commit before `lo` that has
        some on record. Lines are matched by their functions. Of a time these are its phase's steps."""
        told = ((HostMetric.STEPS if change_role(c) is Role.TIME else c.unit, c) for c in changes)
        keys = [(unit, c.key) for unit, c in told if change_role(c) in (Role.HOST, Role.TIME)]
        asked = {(unit, phase_of(key)) for unit, key in keys}
        named = {workload_of(key) for _, key in keys}
        names = named | {IMPORT_WORKLOAD}
        if not asked or not (head := self._host(self.commits[hi].tree)):
            return ()
        kept = (self._host(self.commits[i].tree) for i in range(lo - 1, -1, -1))
        base = {n: one for n, one in next(filter(None, kept), {}).items() if n in names or None in named}
        return tuple(one for one in diff_all(base, head) if (one.metric, one.phase) in asked)

    def orders(self, changes: Iterable[ChangePoint], lo: int, hi: int) -> tuple[EvidenceRecord, ...]:
        """The changes of order behind these, with the lines: `hi` against the nearest scales before `lo`."""
        keys = [change.key for change in changes if change.unit == "order"]
        asked = {(workload_of(key), key.benchmark.rpartition(".")[2]) for key in keys}
        if not asked:
            return ()
        kept = (self._scaled(self.commits[i].tree) for i in range(lo - 1, -1, -1))
        found = diff_scales(next(filter(None, kept), {}), self._scaled(self.commits[hi].tree))
        return tuple(one.record for one in found if (one.scale, one.quantity.metric) in asked)

    def _usable(self, index: int) -> dict[str, Ledger]:
        found = self._ledgers.get(self.commits[index].tree, {})
        return {name: ledger for name, ledger in found.items() if not ledger.error and ledger.pixels}

    def disturbance(self, lo: int, hi: int, machines: Collection[str]) -> tuple[Disturbance, Disturbance]:
        """Disturbance of the commits measured just before `lo`, and from `hi` on."""
        before, after = self._records_around(lo, hi, machines)
        return rested_on(before, self._left_out), rested_on(after, self._left_out)

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
            return list(chain.from_iterable(islice(filter(None, here), _NEIGHBOURS)))

        return gather(range(lo - 1, -1, -1)), gather(range(hi, len(self.commits)))

    def setup(self, lo: int, hi: int, changes: Iterable[ChangePoint]) -> tuple[SetupChange, ...]:
        """What of the measuring itself is another from `hi` on than before `lo`, for all of these series."""
        commits = [commit.hash for commit in self.commits]
        noisy = [c for c in changes if c.kind != "exact"]
        return setup_changes(self._setups, noisy, commits[:lo], commits[hi:])


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
    return with_recoveries(_named([_event(group, around) for group in groups]))


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
    differs, or the module of what nobody declared, it names all but the largest."""
    found: dict[tuple[str, Cause, str], Event] = {}
    for event in events:
        key = _event_id(event), event.cause, _module(event)
        found[key] = _as_one(found[key], event) if key in found else event
    largest: dict[str, tuple[Cause, str]] = {}
    for name, cause, module in sorted(found, key=lambda key: -abs(found[key].effect)):
        largest.setdefault(name, (cause, module))

    def told(name: str, cause: Cause, module: str) -> str:
        first, other = largest[name], "" if cause is largest[name][0] else f"-{_word(cause)}"
        return name + other + (f"-in-{module}" if module and (cause, module) != first else "")

    return [replace(event, id=told(*key)) for key, event in found.items()]


def _module(event: Event) -> str:
    """The module of an event's benchmarks, in letters that an id may have; "" for those of a declared suite,
    and where the cause is one that modules share."""
    names = {module_of(change.key) for change in event.changes}
    shared = event.cause in (Cause.ENVIRONMENT, Cause.CONTENTION, Cause.HARNESS, Cause.FAILURE)
    return "" if shared or len(names) != 1 else re.sub(r"\W", "_", names.pop())[:40]


def _as_one(one: Event, other: Event) -> Event:
    first, second = sorted((one, other), key=lambda event: -abs(event.effect))
    more = (record for record in second.evidence if record not in first.evidence)
    return replace(first, changes=first.changes + second.changes, evidence=(*first.evidence, *more))
