"""What a capture's figures say: the tests read, and judged. Facts only."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbbench.capture.figures import checks_of, figures_of
from nbbench.capture.guards import compile_guards, pinned_malloc
from nbbench.capture.test_records import read_test_records
from nbbench.captured import CallUsage, Capture, Figure, Findings, RunOutcome, TestRecord, TestRun
from nbbench.config import Settings
from nbbench.disturbance import LEAST_COUNTED_S, WAITED_SHARE, Disturbance
from nbbench.errors import NbbenchError
from nbbench.report.capture import RECORDS
from nbbench.subject.profile import find_preset, load_profile
from nbbench.subject.repository import describe, open_subject
from nbbench.words import Say

_LOG = "pytest.log"
_LOG_BYTES = 2 * 2**20
# The run itself came to an end, or to its time limit, or the commit does not have the tests yet.
_AUDITED = frozenset(
    {
        *(RunOutcome.PASSED, RunOutcome.FAILED, RunOutcome.TIMEOUT, RunOutcome.SIGNAL),
        *(RunOutcome.NO_TESTS, RunOutcome.SETUP_ERROR, RunOutcome.SKIPPED),
    }
)
# A call that got this share of the cores that its threads can fill was not kept from them, whoever else ran.
_GOT_ITS_CORES = 0.95


def findings_of(
    settings: Settings,
    capture: Capture,
    folder: Path,
    *,
    environment: Mapping[str, str],
    audited: bool,
    say: Say,
) -> Findings:
    """The figures of a captured run, from the records in its folder.

    `environment` is what the command got. The dtype audit that the preset asks for is made unless `audited`
    is off.
    """
    run = _read(folder, capture.outcome)
    figures = figures_of(run.tests)
    dtype = dtype_of_test(figures, _default_dtype(Path(capture.cwd), load_profile(settings).default_dtype))
    audit, notes = _dtype_audit(settings, capture, say) if audited else (None, [])
    found = judged(run, figures, environment, dtype)
    broken = _broken_guard(environment, run)
    return replace(found, audit=audit, notes=(*_notes(run), *notes), anomalies=broken)


def judged(run: TestRun, figures: Sequence[Figure], environment: Mapping[str, str], dtype: str) -> Findings:
    """What is said of a run from everything that was seen of it.

    `environment` is what the command got, `dtype` what the test computed in.
    """
    return Findings(
        run=run,
        figures=tuple(figures),
        checks=tuple(
            replace(check, dtype=dtype) if re.search("bandwidth|time", check.name) else check
            for check in checks_of(run.tests)
        ),
        disturbance=disturbance_of_calls(run),
        malloc_pinned_by=pinned_malloc(environment),
        profiled=bool(environment.get("NB_PROFILER_OUT")),
        conditions=_conditions(run, environment, dtype),
    )


def setup_error(run: TestRun) -> TestRecord | None:
    """The test whose error kept every test from its own code; None where one came to it, or none failed.

    Set-up is done outside of the call, which alone has a resource use.
    """
    return None if run.usages else next((test for test in run.tests if test.outcome == "error"), None)


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
        word = "passed" if outcome is RunOutcome.PASSED else "failed"
        first = replace(only, outcome=only.outcome or word, stdout=text)
        return replace(run, tests=(first, *(test for test in run.tests if test is not only)))
    return run


def _default_dtype(checkout: Path, place: tuple[str, str]) -> str:
    """What the subject computes in when nobody names a dtype, as its source says; empty where it does not."""
    name, pattern = place
    with contextlib.suppress(OSError):
        if pattern and (match := re.search(pattern, (checkout / name).read_text("utf-8", "replace"))):
            return match[1]
    return ""


def _dtype_audit(
    settings: Settings, capture: Capture, say: Say
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The dtype audit of the captured commit, for the preset that asks for it; and notes about it."""
    if capture.outcome not in _AUDITED or not find_preset(settings, capture.preset).dtype_audit:
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


def dtype_of_test(figures: Sequence[Figure], default: str) -> str:
    """The dtype that the test's figures are in: what they say, or else the subject's default."""
    named = {figure.dtype for figure in figures if figure.dtype}
    return named.pop() if len(named) == 1 else default
