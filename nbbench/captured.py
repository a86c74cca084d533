"""The nouns of a capture: the guarded run, its tests, figures, checks, the experiment on malloc; no I/O.

Times are seconds (`_s`), sizes bytes (`_bytes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from nbbench.ledger import Ledger
from nbbench.model import Cause


@dataclass(frozen=True, slots=True)
class CallUsage:
    """What one test's call cost its process.

    `others_cpu_s` is what everything else used meanwhile of the cores that the test may use, `run_delay_s`
    how long its threads waited for one (None: not known). `torch_threads` is torch's setting when the call
    ended, 0 where torch was not imported; `compiled_graphs` is what Dynamo had compiled by then.
    """

    wall_s: float = 0.0
    user_s: float = 0.0
    system_s: float = 0.0
    minor_faults: int = 0
    major_faults: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    max_rss_bytes: int = 0
    max_rss_growth_bytes: int = 0
    others_cpu_s: float = 0.0
    steal_s: float = 0.0
    load_1min: float = 0.0
    torch_threads: int = 0
    run_delay_s: float | None = None
    compiled_graphs: int = 0

    @property
    def system_share(self) -> float:
        """System time as a share of CPU time (0.4 = 40 %); 0 for an idle call."""
        cpu = self.user_s + self.system_s
        return self.system_s / cpu if cpu > 0 else 0.0

    @property
    def repeated_faults(self) -> int:
        """Minor faults beyond the first touch of what the process grew by (pages of 4 KiB)."""
        return max(0, self.minor_faults - self.max_rss_growth_bytes // 4096)


@dataclass(frozen=True, slots=True)
class TestRecord:
    """One test as the plugin saw it.

    `outcome` is passed, failed, error (setup or teardown), skipped, xfailed, xpassed, or
    interrupted: it began and never ended. `numbers` are the numeric variables of a failing
    test's frame, `assertions` the comparisons that its source asserts.
    """

    __test__: ClassVar[bool] = False  # pytest collects classes by this name

    nodeid: str
    outcome: str
    duration_s: float = 0.0
    stdout: str = ""
    stderr: str = ""
    log: str = ""
    message: str = ""
    longrepr: str = ""
    usage: CallUsage | None = None
    numbers: tuple[tuple[str, float], ...] = ()
    assertions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One row of torch's profiler: calls and seconds of CPU time, without and with callees."""

    operator: str
    calls: int
    self_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class TestRun:
    """Everything in the plugin's record.

    `exit_status` is pytest's, None when the session never ended. `unreadable` counts lines that
    could not be used. An empty run (`started` False) means that the plugin was never loaded.
    """

    __test__: ClassVar[bool] = False

    started: bool = False
    tests: tuple[TestRecord, ...] = ()
    collect_errors: tuple[tuple[str, str], ...] = ()
    collected: int = 0
    exit_status: int | None = None
    python: str = ""
    pytest: str = ""
    torch: str = ""
    torch_threads: int = 0
    cores: int = 0
    warnings: int = 0
    warning_texts: tuple[str, ...] = ()
    terminated_by: int = 0
    capture_off: bool = False
    operators: tuple[OperatorCost, ...] = ()
    profiled_s: float = 0.0
    problems: tuple[str, ...] = ()
    unreadable: int = 0

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(test.outcome == outcome for test in self.tests)

    @property
    def compiled_graphs(self) -> int:
        """What Dynamo compiled in the process of any test: times of such a run are not eager ones."""
        return max((test.usage.compiled_graphs for test in self.tests if test.usage), default=0)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that a test printed, in the unit that it printed.

    `kind` is bandwidth, time, throughput, memory, ratio, percent or value; `size` the edge of
    a square detector named beside it (0: none), `dtype` likewise. The true value lies within
    `value` ± `resolution`, which is half a unit of the last printed digit.
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
    """A comparison that a test asserts: `value op threshold`, `unit` for both.

    `passed` is what the assertion said, or what the printed figures say where the test passed
    silently; None where neither tells. `source` is assertion (pytest's own figures), message
    or printed (bound to printed figures).
    """

    name: str
    op: str
    threshold: float
    text: str
    test: str
    source: str
    value: float | None = None
    value_lo: float | None = None
    value_hi: float | None = None
    unit: str = ""
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class MallocTiming:
    """Medians of a few warm runs under one setting of malloc."""

    wall_s: float
    user_s: float
    system_s: float
    minor_faults: int
    runs: int = 0
    fastest_s: float = 0.0
    slowest_s: float = 0.0

    @property
    def cpu_s(self) -> float:
        """User and system time: what a run costs, however long it waits for a core."""
        return self.user_s + self.system_s

    @property
    def system_share(self) -> float:
        """System time as a share of CPU time."""
        return self.system_s / self.cpu_s if self.cpu_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class MallocTrial:
    """The same workload in the same process, first with malloc as it is, then with thresholds pinned."""

    size: int
    dtype: str
    default: MallocTiming | None = None
    pinned: MallocTiming | None = None
    ledger: Ledger | None = None
    error: str = ""

    @property
    def penalty(self) -> float | None:
        """Default time over pinned time; None where one is missing."""
        if self.default is None or self.pinned is None or self.pinned.wall_s <= 0:
            return None
        return self.default.wall_s / self.pinned.wall_s

    @property
    def cpu_penalty(self) -> float | None:
        """The same in CPU time, which waiting for a core does not change."""
        if self.default is None or self.pinned is None or self.pinned.cpu_s <= 0:
            return None
        return self.default.cpu_s / self.pinned.cpu_s


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the measurements after a run found out, in processes of their own.

    `default_dtype` is what the subject computes in when nobody names a dtype.
    `copy_bytes_per_s` is the copy ceiling with `threads`, `copy_test_bytes_per_s` with as many
    threads as the test used (at most one a core). Shares are of the process's wall time, those of
    others without what they did on cores that the process may not use. `not_comparable` says why the
    test's times must not be held against these measurements, which are eager; empty when they may.
    """

    tree: str = ""
    torch: str = ""
    default_dtype: str = ""
    threads: int = 0
    test_threads: int = 0
    cores: int = 0
    trials: tuple[MallocTrial, ...] = ()
    copy_bytes_per_s: float | None = None
    copy_test_bytes_per_s: float | None = None
    wall_s: float = 0.0
    others_share: float = 0.0
    steal_share: float = 0.0
    error: str = ""
    not_comparable: str = ""
    notes: tuple[str, ...] = ()

    def trial(self, size: int, dtype: str) -> MallocTrial | None:
        """The trial of one size and dtype."""
        return next((t for t in self.trials if (t.size, t.dtype) == (size, dtype)), None)


@dataclass(frozen=True, slots=True)
class BaselineFigure:
    """What the database knows of one workload on this machine: median and interval of its samples.

    `coverage` is the real probability that the interval encloses the median.
    """

    label: str
    unit: str
    size: int
    dtype: str
    median: float
    lo: float
    hi: float
    coverage: float
    samples: int
    commit: str
    same_tree: bool


@dataclass(frozen=True, slots=True)
class BaselineLine:
    """A baseline figure against what was measured now.

    `word` is no regression, slower, faster, cannot tell.
    """

    figure: BaselineFigure
    now: float
    word: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class CaptureVerdict:
    """What a captured run means: passed, failed or blocked, and why the figures are what they are.

    `disturbed` says that other processes kept its tests from their cores.
    """

    word: str
    cause: Cause | None = None
    sentences: tuple[str, ...] = ()
    baseline: tuple[BaselineLine, ...] = ()
    next_actions: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What one command cost, all its processes that were waited for together.

    CPU and elapsed times are seconds; `max_rss_bytes` is the largest process alone.
    """

    elapsed_s: float = 0.0
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_bytes: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    blocks_in: int = 0
    blocks_out: int = 0


