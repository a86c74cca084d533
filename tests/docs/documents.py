"""What every document of `--json` holds: the types from which docs/schemas is written.

Most of a document are the nouns themselves; here stands what commands put around them.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict, get_type_hints

from nbbench.captured import RunOutcome
from nbbench.compiled import CompiledGraph, CompiledProgram, CompiledScope, CompiledWork, CompileEvent
from nbbench.gate.calibration import Calibration
from nbbench.gate.culprit import ComparedCommit, Stopped
from nbbench.growth import Quantity
from nbbench.history.costs import Cost
from nbbench.ledger import ImageChange, Ledger, Roof
from nbbench.measure.doctor import DoctorCheck, Level
from nbbench.measure.reference import ReferenceProgram
from nbbench.model import Commit, Decision, Flag, NotJudged
from nbbench.plan.plan import CriterionState, PlanVerdict
from nbbench.plan.plans import Plan
from nbbench.record.importing import ImportReport
from nbbench.verdicts import GateReport, Verdict
from nbbench.work.count_diff import HostDiff
from nbbench.work.dataflow_diff import FirstDifference
from nbbench.work.ledger_diff import LineChange
from nbbench.work.roofs import Achieved
from nbbench.work.steps import DtypeShift
from nbbench.work.work_budget import BudgetRow, WorkBudget
from nbbench.work.work_share import Price, Timing

DESCRIPTIONS: dict[str, str] = {}
"""What the documents made by `wider` are about."""


class Nothing(TypedDict):
    """No key."""


def wider(name: str, noun: Any, about: str = "", /, **more: Any) -> Any:
    """The keys of a noun with others in addition, or in place of its own."""
    DESCRIPTIONS[name] = about or (noun.__doc__ or "")
    return TypedDict(name, {**get_type_hints(noun, include_extras=True), **more})  # type: ignore[operator]


class Commits(TypedDict):
    """The commits that differ in the measured paths, oldest first."""

    commits: list[Commit]


class Dependency(TypedDict):
    """Another repository of which `pinned` commits of the subject pin `pins` commits, some `missing`."""

    name: str
    repository: str
    place: str
    pinned: int
    pins: int
    missing: int


class Subject(TypedDict):
    """The repository that is measured; `tip` is its newest commit."""

    source: str
    branch: str
    measured_path: str
    commits: int
    tip: str | None
    dependencies: list[Dependency]


class Init(TypedDict):
    """The project that was written, with its files by their paths from `root`."""

    root: str
    written: list[str]
    source: str
    branch: str
    package: str
    measured_path: str
    commits: int
    dependencies: list[str]
    submodules: list[str]


class MeasuredCommit(TypedDict):
    """How many results of each kind a commit has."""

    hash: str
    position: int
    ok: int
    failed: int
    skipped: int


class Failure(TypedDict):
    """What failed, and why; `commit` has eight digits."""

    commit: NotRequired[str]
    what: str
    error: str


class RunOf(TypedDict):
    """What was measured on one machine on one occasion."""

    machine: str
    commits: list[MeasuredCommit]
    failures: list[Failure]
    disturbances: list[str]
    elapsed_s: float


Run = wider(
    "Run",
    RunOf,
    "What was measured on one occasion; `others` on other classes.",
    others=NotRequired[list[RunOf]],
)


Import = wider("Import", ImportReport, project=str)


class Rebuild(TypedDict):
    """The database made anew; `left_out` are places to import again, `moved` is where a damaged one lies."""

    files: int
    events: int
    left_out: list[str]
    moved: str | None


class Database(TypedDict):
    """Where the database is, the rows of its tables, how its events were found, and whose results it has."""

    url: str
    counts: dict[str, int]
    detect: dict[str, Any]
    places: list[tuple[str, str]]


class Regressions(TypedDict):
    """What became slower or faster. `judged` and `changes` count series and change points.

    `costs` are of the open regressions whose time was measured, the costliest first.
    """

    count: int
    flags: list[Flag]
    machines: list[str]
    judged: int | None
    changes: int | None
    not_judged: list[NotJudged]
    costs: list[Cost]


class FlagMoved(TypedDict):
    """A decision about a flag, and the name of its file."""

    decision: Decision
    file: str


class LedgerDocument(TypedDict):
    """The exact work of one commit, workload by workload."""

    commit: Commit
    ledgers: list[Ledger]


class LedgerTotals(TypedDict):
    """The totals of one workload at two commits; bytes are per pixel, effects are log(after/before)."""

    workload: str
    pixels: int
    bytes_before: float
    bytes_after: float
    ops_before: int
    ops_after: int
    upcast_before: float
    upcast_after: float
    peak_before: int
    peak_after: int
    peak_line_before: tuple[str, int, str]
    peak_line_after: tuple[str, int, str]
    dtype_before: str
    dtype_after: str
    effect: float
    ops_effect: float
    peak_effect: float
    retyped: bool
    upcasts: bool
    image_ratio: float
    moved_lines: int
    image: ImageChange


ShiftRow = wider("ShiftRow", DtypeShift, word=str)
_LINES = {"lines": list[LineChange], "dtypes": list[tuple[str, float, float]], "dtype_shifts": list[ShiftRow]}
DiffRow = wider("DiffRow", LedgerTotals, **_LINES)
TimingRow = wider("TimingRow", Timing, effect=float)
StepRow = wider(
    "StepRow",
    Nothing,
    "A commit at which a workload's exact work changed; figures are missing where it fails.",
    **{name: NotRequired[hint] for name, hint in get_type_hints(DiffRow).items()}
    | {"position": int, "commit": str, "base": str | None, "date": str, "workload": str}
    | {"reproduce": str, "what": str},
)


class LedgerSteps(TypedDict):
    """The steps of a range of so many commits."""

    commits: int
    steps: list[StepRow]


class LawRow(TypedDict):
    """How a quantity grows: exact coefficients, that of N⁰ first; `off` is by the parameter's value."""

    law: str
    coefficients: list[str]
    residual: float
    order: int | None
    counts: list[int]
    off: dict[str, float]


