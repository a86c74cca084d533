"""What is known of an event when its cause is asked for, and the evidence that several causes share;
with what each result was measured: processor, torch, Python, threads, asv's sampling."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nbbench.disturbance import Disturbance
from nbbench.host import FIXED_COST_CALLS, TENSOR_CALLS, HostKind, host_cause
from nbbench.metrics import Role, change_role
from nbbench.model import (
    Cause,
    ChangePoint,
    EventDirection,
    EvidenceRecord,
    Phase,
    ProcessRecord,
    SeriesKey,
    to_plain,
)
from nbbench.work.count_diff import HostDiff
from nbbench.work.ledger_diff import LedgerDiff

Evidence = tuple[EvidenceRecord, ...]
"""The most telling first. An event's change points are no part of it: the event has them."""

NO_TELEMETRY = Disturbance(processes=0)
SAME_WORK = EvidenceRecord("same work")
_LINES_SHOWN = 5
_SHOWN = 2


@dataclass(frozen=True, slots=True)
class SetupChange:
    """Something of the measuring itself that differs between the last results before a step and the first
    after it: the processor, torch, threads, asv's `number`."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Facts:
    """An event before its cause is known.

    `diffs` are those of the workloads that its series run; `before` and `after` how busy the machine was;
    `host` is the host work behind its exact series and its times, by line; `canary` the log ratio by which
    the reference kernels moved (0.0 where nothing is on record).
    """

    changes: tuple[ChangePoint, ...]
    direction: EventDirection
    diffs: tuple[LedgerDiff, ...] = ()
    before: Disturbance = NO_TELEMETRY
    after: Disturbance = NO_TELEMETRY
    canary: float = 0.0
    setup: tuple[SetupChange, ...] = ()
    host: tuple[HostDiff, ...] = ()

    @property
    def way(self) -> int:
        """+1 for a regression, -1 for an improvement, 0 for a change without direction."""
        return {EventDirection.REGRESSION: 1, EventDirection.IMPROVEMENT: -1}.get(self.direction, 0)

    def of(self, *roles: Role) -> list[ChangePoint]:
        """The change points of series that play one of these roles."""
        return [change for change in self.changes if change_role(change) in roles]

    @property
    def roles(self) -> set[Role]:
        """The roles of the event's series, without derived ones."""
        return {change_role(change) for change in self.changes} - {Role.DERIVED}

    @property
    def counted(self) -> bool:
        """Whether an exact count moved."""
        return any(c.kind == "exact" and change_role(c) is not Role.DERIVED for c in self.changes)

    def host_work(self, cause: Cause) -> Evidence | None:
        """What the event's own counts of host work say of this cause; None where none of them moved."""
        moved = {change.unit for change in self.of(Role.HOST) if host_cause(change.unit) is cause}
        if not moved:
            return None
        return tuple(diff.record for diff in self.host if diff.metric in moved)[:_SHOWN]

    @property
    def unpriced_calls(self) -> Evidence:
        """Calls to the outside that are made more often where the event is a loss, else less often, and whose
        cost their number does not tell: of the first workload that has some."""
        for diff in self.host:
            lines = tuple(
                one
                for one in diff.lines
                if one.kind is HostKind.OUTSIDE
                and (one.after - one.before) * self.way > 0
                and not FIXED_COST_CALLS.fullmatch(one.name)
                and (diff.phase is Phase.IMPORT or not TENSOR_CALLS.fullmatch(one.name))
            )
            if lines:
                return (EvidenceRecord("calls", replace(diff, lines=lines).figures),)
        return ()

    @property
    def work(self) -> Evidence:
        """What the ledgers say of the event's workloads: the two that moved most, and the two whose peak did;
        empty where none did."""
        moved = [d for d in self.diffs if d.changed]
        moved.sort(key=lambda d: (-abs(d.cost_effect), -abs(d.effect), not d.new_image, d.workload))
        grown = sorted((d for d in self.diffs if d.grew), key=lambda d: -abs(d.peak_effect))[:_SHOWN]
        peaks = (EvidenceRecord("peak", diff.figures) for diff in grown)
        return (*map(work_record, moved[:_SHOWN]), *peaks)

    @property
    def work_or_same(self) -> Evidence:
        """The same, or that nothing moved; empty without ledgers."""
        return self.work or ((SAME_WORK,) if self.diffs else ())