class RunOutcome(StrEnum):
    """How a captured command ended."""

    PASSED = "passed"  # exit code 0
    FAILED = "failed"  # any other exit code of its own
    TIMEOUT = "timeout"  # ended by the outer timeout; exit code 124
    SIGNAL = "signal"  # a signal ended it; exit code 128 + n
    NOT_FOUND = "not found"  # no such program; exit code 127
    NOT_EXECUTABLE = "not executable"  # exit code 126
    NO_TESTS = "no tests"  # pytest found nothing to run; its exit code 4 or 5
    PYTEST_ERROR = "pytest error"  # collection stopped, or an internal error; pytest's 2 or 3
    SETUP_ERROR = "setup error"  # no test came to its own code; pytest's exit code 1
    INTERRUPTED = "interrupted"  # Ctrl-C
    DISK_FULL = "disk full"  # the evidence could not be written to the end
    UNKNOWN = "unknown"  # nbbench was killed before it could tell


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """One guarded run as `nbbench capture` saw it, before its figures are read.

    `commit` and `tree` are object ids of the subject's checkout when the run began, empty
    outside of git; `tree` is that of the measured paths. `python` is the interpreter that runs
    the command's tests; empty when it is not known. `environment` is what the command got.
    """

    folder: Path
    cluster: str
    preset: str
    command: tuple[str, ...]
    subject: Path
    commit: str
    tree: str
    dirty: bool
    started_at: datetime
    ended_at: datetime
    exit_code: int
    outcome: RunOutcome
    usage: RunUsage
    record: Path  # JSON lines of the pytest plugin; may be absent
    profile: Path | None = None  # where --profile asked for the trace
    probe: bool = True
    python: str = ""
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What the figures of a capture say: its verdict, and what to add to the folder.

    `sections` are (title, Markdown), `files` (name, content); `sentences` lead the summary. `anomalies`
    say why the run is not the evidence that it should be.
    """

    verdict: str
    cause: Cause | None = None
    sentences: tuple[str, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    sections: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    notes: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