class ScaleRow(TypedDict):
    """The laws of one scale of workloads; `large` is a size that they are told for."""

    scale: str
    parameter: str
    values: list[int]
    error: str
    laws: dict[Quantity, LawRow]
    large: int


class LedgerScaling(TypedDict):
    """The laws by which one commit's exact work grows."""

    commit: Commit
    scales: list[ScaleRow]


EventRow = wider("EventRow", CompileEvent)
GraphRow = wider("GraphRow", CompiledGraph)
ProgramRow = wider(
    "ProgramRow",
    CompiledProgram,
    scope=CompiledScope,
    graphs=list[GraphRow],
    breaks=list[EventRow],
    recompiles=list[EventRow],
    bytes_per_pixel=float,
    sentence=str,
)
CompiledRow = wider("CompiledRow", CompiledWork, programs=list[ProgramRow])


class Compiled(TypedDict):
    """What torch.compile makes of one commit's workloads."""

    commit: Commit
    torch: str
    compiled: list[CompiledRow]


_SHARE = {"predicted": float, "price": Price | None, "share": float | None}
SharedTiming = wider("SharedTiming", TimingRow, sentence=str, **_SHARE)
HostRow = wider("HostRow", HostDiff, effect=float | None, counts=bool, sentence=str)
FirstRow = wider("FirstRow", FirstDifference, sentence=str)


class HunkRow(TypedDict):
    """A hunk that takes part in a change, and which part of it."""

    place: str
    change: str
    share: float
    alone: float | None
    without: float | None


