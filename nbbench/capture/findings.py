"""What a capture's figures say: read the tests, hold the ledger beside them, judge. Facts only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbbench import units
from nbbench.capture.figures import checks_of, figures_of, times
from nbbench.capture.guards import compile_guards, pinned_malloc
from nbbench.capture.test_records import read_test_records
from nbbench.captured import (
    BLOCKED,
    FAILED,
    PASSED,
    BandwidthFigure,
    CallUsage,
    Capture,
    Figure,
    Findings,
    RunOutcome,
    TestRecord,
    TestRun,
)
from nbbench.config import Settings
from nbbench.disturbance import LEAST_COUNTED_S, WAITED_SHARE, Disturbance
from nbbench.errors import NbbenchError
from nbbench.ledger import Ledger
from nbbench.measure.ledgers import known_ledgers, record_ledgers
from nbbench.measure.warm_runs import Servers
from nbbench.model import Cause, Commit
from nbbench.report.capture import RECORDS
from nbbench.subject.profile import CaptureWorkload, find_preset, load_profile
from nbbench.subject.repository import describe, open_subject
from nbbench.workloads import suite_workloads

_LOG = "pytest.log"
_LOG_BYTES = 2 * 2**20
# The run itself came to an end, or to its time limit: what it was about can be tried again.
_TRIED = frozenset({RunOutcome.PASSED, RunOutcome.FAILED, RunOutcome.TIMEOUT, RunOutcome.SIGNAL})
_AUDITED = _TRIED | {RunOutcome.NO_TESTS, RunOutcome.SETUP_ERROR}
# Ended by somebody else: nothing of the workload explains that.
_FROM_OUTSIDE = frozenset({RunOutcome.UNKNOWN, RunOutcome.INTERRUPTED})
_LEGACY_TOLERANCE = 0.05  # printed times have two digits and more; the guesses differ by half
# A fault costs about a microsecond: a hundred thousand are a tenth of a second that computes nothing.
_MANY_FAULTS = 100_000
_BUSY_SYSTEM = 0.25
# A call that got this share of the cores that its threads can fill was not kept from them, whoever else ran.
_GOT_ITS_CORES = 0.95


def findings_of(
    settings: Settings,
    capture: Capture,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    probe: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Findings:
    """The figures, verdict and cause of a captured run, from the records in its folder.

    `environment` is what the command got. Unless `probe` is off, ledgers of the workload that the test runs
    are recorded where there are none yet, and the dtype audit that the preset asks for is made.
    """
    outcome, given = capture.outcome, environment or {}
    run = _read(folder, outcome)
    figures = figures_of(run.tests)
    workload = load_profile(settings).capture
    dtype = dtype_of_test(figures, _default_dtype(Path(capture.cwd), workload))
    ledgers: dict[int, Ledger] = {}
    notes = _notes(run)
    if workload and probe and outcome in _TRIED and not run.compiled_graphs:
        names = {size: workload.workload.format(size=size, dtype=dtype) for size in times(figures)}
        ledgers, problems = _ledgers(settings, capture, names, say)
        notes += problems
    audit, audit_notes = _dtype_audit(settings, capture, probe, say)
    guesses = workload.legacy_bytes_per_pixel if workload else ()
    found = judged(run, outcome, figures, ledgers, given, guesses, dtype)
    return replace(found, audit=audit, notes=(*notes, *audit_notes), anomalies=_broken_guard(given, run))


def judged(
    run: TestRun,
    outcome: RunOutcome,
    figures: Sequence[Figure],
    ledgers: Mapping[int, Ledger] | None = None,
    environment: Mapping[str, str] | None = None,
    guesses: Sequence[int] = (),
    dtype: str = "",
) -> Findings:
    """The verdict of a run from everything that was seen of it; `environment` is what the command got.

    `ledgers` are those of the test's workload by the size of the detector, `guesses` the bytes a pixel by
    which the test may have computed the bandwidth that it prints, `dtype` is what it computed in.

    The cause is named whether or not the test passed: a threshold may be wide enough to hide it.
    """
    given = environment or {}
    legacy = legacy_bytes_per_pixel(figures, guesses) if guesses else 0
    found = Findings(
        verdict=_word(outcome, run),
        run=run,
        figures=tuple(figures),
        checks=tuple(
            replace(check, dtype=dtype) if re.search("bandwidth|time", check.name) else check
            for check in checks_of(run.tests)
        ),
        disturbance=disturbance_of_calls(run),
        bandwidths=bandwidths_of(ledgers or {}, figures, legacy, dtype) if legacy else (),
        maps_again=maps_again(run.mapped_most),
        malloc_pinned_by=pinned_malloc(given),
        profiled=bool(given.get("NB_PROFILER_OUT")),
        legacy_bytes_per_pixel=legacy,
        conditions=_conditions(run, given, dtype),
    )
    return found if outcome in _FROM_OUTSIDE else replace(found, cause=_cause(found))


def setup_error(run: TestRun) -> TestRecord | None:
    """The test whose error kept every test from its own code; None where one came to it, or none failed.

    Set-up is done outside of the call, which alone has a resource use.
    """
    return None if run.usages else next((test for test in run.tests if test.outcome == "error"), None)


def _word(outcome: RunOutcome, run: TestRun) -> str:
    skipped = bool(run.tests) and all(test.outcome == "skipped" for test in run.tests)
    if outcome.is_blocked or (outcome is RunOutcome.PASSED and skipped):
        return BLOCKED
    return PASSED if outcome is RunOutcome.PASSED else FAILED


def _cause(found: Findings) -> Cause | None:
    """Malloc where the test's own call was busy with memory that it had before: no other load makes faults.

    Where malloc is pinned it is no cause, and a compiled run says nothing of eager code.
    """
    run = found.run
    if found.maps_again and not run.compiled_graphs and not found.malloc_pinned_by:
        return Cause.ALLOCATOR
    slow = any(not check.passed for check in found.checks) or run.count("interrupted") > 0
    if found.verdict == PASSED or not slow:
        return None
    busy = found.disturbance.disturbed or run.is_crowded
    return Cause.CONTENTION if busy else Cause.UNEXPLAINED


def _conditions(run: TestRun, environment: Mapping[str, str], dtype: str) -> tuple[tuple[str, str], ...]:
    """Under what the figures were taken: a figure under a switch that keeps Dynamo off says nothing of
    compiled code, and one of pinned malloc nothing of the default."""
    guards = compile_guards(environment)
    compiled = f"{run.compiled_graphs} graphs compiled" if run.compiled_graphs else ""
    found = {
        "compile": compiled or (f"off ({' '.join(guards)})" if guards else "allowed"),
        "threads": str(run.torch_threads or ""),
        "malloc": pinned_malloc(environment) or "default",
        "dtype": dtype,
    }
    return tuple((name, value) for name, value in found.items() if value)


def _broken_guard(environment: Mapping[str, str], run: TestRun) -> tuple[str, ...]:
    """A switch that should have kept Dynamo off, and did not: not every commit heeds every one."""
    guards = compile_guards(environment)
    if not run.compiled_graphs or not guards:
        return ()
    return (f"{' '.join(guards)} did not hold: graphs compiled by Dynamo: {run.compiled_graphs}",)


def _read(folder: Path, outcome: RunOutcome) -> TestRun:
    """The plugin's record; where it holds no output, figures come from what the terminal showed."""
    run = read_test_records(folder / RECORDS)
    if run.started and not run.capture_off:
        return run
    with contextlib.suppress(OSError), (folder / _LOG).open("rb") as stream:
        text = stream.read(_LOG_BYTES).decode("utf-8", "replace")
        only = run.tests[0] if len(run.tests) == 1 else TestRecord(_LOG, "")
        word = PASSED if outcome is RunOutcome.PASSED else FAILED
        first = replace(only, outcome=only.outcome or word, stdout=text)
        return replace(run, tests=(first, *(test for test in run.tests if test is not only)))
    return run


