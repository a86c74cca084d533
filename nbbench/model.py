"""The nouns of nbbench as frozen dataclasses; no I/O. Times are aware and UTC; durations end in `_s`."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True, slots=True)
class Commit:
    """A first-parent commit of the subject's branch.

    `tree` is the object id of the measured paths: equal trees give equal results. `position` counts, from 1
    (oldest), the commits that changed the measured paths; 0 where it is not known.
    """

    hash: str
    tree: str
    date: datetime
    subject: str
    position: int = 0

    @property
    def short(self) -> str:
        """The first eight digits of the hash, as asv writes them."""
        return self.hash[:8]


class Status(StrEnum):
    """What became of one benchmark with one parameter set at one commit."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """Why a series moved, from what was measured."""

    WORK = "work"
    DTYPE = "dtype"
    ALLOCATOR = "allocator"
    CONTENTION = "contention"
    ENVIRONMENT = "environment"
    HARNESS = "harness"
    IMAGE = "image changed"
    HOST = "host work"
    IMPORT = "import"
    OUTPUT = "output"
    FAILURE = "failure"
    UNEXPLAINED = "unexplained"


class Phase(StrEnum):
    """The part of a user's run in which a series was taken."""

    IMPORT = "import"
    CONSTRUCT = "construct"
    FIRST = "first run"
    WARM = "warm run"
    MEMORY = "memory"
    COMPILE = "compiling"
    COMPILED = "compiled run"


class EventDirection(StrEnum):
    """What an event is to a user; CHANGE where neither direction is known to be better."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    CHANGE = "change"


class NotJudgedReason(StrEnum):
    """Why nothing is said of a series."""

    TOO_SHORT = "too short"
    FAILING = "failing"
    SKIPPED = "skipped"
    VANISHED = "vanished"
    TOO_RECENT = "too recent"
    NEW_VERSION = "new version"
    NEW_MACHINE = "new machine"
    OTHER_ENVIRONMENT = "other environment"
    DISTURBED = "disturbed"
    MULTIMODAL = "multimodal"
    NOT_MEASURED = "not measured"
    VARIES = "does not repeat"


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A series of which a verdict says nothing, and why: it is counted and shown, never "no regression".

    `series` is its name as verdicts show it, `since` the commit (full hash) from which on it could not be
    judged, "" where there is none; `detail` is a clause for people, `effect` the log ratio to the old level.
    """

    series: str
    reason: NotJudgedReason
    since: str = ""
    detail: str = ""
    effect: float | None = None


class FlagState(StrEnum):
    """The life of a flag: detected → confirmed → acknowledged | fixed → verified."""

    DETECTED = "detected"
    CONFIRMED = "confirmed"
    ACKNOWLEDGED = "acknowledged"
    FIXED = "fixed"
    VERIFIED = "verified"
    REJECTED = "rejected"