class HunkCauseRow(TypedDict):
    """The smallest set of hunks that gives a change."""

    workload: str
    phase: str
    metric: str
    unit: str
    before: float
    after: float
    hunks: list[HunkRow]
    total: int
    minimal: bool
    innocent: bool
    rest: float | None
    sentence: str


class HunksFound(TypedDict):
    """What a search for hunks found; `others` are the places of those that cause nothing."""

    total: int
    same_program: int
    recorded: int
    unresolved: int
    done: bool
    causes: list[HunkCauseRow]
    others: list[str]


class Explain(TypedDict):
    """The exact difference of work between two commits, or of one under two versions of `torch`.

    `host` is null where it was not compared.
    """

    base: Commit
    head: Commit
    torch: tuple[str, str] | None
    sentence: str
    lines_matched_by: str
    diffs: list[DiffRow]
    timing: list[SharedTiming]
    host: list[HostRow] | None
    first_difference: FirstRow | None
    orders: list[dict[str, Any]]
    problems: list[str]
    notes: list[str]
    hunks: NotRequired[HunksFound]


VerdictRow = wider("VerdictRow", Verdict, sentence=str)
Gate = wider(
    "Gate",
    GateReport,
    ledger=list[LedgerTotals],
    verdicts=list[VerdictRow],
    sentence=str,
    notes=list[str],
)


class CalibrationDocument(TypedDict):
    """The noise of this machine between equal code."""

    calibration: Calibration
    note: str


ComparedRow = wider("ComparedRow", ComparedCommit, commit=str, sentence=str)


class Bisect(TypedDict):
    """Which commit made a series slower; `steps_of_work` are log ratios of exact work by commit."""

    series: str
    good: str
    bad: str
    effect: float
    stopped: Stopped
    sentence: str
    work: str
    culprits: list[Commit]
    steps_of_work: dict[str, float]
    comparisons: list[ComparedRow]


Budget = wider("Budget", WorkBudget, commit=str, message=str, committed=str | None, grown=list[BudgetRow])
HeldRow = wider("HeldRow", BudgetRow, now=float)


class BudgetChecked(TypedDict):
    """A commit's exact work against the budgets: rows above, rows below, rows held, rows without a value."""

    commit: str
    held: int
    missing: list[BudgetRow]
    over: list[HeldRow]
    under: list[HeldRow]


RoofRow = wider("RoofRow", Roof, with_write_allocate=dict[str, float])
AchievedRow = wider("AchievedRow", Achieved, fraction=float | None)


class Roofline(TypedDict):
    """The bandwidth that workloads achieve against the machine's ceilings."""

    commit: Commit
    machine: str
    roof: RoofRow
    workloads: list[AchievedRow]
    headline: str
    notes: list[str]


class TensorRow(TypedDict):
    """A tensor that went in or came out."""

    name: str
    dtype: str
    shape: list[int]
    device: str


class UpcastRow(TypedDict):
    """A line that computed wider than asked."""

    path: str
    line: int
    function: str
    operation: str
    dtype: str
    count: int
    bytes: int


class MessageRow(TypedDict):
    """A warning, and how often it came."""

    message: str
    count: int


class DtypeCase(TypedDict):
    """One case of the audit."""

    case: str
    dtype: str
    inputs: list[TensorRow]
    outputs: list[TensorRow]
    operations: int
    upcasts: list[UpcastRow]
    small_upcast_bytes: int
    fell_back: str | None
    switched_off: bool
    relative_error: float | None
    rounding_limit: float | None
    warnings: list[MessageRow]
    verdict: str
    reason: str


class DtypeSnapshot(TypedDict):
    """The dtype audit of one commit; `counts` are cases by verdict."""

    commit: Commit
    torch: str
    verdict: str
    counts: dict[str, int]
    cases: list[DtypeCase]


class Doctor(TypedDict):
    """What would spoil a measurement here; `level` is that of the worst finding."""

    level: Level
    checks: list[DoctorCheck]


