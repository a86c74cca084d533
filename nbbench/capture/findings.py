"""What a capture's figures say: read the tests, measure the workload apart, judge. Facts only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbbench.capture.assertions import checks_of
from nbbench.capture.bandwidth import (
    bandwidths_of,
    costly_trials,
    disturbance_of_calls,
    dtype_of_test,
    legacy_bytes_per_pixel,
    maps_again,
    with_dtype,
)
from nbbench.capture.figures import figures_of
from nbbench.capture.guards import compile_guards, pinned_malloc
from nbbench.capture.probe import diagnose
from nbbench.capture.test_records import read_test_records
from nbbench.captured import (
    BLOCKED,
    FAILED,
    PASSED,
    Capture,
    Diagnosis,
    Figure,
    Findings,
    RunOutcome,
    TestRecord,
    TestRun,
)
from nbbench.config import Settings
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
_FROM_OUTSIDE = frozenset({RunOutcome.UNKNOWN, RunOutcome.INTERRUPTED, RunOutcome.DISK_FULL})


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
        diagnosis = replace(diagnosis, not_comparable="compiled" if run.compiled_graphs else "")
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
        checks=with_dtype(checks_of(run.tests), dtype),
        disturbance=disturbance_of_calls(run),
        diagnosis=diagnosis,
        bandwidths=bandwidths_of(diagnosis, figures, legacy) if legacy else (),
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