def _ledgers(
    settings: Settings, capture: Capture, names: Mapping[int, str], say: Callable[[str], None]
) -> tuple[dict[int, Ledger], list[str]]:
    """The ledgers of the captured tree by size, where the suite has such workloads; and notes about them."""
    notes = ["ledgers are of the commit, without the work tree's changes"] if capture.changes_before else []
    known: Mapping[str, Ledger] = {}
    try:
        declared = suite_workloads(settings.root).by_name
        names = {size: name for size, name in names.items() if name in declared}
        if not names:
            return {}, []
        known = known_ledgers(settings, Commit(capture.commit, capture.tree, capture.started_at, ""))
        if missing := [name for name in names.values() if name not in known]:
            say(f"recording the exact work of {', '.join(missing)}")
            commit = describe(open_subject(settings), capture.commit)
            with Servers() as servers:
                known = record_ledgers(settings, servers, commit, missing)
    except NbbenchError as error:
        notes.append(f"there are no ledgers: {error}")
    found = {size: known[name] for size, name in names.items() if name in known}
    notes += [f"{ledger.workload}: {ledger.error}" for ledger in found.values() if ledger.error]
    return {size: ledger for size, ledger in found.items() if not ledger.error}, notes


def _default_dtype(checkout: Path, workload: CaptureWorkload | None) -> str:
    """What the subject computes in when nobody names a dtype, as its source says; empty where it does not."""
    name, pattern = workload.default_dtype if workload else ("", "")
    with contextlib.suppress(OSError):
        if pattern and (match := re.search(pattern, (checkout / name).read_text("utf-8", "replace"))):
            return match[1]
    return ""