class Outcome(StrEnum):
    """A gate's answers for a series: "changed" lacks a direction, "not comparable" is of another image."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"
    ACKNOWLEDGED = "acknowledged"
    CHANGED = "changed"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine by asv's name for it, with the facts that asv recorded."""

    name: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as asv's benchmarks.json declares it."""

    name: str
    version: str
    unit: str
    kind: str  # time, track, peakmemory …
    param_names: tuple[str, ...] = ()
    params: tuple[tuple[str, ...], ...] = ()  # the `repr` strings of each parameter's values
    description: str = ""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """One curve: a benchmark's version × parameter values × machine × environment."""

    benchmark: str
    version: str
    params: tuple[tuple[str, str], ...]
    machine: str
    environment: str

    @property
    def label(self) -> str:
        """`benchmark(size=512, dtype='float32')`, as people read it."""
        if not self.params:
            return self.benchmark
        return f"{self.benchmark}({', '.join(f'{k}={v}' for k, v in self.params)})"


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark with one parameter set at one commit, every sample kept.

    `value` is None unless `status` is OK. `samples` are asv's samples in the series' unit, in the order in
    which they were taken; empty when asv kept none.
    """

    key: SeriesKey
    commit: str
    status: Status
    value: float | None
    unit: str = ""
    samples: tuple[float, ...] = ()
    number: int | None = None
    ci_lo: float | None = None
    ci_hi: float | None = None
    started_at: datetime | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """Telemetry of one benchmark process (one line of a telemetry side file).

    CPU times are seconds; `others_cpu_s` is the processor time that other processes of the machine used
    meanwhile, `steal_s` what the hypervisor took.
    """

    commit: str
    environment: str
    benchmark: str
    param_index: int
    kind: str  # run, setup_cache, discover
    started_at: datetime
    wall_s: float
    exit_code: int
    timed_out: bool = False
    user_s: float = 0.0
    system_s: float = 0.0
    minor_faults: int = 0
    major_faults: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    max_rss_bytes: int = 0
    others_cpu_s: float = 0.0
    steal_s: float = 0.0
    machine: str = ""
    round: int = 0
    stderr_tail: str = ""
    extra: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A series' value at one commit; NaN is written as `value=None`."""

    position: int
    commit: str
    value: float | None
    status: Status
    samples: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """A series with its points in commit order (oldest first)."""

    key: SeriesKey
    unit: str
    kind: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A lasting change in one series.

    The culprit lies in the commits `lo_commit` … `hi_commit` (both inclusive, oldest first), the same where
    everything between was measured. `effect` is log(after/before), positive where the value grew; `direction`
    is what that means to a user.
    """

    key: SeriesKey
    unit: str
    kind: str  # step, exact; fails: from a value to none
    lo_commit: str
    hi_commit: str
    before: float
    after: float
    effect: float
    effect_lo: float
    effect_hi: float
    p_value: float
    direction: EventDirection

    @property
    def fails(self) -> bool:
        """Whether what ran before runs no more."""
        return self.kind == "fails"

    @property
    def worse(self) -> bool:
        """Whether the change is a regression."""
        return self.direction is EventDirection.REGRESSION


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """One fact behind an event, in figures that JSON can hold; `report/causes.py` has a sentence a kind."""

    kind: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Change points of many series: one commit range, one direction, one phase, one cause.

    `recovered_by` is the commit by which later events had undone it, whatever its direction; None while it
    lasts. `undoes` is the id of the event that it undid, the latest of several.
    """

    id: str  # stable: derived from commits, direction, phase and, where those are equal, the cause
    lo_commit: str
    hi_commit: str
    date: datetime
    subject: str
    direction: EventDirection
    cause: Cause
    effect: float  # log ratio of the headline's series, which the cause explains
    evidence: tuple[EvidenceRecord, ...] = ()
    changes: tuple[ChangePoint, ...] = ()
    recovered_by: str | None = None
    phase: Phase = Phase.WARM
    predicted: float | None = None  # log ratio of time that the exact work lets expect; None: not known
    undoes: str | None = None

    @property
    def worse(self) -> bool:
        """Whether the event is a regression."""
        return self.direction is EventDirection.REGRESSION


@dataclass(frozen=True, slots=True)
class Decision:
    """A step in a flag's life, kept as text beside the results."""

    event: str
    plan: str
    state: FlagState
    reason: str
    person: str
    date: datetime
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """An event attached to a plan item."""

    event: Event
    plan: str
    state: FlagState
    decisions: tuple[Decision, ...] = ()


def to_plain(value: Any) -> Any:
    """Nouns, and containers of them, in JSON's own types; datetimes as ISO 8601 with Z."""
    import msgspec  # not at the top: measuring processes load the nouns, and write nothing with them

    return msgspec.to_builtins(value, str_keys=True, enc_hook=_to_plain)


def _to_plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "item"):  # numpy's scalars, without importing numpy
        return value.item()
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")
