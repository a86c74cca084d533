"""Which change points belong together: one commit range, direction, phase and, of exact work, cause."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nbbench.history.causes import EXACT, exact_cause, explains_time
from nbbench.host import HostMetric, host_cause
from nbbench.metrics import Better, Role, change_metric, change_role, phase_of
from nbbench.model import Cause, ChangePoint, EventDirection, Phase, SeriesKey
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.workloads import UNDECLARED, ledger_families, workload_of

if TYPE_CHECKING:
    from nbbench.history.events import Around

_EXPLAINED_SHARE = 0.5
_STEPS_SHARE, _STEP_S = 0.2, 5e-6
_COUNTED = (Role.WORK, Role.DTYPE)
_OPERATIONS = ("operations", HostMetric.OPERATIONS.value)
_HOST_CAUSES = (Cause.HOST, Cause.IMPORT, Cause.OUTPUT)


@dataclass(frozen=True, slots=True)
class Placed:
    """A change point on the branch, in the commits `lo` … `hi`, with what it says.

    `runs` is what the series runs: a workload, or the benchmark's family and parameters where that is not
    known. `cause` is what exact work says of it, None for anything else.
    """

    change: ChangePoint
    lo: int
    hi: int
    role: Role
    phase: Phase
    direction: EventDirection
    runs: Hashable
    cause: Cause | None = None

    @property
    def size(self) -> float:
        """The size of its effect, 0 where it is infinite: a width from nothing must not outvote others."""
        return abs(self.change.effect) if math.isfinite(self.change.effect) else 0.0

    @property
    def range(self) -> tuple[int, int]:
        """Both ends."""
        return self.lo, self.hi


def module_of(key: SeriesKey) -> str:
    """The module of a benchmark whose workload nobody declared, "" for others: another module's benchmarks
    have nothing to do with it, as far as is known."""
    return key.benchmark.partition(".")[0] if ledger_families(key) == UNDECLARED else ""


@dataclass(slots=True)
class Group:
    """Change points of different series with one range, direction and phase.

    `sharp` says that an exact counter fixed the range, `cause` what the exact work says; `module` is that of
    its benchmarks where nobody declared their workloads.
    """

    lo: int
    hi: int
    direction: EventDirection
    phase: Phase
    sharp: bool = False
    cause: Cause | None = None
    module: str = ""
    members: list[Placed] = field(default_factory=list)
    keys: set[SeriesKey] = field(default_factory=set)
    runs: set[Hashable] = field(default_factory=set)
    weight: float = 0.0

    def add(self, one: Placed) -> None:
        """Take a change point in. One with a wider range than the group's makes no room for greater ones."""
        self.members.append(one)
        self.keys.add(one.change.key)
        if one.role is not Role.DERIVED:
            self.runs.add(one.runs)
        if self.lo <= one.lo and one.hi <= self.hi:
            self.weight = max(self.weight, one.size)

    def overlaps(self, one: Placed) -> bool:
        """Whether the ranges share a commit."""
        return self.lo <= one.hi and one.lo <= self.hi


def group_changes(changes: Sequence[ChangePoint], around: "Around") -> list[Group]:
    """Group change points; those of commits that the branch does not know are left out.

    Exact work comes first, sharp ranges before wide ones, each workload in the direction of its own cost. A
    noisy step joins the group that it overlaps in its direction and phase, where that group's work is what
    it runs and large enough to explain it, or begins one. Memory joins what happened in the same commits in
    its direction, derived figures only join. No group takes a series twice.
    """
    every = place_changes(changes, around)
    placed = [one for one in every if one.cause is not Cause.FAILURE]
    groups: list[Group] = []
    failing = (one for one in every if one.cause is Cause.FAILURE)
    for one in sorted(failing, key=lambda p: (p.hi - p.lo, p.phase is not Phase.WARM)):
        # a commit that fails is one event, whatever runs of it and however few commits a series knows
        _join(groups, one, [g for g in groups if one.lo <= g.lo and g.hi <= one.hi], narrow=False)
    counted = [p for p in placed if p.role in (*_COUNTED, Role.HOST) and p.change.kind == "exact"]
    memory = [p for p in placed if p.role is Role.MEMORY]
    derived = [p for p in placed if p.role is Role.DERIVED]
    taken = {id(p) for p in (*counted, *memory, *derived)}
    noisy = [p for p in placed if id(p) not in taken]
    for one in sorted(counted, key=lambda p: (p.direction is EventDirection.CHANGE, p.hi - p.lo, p.range)):
        _join(groups, one, [g for g in groups if _same_work(g, one)], narrow=True)
    # large blocks, counted exactly, before faults of pages
    noisy.sort(key=lambda p: (p.role is not Role.ALLOCATOR, p.change.kind != "exact", -p.size, p.range))
    for one in noisy:
        _join(groups, one, [g for g in groups if _explains(g, one, around)], narrow=False)
    for one in sorted(memory, key=lambda p: (p.change.kind != "exact", p.hi - p.lo, -p.size, p.range)):
        fitting = [g for g in groups if _held(g, one)]
        if one.change.kind != "exact":  # a whole process, of which modules are a part
            fitting = [g for g in fitting if g.cause is Cause.IMPORT] or fitting
        _join(groups, one, fitting, narrow=one.change.kind == "exact")
    for one in derived:
        fitting = [g for g in groups if g.overlaps(one)]
        if home := _best([g for g in fitting if one.direction is g.direction] or fitting, one):
            home.add(one)
    return groups


