"""The nouns of a capture: the guarded run, its tests, figures, checks, and a folder read back; no I/O.

Times are seconds (`_s`), sizes bytes (`_bytes`). Facts only: their sentences are made in `report/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from nbbench.disturbance import Disturbance


@dataclass(frozen=True, slots=True)
class EvidenceFigure:
    """A figure of a folder; `workload` names the test or the series that gave it, where one did."""

    name: str
    value: float
    unit: str = ""
    workload: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """What the files of one evidence folder say; a folder made by hand may lack any of it.

    `exit_code` is None where none was recorded. `damage` says what disagrees with
    sha256.txt, `problems` what is missing or cannot be read.
    """

    path: str
    stamp: str = ""
    cluster: str = ""
    commit: str = ""
    kind: str = ""  # export, hand, capture; before that: disturbed, profiled, compiled, malloc-pinned
    verdict: str = ""
    exit_code: int | None = None
    machine: str = ""
    figures: tuple[EvidenceFigure, ...] = ()
    damage: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def started_at(self) -> datetime | None:
        """The time that the stamp states; None for a stamp that is none."""
        try:
            return datetime.strptime(self.stamp[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None


class RunOutcome(StrEnum):
    """How a captured command ended."""

    PASSED = "passed"
    FAILED = "failed"  # any other exit code of its own
    TIMEOUT = "timeout"  # ended by the outer timeout; exit code 124
    SIGNAL = "signal"  # a signal ended it; exit code 128 + n
    NOT_FOUND = "not found"  # no such program; exit code 127
    NOT_EXECUTABLE = "not executable"  # exit code 126
    NO_TESTS = "no tests"  # pytest found nothing to run; its exit code 4 or 5
    PYTEST_ERROR = "pytest error"  # collection stopped, or an internal error; pytest's 2 or 3
    SETUP_ERROR = "setup error"  # no test came to its own code; pytest's exit code 1
    SKIPPED = "every test skipped"  # pytest's exit code 0
    INTERRUPTED = "interrupted"  # Ctrl-C, or a signal to nbbench
    UNKNOWN = "unknown"  # still running, or nbbench was killed

    @property
    def is_blocked(self) -> bool:
        """Whether the run gave no answer."""
        return self not in (RunOutcome.PASSED, RunOutcome.FAILED)

    @property
    def verdict(self) -> str:
        """passed, failed or blocked."""
        return "blocked" if self.is_blocked else str(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one command or one test's call cost; `max_rss_bytes` is of the largest process."""

    wall_s: float = 0.0
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_bytes: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


@dataclass(frozen=True, slots=True, kw_only=True)
class CallUsage(Usage):
    """What one test's call cost its process, and who disturbed it.

    `others_cpu_s` is what everything else used meanwhile of the cores that the test may use, `run_delay_s`
    how long its threads waited for one (None: not known). `torch_threads` is torch's setting when the call
    ended, 0 where torch was not imported; `compiled_graphs` is what Dynamo had compiled by then.
    """

    others_cpu_s: float = 0.0
    steal_s: float = 0.0
    run_delay_s: float | None = None
    torch_threads: int = 0
    compiled_graphs: int = 0


