"""What a capture's figures say: read the tests, measure the workload apart, judge. Facts only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbbench import units
from nbbench.capture.assertions import checks_of
from nbbench.capture.figures import figures_of, times
from nbbench.capture.guards import compile_guards, pinned_malloc
from nbbench.capture.probe import diagnose
from nbbench.capture.test_records import read_test_records
from nbbench.captured import (
    BLOCKED,
    FAILED,
    PASSED,
    BandwidthFigure,
    CallUsage,
    Capture,
    Diagnosis,
    Figure,
    Findings,
    MallocTrial,
    RunOutcome,
    TestRecord,
    TestRun,
)
from nbbench.config import Settings
from nbbench.disturbance import LEAST_COUNTED_S, WAITED_SHARE, Disturbance
from nbbench.errors import NbbenchError
from nbbench.model import Cause
from nbbench.report.capture import RECORDS
from nbbench.subject.presets import find_preset
from nbbench.subject.profile import load_profile

_LOG = "pytest.log"
_LOG_BYTES = 2 * 2**20
# The run itself came to an end, or to its time limit: what it was about can be tried again.
_TRIED = frozenset({RunOutcome.PASSED, RunOutcome.FAILED, RunOutcome.TIMEOUT, RunOutcome.SIGNAL})
_AUDITED = _TRIED | {RunOutcome.NO_TESTS, RunOutcome.SETUP_ERROR}
# Ended by somebody else: nothing of the workload explains that.
_FROM_OUTSIDE = frozenset({RunOutcome.UNKNOWN, RunOutcome.INTERRUPTED})
_LEGACY_TOLERANCE = 0.05  # printed times have two digits and more; the guesses differ by half
# Medians of three runs on a shared machine agree within 10 %; a quarter more is no chance.
_PENALTY = 1.25
# A frame of 512² float32 has 256 pages: ten thousand faults are dozens of frames mapped anew.
_FAULTS = 10_000
_FAULTS_RATIO = 5
_SYSTEM_SHARE = 0.15
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

    `environment` is what the command got. Unless `probe` is off, the workload is measured once more in
    processes of its own, for about half a minute.
    """
    outcome, given = capture.outcome, environment or {}
    run = _read(folder, outcome)
    figures = figures_of(run.tests)
    diagnosis: Diagnosis | None = None
    workload = load_profile(settings).capture
    about = "PERF" in capture.cluster.upper() or any(figure.kind == "bandwidth" for figure in figures)
    if workload and probe and about and outcome in _TRIED:
        diagnosis = diagnose(settings, capture, workload, test_threads=run.torch_threads, say=say)
    audit, audit_notes = _dtype_audit(settings, capture, probe, say)
    found = judged(
        run, outcome, figures, diagnosis, given, workload.legacy_bytes_per_pixel if workload else ()
    )
    return replace(
        found, audit=audit, notes=(*_notes(run, diagnosis), *audit_notes), anomalies=_broken_guard(given, run)
    )


def judged(
    run: TestRun,
    outcome: RunOutcome,
    figures: Sequence[Figure],
    diagnosis: Diagnosis | None = None,
    environment: Mapping[str, str] | None = None,
    guesses: Sequence[int] = (),
) -> Findings:
    """The verdict of a run from everything that was seen of it; `environment` is what the command got.

    `guesses` are the bytes a pixel by which the test may have computed the bandwidth that it prints.

    The cause is named whether or not the test passed: a threshold may be wide enough to hide it.
    """
    given = environment or {}
    dtype = dtype_of_test(diagnosis, figures)
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
        diagnosis=diagnosis,
        bandwidths=bandwidths_of(diagnosis, figures, legacy, bool(run.compiled_graphs)) if legacy else (),
        explained_by_malloc=costly_trials(diagnosis),
        maps_again=maps_again(run.mapped_most),
        malloc_pinned_by=pinned_malloc(given),
        legacy_bytes_per_pixel=legacy,
        conditions=_conditions(run, given, dtype),
    )
    return found if outcome in _FROM_OUTSIDE else replace(found, cause=_cause(found, dtype))


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