def _dtype_audit(
    settings: Settings, capture: Capture, probe: bool, say: Callable[[str], None]
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The dtype audit of the captured commit, for the preset that asks for it; and notes about it.

    It needs no test: it also runs where the commit does not have the tests yet.
    """
    if not probe or capture.outcome not in _AUDITED or not find_preset(settings, capture.preset).dtype_audit:
        return None, []
    from nbbench.work.audits import dtype_snapshot

    try:
        found = dtype_snapshot(settings, describe(open_subject(settings), capture.commit), say=say)
    except NbbenchError as error:
        return None, [f"there is no dtype audit: {error}"]
    dirty = ["the dtype audit is of the commit, without the work tree's changes"]
    return found, dirty if capture.changes_before else []


def _notes(run: TestRun) -> list[str]:
    notes = []
    if not run.started:
        notes.append("the pytest plugin was not loaded: figures of passing tests are not known")
    if run.capture_off:
        notes.append("pytest ran without capturing (-s): figures are in pytest.log, not in the records")
    return notes + list(run.problems[:8])


def disturbance_of_calls(run: TestRun) -> Disturbance:
    """How much others disturbed the calls of the tests."""
    calls = [usage for usage in run.usages if usage.wall_s >= LEAST_COUNTED_S]
    wall = sum(usage.wall_s for usage in calls)
    if not wall:
        return Disturbance(processes=0)
    others = sum(usage.others_cpu_s for usage in calls if not _had_its_cores(usage, run.cores))
    return Disturbance(others / wall, sum(u.steal_s for u in calls) / wall, processes=len(calls))


def _had_its_cores(usage: CallUsage, cores: int) -> bool:
    """Whether a call computed all the time, or hardly waited for a core: then nobody kept it from one.

    Where its own threads share a core they wait for each other, and only the first sign tells.
    """
    able = min(cores or 1, max(1, usage.torch_threads))
    if usage.cpu_s >= _GOT_ITS_CORES * able * usage.wall_s:
        return True
    delay = usage.run_delay_s
    return delay is not None and usage.torch_threads <= cores and delay <= WAITED_SHARE * usage.wall_s


def maps_again(usage: CallUsage | None) -> bool:
    """Whether a call was busy with memory that it gave back and got again."""
    return usage is not None and usage.repeated_faults >= _MANY_FAULTS and usage.system_share >= _BUSY_SYSTEM


def dtype_of_test(figures: Sequence[Figure], default: str) -> str:
    """The dtype that the test's figures are in: what they say, or else the subject's default."""
    named = {figure.dtype for figure in figures if figure.dtype}
    return named.pop() if len(named) == 1 else default


def legacy_bytes_per_pixel(figures: Sequence[Figure], guesses: Sequence[int]) -> int:
    """The guess that printed GB/s and printed times agree on; the first where they fit several or none."""
    timed = {size: figure.value for size, figure in times(figures).items() if figure.value > 0}
    printed = [f for f in figures if f.kind == "bandwidth" and f.size in timed and f.resolution]

    def fits(guess: int, figure: Figure) -> bool:
        rate = figure.size**2 * guess / timed[figure.size]
        slack = figure.resolution + _LEGACY_TOLERANCE * figure.value
        return any(abs(rate / unit - figure.value) <= slack for unit in (1e9, units.GIB))

    fitting = [guess for guess in guesses if all(fits(guess, figure) for figure in printed)]
    return (fitting or guesses)[0]


def bandwidths_of(
    ledgers: Mapping[int, Ledger], figures: Sequence[Figure], legacy: int, dtype: str
) -> tuple[BandwidthFigure, ...]:
    """By size: the test's figure, from printed times (finer than printed GB/s), and the ledger's."""
    found = []
    for size, figure in sorted(times(figures).items()):
        if figure.value <= 0:
            continue
        row = BandwidthFigure(size, size * size * legacy / figure.value)
        if ledger := ledgers.get(size):
            mapped = dict(ledger.counts).get("track_mapped_bytes", 0.0)
            rate = ledger.bytes / figure.value
            row = replace(row, dtype=dtype, per_pixel=ledger.bytes_per_pixel, rate=rate, mapped_bytes=mapped)
        found.append(row)
    return tuple(found)