@dataclass(frozen=True, slots=True)
class TestRecord:
    """One test as the plugin saw it.

    `outcome` is passed, failed, error (setup or teardown), skipped, xfailed, xpassed, or interrupted: it
    began and never ended. `held` are the comparisons that it asserted and that held, as (source, figures).
    """

    __test__: ClassVar[bool] = False  # pytest collects classes by this name
    nodeid: str
    outcome: str
    duration_s: float = 0.0
    stdout: str = ""
    stderr: str = ""
    message: str = ""
    longrepr: str = ""
    usage: CallUsage | None = None
    held: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TestRun:
    """Everything in the plugin's record.

    `exit_status` is pytest's, None when the session never ended. `packages` are those of its
    beginning, `problems` what the plugin met. `started` is False where there is no record.
    """

    __test__: ClassVar[bool] = False
    started: bool = False
    tests: tuple[TestRecord, ...] = ()
    exit_status: int | None = None
    python: str = ""
    executable: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    packages_after: Mapping[str, str] | None = None
    pytest: str = ""
    torch: str = ""
    cores: int = 0
    capture_off: bool = False
    problems: tuple[str, ...] = ()

    def version_of(self, name: str) -> str:
        """Python's version, or an installed package's; empty where there is none."""
        known = {found.lower().replace("_", "-"): version for found, version in self.packages.items()}
        return self.python if name == "python" else known.get(name, "")

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(test.outcome == outcome for test in self.tests)

    @property
    def usages(self) -> tuple[CallUsage, ...]:
        """What the calls of the tests cost."""
        return tuple(test.usage for test in self.tests if test.usage is not None)

    @property
    def torch_threads(self) -> int:
        """The most threads that torch had in a test; 0 where it was not imported."""
        return max((usage.torch_threads for usage in self.usages), default=0)

    @property
    def compiled_graphs(self) -> int:
        """What Dynamo compiled in the process of any test: times of such a run are not eager ones."""
        return max((usage.compiled_graphs for usage in self.usages), default=0)

    @property
    def is_crowded(self) -> bool:
        """More threads than cores: a team of threads waits for its slowest member at every operation."""
        return 0 < self.cores < self.torch_threads


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that a test printed, in the unit that it printed.

    `kind` is bandwidth, time, throughput, memory, ratio, percent or value; `size` the edge of a square
    detector named beside it (0: none), `dtype` likewise. The true value lies within `value` ± `resolution`,
    which is half a unit of the last printed digit.
    """

    name: str
    value: float
    unit: str
    kind: str
    line: str
    test: str
    size: int = 0
    dtype: str = ""
    resolution: float = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """A comparison that a test asserts, `value op threshold`, in the figures that pytest gives for it.

    `text` is the source where it is known; `dtype` what a check of times was computed in.
    """

    name: str
    op: str
    threshold: float
    value: float
    passed: bool
    text: str
    test: str
    dtype: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the figures of a captured run say.

    `malloc_pinned_by` is the user's variable that takes malloc out of the way. `conditions` are those under
    which the figures were taken (compile, threads, malloc, dtype). `audit` is the dtype audit of a preset
    that asks for one.
    `anomalies` say why the run is not the evidence that it should be.
    """

    run: TestRun = TestRun()
    figures: tuple[Figure, ...] = ()
    checks: tuple[Check, ...] = ()
    disturbance: Disturbance = Disturbance(processes=0)  # noqa: RUF009 -- frozen
    malloc_pinned_by: str = ""
    profiled: bool = False
    conditions: tuple[tuple[str, str], ...] = ()
    audit: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A guarded run as far as it is known: what stands when the command starts, and how it ended.

    `guards` are the preset's variables with the values that the command really gets, `influences` the
    user's own that can change what it does; `profile` says that torch's profiler was asked for. `waived`
    names the rules that `sign_off` set aside. `commit` and `tree` (of the measured path) are empty outside of
    git. `exit_code` is None where it is not known; `signalled` is the signal that nbbench got. `anomalies`
    say that the run was not evidence only, or that evidence is missing.
    """

    stamp: str
    cluster: str
    plan: str
    preset: str
    command: tuple[str, ...]
    cwd: str
    guards: tuple[tuple[str, str], ...]
    timeout_s: float
    started_at: datetime
    influences: tuple[tuple[str, str], ...] = ()
    profile: bool = False
    sign_off: str = ""
    waived: tuple[str, ...] = ()
    commit: str = ""
    tree: str = ""
    branch: str = ""
    changes_before: tuple[tuple[str, str], ...] = ()
    python: str = ""
    machine_name: str = ""
    machine: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    load_before: str = ""
    outcome: RunOutcome = RunOutcome.UNKNOWN
    exit_code: int | None = None
    reason: str = "this capture did not finish"
    ended_at: datetime | None = None
    elapsed_s: float | None = None
    usage: Usage | None = None
    time_source: str = ""
    signalled: int = 0
    changes_after: tuple[tuple[str, str], ...] = ()
    load_after: str = ""
    anomalies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    findings: Findings | None = None