def _cause(found: Findings, dtype: str) -> Cause | None:
    """Malloc where a quiet trial shows its price, or page faults of the test's own call do where none was
    possible; eager trials explain nothing of a compiled run, and where malloc is pinned it is no cause."""
    run, diagnosis = found.run, found.diagnosis
    tried = diagnosis is not None and diagnosis.tried
    if not run.compiled_graphs and not found.malloc_pinned_by:
        if any(dtype in ("", trial.dtype) for trial in found.explained_by_malloc):
            return Cause.ALLOCATOR
        if found.maps_again and (found.explained_by_malloc or not tried) and not found.disturbance.disturbed:
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


def _dtype_audit(
    settings: Settings, capture: Capture, probe: bool, say: Callable[[str], None]
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The dtype audit of the captured commit, for the preset that asks for it; and notes about it.

    It needs no test: it also runs where the commit does not have the tests yet.
    """
    if not probe or capture.outcome not in _AUDITED or not find_preset(settings, capture.preset).dtype_audit:
        return None, []
    from nbbench.subject.repository import describe, open_subject
    from nbbench.work.dtypes import dtype_snapshot

    try:
        found = dtype_snapshot(settings, describe(open_subject(settings), capture.commit), say=say)
    except NbbenchError as error:
        return None, [f"there is no dtype audit: {error}"]
    dirty = ["the dtype audit is of the commit, without the work tree's changes"]
    return found, dirty if capture.changes_before else []


def _notes(run: TestRun, diagnosis: Diagnosis | None) -> list[str]:
    notes = []
    if not run.started:
        notes.append("the pytest plugin was not loaded: figures of passing tests are not known")
    if run.capture_off:
        notes.append("pytest ran without capturing (-s): figures are in pytest.log, not in the records")
    notes += run.problems[:8]
    if diagnosis is not None:
        notes += [f"diagnosis: {note}" for note in diagnosis.notes]
        notes += [f"diagnosis of {t.size}² {t.dtype}: {t.error}" for t in diagnosis.trials if t.error]
        if diagnosis.torch and run.torch and diagnosis.torch.split("+")[0] != run.torch.split("+")[0]:
            notes.append(f"the diagnosis ran with torch {diagnosis.torch}, the test with {run.torch}")
    return notes


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


def costly_trials(diagnosis: Diagnosis | None) -> tuple[MallocTrial, ...]:
    """The trials in which malloc alone costs time, the worst first; none where others were busy meanwhile."""
    if diagnosis is None or diagnosis.disturbance.disturbed:
        return ()
    return tuple(sorted(filter(_malloc_costs, diagnosis.trials), key=lambda trial: -(trial.penalty or 0.0)))


def _malloc_costs(trial: MallocTrial) -> bool:
    """Slower by default, with page faults and system time that pinning takes away."""
    if trial.default is None or trial.pinned is None:
        return False
    return (
        (trial.penalty or 0.0) >= _PENALTY
        and trial.default.minor_faults >= max(_FAULTS, _FAULTS_RATIO * trial.pinned.minor_faults)
        and trial.default.system_share - trial.pinned.system_share >= _SYSTEM_SHARE
    )


def dtype_of_test(diagnosis: Diagnosis | None, figures: Sequence[Figure]) -> str:
    """The dtype that the test's figures are in: what they say, or else the subject's default."""
    named = {figure.dtype for figure in figures if figure.dtype}
    return named.pop() if len(named) == 1 else diagnosis.default_dtype if diagnosis else ""


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
    diagnosis: Diagnosis | None, figures: Sequence[Figure], legacy: int, compiled: bool = False
) -> tuple[BandwidthFigure, ...]:
    """By size: the test's figure, from printed times (finer than printed GB/s), and the ledger's."""
    dtype, found = dtype_of_test(diagnosis, figures), []
    for size, figure in sorted(times(figures).items()):
        if figure.value <= 0:
            continue
        row = BandwidthFigure(size, size * size * legacy / figure.value)
        trial = diagnosis.trial(size, dtype) if diagnosis and not compiled else None
        if diagnosis and trial and trial.ledger:
            ceiling = None if diagnosis.disturbance.disturbed else diagnosis.copy_bytes_per_s
            rate = trial.ledger.bytes / figure.value
            share = rate / ceiling if ceiling else None
            row = replace(row, dtype=dtype, per_pixel=trial.ledger.bytes_per_pixel, rate=rate, share=share)
        found.append(row)
    return tuple(found)