def work_record(diff: LedgerDiff) -> EvidenceRecord:
    """A ledger difference as evidence, with the lines that pay most: in bytes, else in operations."""
    paying = [line for line in diff.lines if abs(line.delta) >= 0.5]
    paying = paying or sorted((line for line in diff.lines if line.calls), key=lambda line: -abs(line.calls))
    shown, rest = tuple(paying[:_LINES_SHOWN]), paying[_LINES_SHOWN:]
    lines = {
        "lines": to_plain(shown),
        "more_lines": len(rest),
        "more_bytes": sum(line.delta for line in rest),
    }
    return EvidenceRecord("work", diff.figures | lines)


SAMPLING = ("number", "repeat")
"""asv sampled otherwise: other calls a sample, or other samples a result."""

FilePlace = tuple[str, str, str]
"""A result file: commit, machine, environment."""

Setup = Mapping[str, str]
"""What something was measured with, by name."""

_FROM_TELEMETRY = ("threads", "torch", "python", "cpu", "nbbench")
_NEVER = frozenset({"machine", "ram"})  # the series' own name; the kernel's figure of memory wanders
_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Setups:
    """Setups by result file, and the sampling of a series' results by commit, read when it is asked for."""

    files: Mapping[FilePlace, Setup] = field(default_factory=dict)
    sampling: Callable[[SeriesKey], Mapping[str, Setup]] = lambda _: {}


def telemetry_setup(records: Iterable[ProcessRecord]) -> dict[FilePlace, dict[str, str]]:
    """What telemetry says of the setup of each result file."""
    found: dict[FilePlace, dict[str, str]] = {}
    for record in records:
        said: Mapping[str, Any] = dict(record.extra)
        named = {name: str(said[name]) for name in _FROM_TELEMETRY if isinstance(said.get(name), str | int)}
        if named:
            found.setdefault((record.commit, record.machine, record.environment), {}).update(named)
    return found


def setup_changes(
    setups: Setups, changes: Sequence[ChangePoint], before: Sequence[str], after: Sequence[str]
) -> tuple[SetupChange, ...]:
    """What differs between the last results of `before` and the first of `after` (commits in order) in every
    one of the changed series; on each side it must be the same for the nearest results."""
    shared: dict[str, tuple[str, str]] | None = None
    for change in changes:
        found = _differing(setups, change, before[::-1], after)
        shared = found if shared is None else {name: shared[name] for name in shared if name in found}
        if not shared:  # nearly always the first tells: the others' samplings are not read
            break
    return tuple(SetupChange(name, *(shared or {})[name]) for name in sorted(shared or {}))


def _differing(
    setups: Setups, change: ChangePoint, before: Sequence[str], after: Sequence[str]
) -> dict[str, tuple[str, str]]:
    key, sampled = change.key, setups.sampling(change.key)
    old, new = (
        _agreed(setups.files.get((commit, key.machine, key.environment)) for commit in side)
        | _agreed(sampled.get(commit) for commit in side)
        for side in (before, after)
    )
    return {
        name: (old[name], new[name])
        for name in old.keys() & new.keys() - _NEVER
        if old[name] != new[name]
        and not (name in SAMPLING and _follows_time(change, int(old[name]), int(new[name])))
    }


def _agreed(sides: Iterable[Setup | None]) -> dict[str, str]:
    """What the nearest results that say anything agree on."""
    first, *others = [one for one in sides if one][:_NEIGHBOURS] or [{}]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def _follows_time(change: ChangePoint, old: int, new: int) -> bool:
    """Whether asv called less often because each call takes longer: it fills a sample's time."""
    if not math.isfinite(change.effect) or old <= 0 or new <= 0:
        return True
    return abs(math.log(new / old) + change.effect) <= max(0.5 * abs(change.effect), math.log(1.5))