def place_changes(changes: Sequence[ChangePoint], around: "Around") -> list[Placed]:
    """The change points with their places, in an order that does not depend on the input's."""
    placed = [_place(change, around) for change in sorted(changes, key=_name)]
    known = [p for p in placed if p.lo >= 0 and p.hi >= 0]
    bundles: dict[tuple[Hashable, int, int], list[Placed]] = {}
    for one in known:
        if one.role in _COUNTED and one.change.kind == "exact":
            bundles.setdefault((one.runs, *one.range), []).append(one)
    decided: dict[int, Placed] = {}
    for bundle in bundles.values():
        direction, cause = _decide(bundle, around)
        decided |= {id(p): replace(p, direction=direction, cause=cause) for p in bundle}
    return _following([decided.get(id(p), p) for p in known])


def _following(placed: Sequence[Placed]) -> list[Placed]:
    """Host counts that only follow from something else take its cause, and its event.

    What a phase imports is executed and held in memory, too; so is all that would be too little for an event
    of its own. More operations take more lines: steps that grew no more than the operations follow them.
    """
    importing = {(p.phase, p.range, p.direction) for p in placed if p.cause is Cause.IMPORT}
    issued = {(p.runs, p.phase, p.range): p for p in placed if p.change.unit in _OPERATIONS}

    def followed(one: Placed) -> Placed:
        if one.cause is not Cause.HOST:
            return one
        little = one.change.unit == HostMetric.MEMORY or not change_metric(one.change).counts(one.change)
        if little and (one.phase, one.range, one.direction) in importing:
            return replace(one, cause=Cause.IMPORT)
        work = issued.get((one.runs, one.phase, one.range))
        alike = work is not None and work.size >= one.size and work.change.effect * one.change.effect > 0
        if one.change.unit == HostMetric.STEPS and work is not None and alike:
            return replace(one, cause=work.cause, direction=work.direction)
        return one

    return [followed(one) for one in placed]


def _place(change: ChangePoint, around: "Around") -> Placed:
    lo, hi = around.order.index(change.lo_commit), around.order.index(change.hi_commit)
    runs = workload_of(change.key) or (ledger_families(change.key), change.key.params)
    role, cause = change_role(change), Cause.FAILURE if change.fails else None
    if role is Role.HOST and cause is None:
        cause = host_cause(change.unit)
    return Placed(change, min(lo, hi), hi, role, phase_of(change.key), change.direction, runs, cause)


def _decide(bundle: Sequence[Placed], around: "Around") -> tuple[EventDirection, Cause]:
    """Direction and cause of all exact counts of one workload at one place.

    The direction is that of the cost, bytes and operations together, as the ledger has it; without a ledger
    that of the count that moved most.
    """
    first = bundle[0]
    diffs = around.diffs(first.change.key, first.lo, first.hi)
    own = diffs[0] if len(diffs) == 1 and workload_of(first.change.key) == diffs[0].workload else None
    direction = _cost_direction(own) if own is not None else None
    if direction is None:
        direction = max(bundle, key=_says).direction
    causes = [exact_cause(diff, direction) for diff in diffs]
    named = next((cause for cause, _ in EXACT if cause in causes), None)
    widths = any(p.role is Role.DTYPE and p.direction in (direction, EventDirection.CHANGE) for p in bundle)
    return direction, named or (Cause.DTYPE if widths else Cause.WORK)


def _cost_direction(diff: LedgerDiff) -> EventDirection | None:
    if diff.cost_effect == 0 or math.isnan(diff.cost_effect):
        return None
    return EventDirection.REGRESSION if diff.cost_effect > 0 else EventDirection.IMPROVEMENT


def _says(one: Placed) -> tuple[bool, bool, float]:
    """How much an exact count says about its workload's direction."""
    neither = change_metric(one.change).better is Better.NEITHER
    return not neither, one.role is Role.WORK, abs(one.change.effect)


def _name(change: ChangePoint) -> tuple[object, ...]:
    """Breaks ties, so that the result does not depend on the order of the series."""
    key = change.key
    return key.benchmark, key.version, key.params, key.machine, key.environment, change.lo_commit