class Captured(TypedDict):
    """A guarded run and its evidence folder."""

    folder: str
    stamp: str
    cluster: str
    status: str
    outcome: RunOutcome
    command_exit_code: int | None
    verdict: str | None
    anomalies: list[str]
    notes: list[str]
    files: list[str]


class Export(TypedDict):
    """An evidence folder written from results."""

    folder: str
    stamp: str
    machine: str
    files: list[str]
    not_judged: list[NotJudged]
    not_judged_count: int


class Plans(TypedDict):
    """The plan items that are known."""

    count: int
    items: list[Plan]


class PlanRun(TypedDict):
    """What measuring for a plan brought; criteria are named by their ids."""

    commit: str
    series: list[str]
    lost: list[str]
    not_known_now: list[str]
    left_out: dict[str, str]
    failures: list[Failure]


class PlanDocument(TypedDict):
    """Where a plan item stands; `attempt` is an entry for its log, in Markdown."""

    plan: str
    title: str
    machine: str
    verdict: PlanVerdict
    criteria: list[CriterionState]
    not_judged: list[NotJudged]
    attempt: str | None
    measured: PlanRun | None


class Publish(TypedDict):
    """The pages that were written, from the project's root."""

    wrote: list[str]


View = wider(
    "View",
    Nothing,
    "The site of another project's results.",
    site=str,
    project=str,
    headline=str,
    **{"import": ImportReport},
)


class Demo(TypedDict):
    """The demo's folder; `wrong` says what is flagged that is not planted, or planted and not flagged."""

    folder: str
    wrong: list[str]
    elapsed_s: float


class Error(TypedDict):
    """Why there is no result: any command prints it in place of its own document."""

    error: str
    hint: str
    exit_code: int


DOCUMENTS: dict[str, Any] = {
    "bisect/1": Bisect,
    "budget/1": Budget,
    "budget-check/1": BudgetChecked,
    "c-reference/1": ReferenceProgram,
    "calibration/1": CalibrationDocument,
    "capture/2": Captured,
    "commits/1": Commits,
    "compiled/1": Compiled,
    "db/1": Database,
    "demo/1": Demo,
    "doctor/1": Doctor,
    "dtype-snapshot/1": DtypeSnapshot,
    "error/1": Error,
    "explain/2": Explain,
    "export/1": Export,
    "flag/1": FlagMoved,
    "gate/1": Gate,
    "import/2": Import,
    "init/1": Init,
    "ledger/1": LedgerDocument,
    "ledger-scaling/1": LedgerScaling,
    "ledger-steps/2": LedgerSteps,
    "plan/1": PlanDocument,
    "plans/1": Plans,
    "publish/1": Publish,
    "rebuild/2": Rebuild,
    "regressions/3": Regressions,
    "roofline/1": Roofline,
    "run/1": Run,
    "subject/1": Subject,
    "view/1": View,
}
"""The documents by kind and version."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "bisect": ("bisect",),
    "budget check": ("budget-check",),
    "budget set": ("budget",),
    "capture": ("capture",),
    "commits": ("commits",),
    "db info": ("db",),
    "db rebuild": ("rebuild",),
    "demo": ("demo",),
    "doctor": ("doctor",),
    "dtypes": ("dtype-snapshot",),
    "explain": ("explain",),
    "export": ("export",),
    "flag": ("flag",),
    "gate": ("gate", "calibration"),
    "import": ("import",),
    "init": ("init",),
    "ledger": ("ledger", "ledger-steps", "ledger-scaling", "compiled"),
    "plan": ("plan", "plans"),
    "publish": ("publish",),
    "regressions": ("regressions",),
    "roofline": ("roofline",),
    "run": ("run",),
    "subject c-reference build": ("c-reference",),
    "subject c-reference use": ("c-reference",),
    "subject demo": ("subject",),
    "subject show": ("subject",),
    "subject use": ("subject",),
    "view": ("view",),
}
"""What each command prints with --json."""