def _join(groups: list[Group], one: Placed, fitting: Sequence[Group], *, narrow: bool) -> None:
    """Add a change point to the best of the fitting groups, or to one of its own."""
    exact, module = one.change.kind == "exact", module_of(one.change.key)
    kin = (g for g in fitting if g.module == module or g.cause is Cause.FAILURE)
    home = _best([g for g in kin if one.change.key not in g.keys], one)
    if home is None:
        home = Group(one.lo, one.hi, one.direction, one.phase, exact, one.cause, module)
        groups.append(home)
    elif narrow or not home.sharp:
        home.lo, home.hi = max(home.lo, one.lo), min(home.hi, one.hi)  # what both have in common
        home.sharp = home.sharp or exact
    home.add(one)


def _best(groups: Sequence[Group], one: Placed) -> Group | None:
    """The group of what the series runs, else the one that moved most, else the nearest."""
    return max(groups, key=lambda g: (one.runs in g.runs, g.weight, -abs(g.hi - one.hi)), default=None)


def _same_work(group: Group, one: Placed) -> bool:
    """Whether exact work belongs to a group: the same commits, direction and cause.

    From a wider range it joins what it is a part of, or what explains half of it: else a loop that was
    turned up somewhere between two commits would be booked on whatever sharp change lies between them.
    """
    if not group.overlaps(one) or group.phase is not one.phase:
        return False
    if one.direction is EventDirection.CHANGE:  # a dtype alone
        return (group.lo, group.hi) == one.range
    if group.direction is not one.direction or group.cause is not one.cause:
        return False
    inside = group.lo <= one.lo and one.hi <= group.hi
    return inside or not one.size or group.weight >= _EXPLAINED_SHARE * one.size


def _explains(group: Group, one: Placed, around: "Around") -> bool:
    """Whether a noisy change is of the group's making."""
    if group.direction is not one.direction or group.phase is not one.phase or not group.overlaps(one):
        return False
    if group.cause is Cause.FAILURE or (group.cause is Cause.HOST and not _enough_steps(group, one)):
        return False
    starting = group.phase not in (Phase.WARM, Phase.MEMORY)
    if (group.cause in _HOST_CAUSES or starting) and not ledger_families(one.change.key):
        # importing and building are no workload's own; counts of few trees place nothing more sharply
        sharper = one.lo <= group.lo and group.hi <= one.hi
        return sharper and group.phase is not Phase.WARM
    if not group.sharp:
        return (group.lo, group.hi) == one.range or _alike(group, one)
    diffs = around.diffs(one.change.key, group.lo, group.hi)
    if one.runs in group.runs and diffs:
        said = [d for d in diffs if exact_cause(d, group.direction) is group.cause]
        if group.cause is not Cause.WORK or not said or one.change.kind == "exact":
            return True
        return any(explains_time(d, one.change) for d in said)
    if not ledger_families(one.change.key) or (diffs and all(d.equal for d in diffs)):
        return False
    inside = group.lo <= one.lo and one.hi <= group.hi
    return inside or group.weight >= _EXPLAINED_SHARE * one.size


def _enough_steps(group: Group, one: Placed) -> bool:
    """Whether the group's steps of Python could be a part of a change of time.

    In a warm run each is worth what a call of torch takes. Starting up is mostly Python: shares are compared.
    """
    steps = [p.change for p in group.members if p.change.unit == HostMetric.STEPS]
    if not steps or one.role is not Role.TIME:
        return True
    if group.phase is not Phase.WARM:
        return max(abs(c.effect) for c in steps) >= _STEPS_SHARE * one.size
    more_s = _STEP_S * max(abs(c.after - c.before) for c in steps)
    return more_s >= _STEPS_SHARE * abs(one.change.after - one.change.before)


def _alike(group: Group, one: Placed) -> bool:
    """Whether a noisy change may tell where the group's happened: it is of the same workloads (construction
    and import, of which the ledger says nothing, only of themselves)."""
    families = ledger_families(one.change.key)
    return any(
        ledger_families(p.change.key) == families
        and (families or p.change.key.benchmark == one.change.key.benchmark)
        for p in group.members
    )


def _held(group: Group, one: Placed) -> bool:
    """Whether memory moved with a group: the same commits and direction, in any phase. What is too little to
    count joins its own workload alone."""
    if group.direction is not one.direction or not group.overlaps(one) or group.cause is Cause.FAILURE:
        return False
    counts = change_metric(one.change).counts(one.change)
    imported = group.cause is Cause.IMPORT and one.lo <= group.lo and group.hi <= one.hi
    return one.runs in group.runs or (counts and (imported or (group.lo, group.hi) == one.range))
