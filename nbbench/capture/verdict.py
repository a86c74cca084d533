"""What a captured run means: passed, failed or blocked, and the cause of its figures in sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nbbench import units
from nbbench.capture.load import contention_of, contention_sentences, is_crowded
from nbbench.capture.malloc_setting import pinned_malloc
from nbbench.capture.trial import (
    allocator_evidence,
    dtype_of_test,
    ledger_view,
    pinned_evidence,
    pinned_ratio,
)
from nbbench.captured import (
    BaselineLine,
    CaptureVerdict,
    Check,
    Diagnosis,
    Figure,
    RunOutcome,
    TestRecord,
    TestRun,
)
from nbbench.disturbance import Disturbance
from nbbench.model import Cause
from nbbench.work.allocator_cost import MALLOC_REMEDY

PASSED, FAILED, BLOCKED = "passed", "failed", "blocked"
NO_BASELINE = "no baseline on this machine, so nothing here says whether anything became slower"
_OF_TIME = frozenset({"bandwidth", "time", "throughput"})
_SHOWN = 4
# Two runs of one commit, minutes apart, gave 0.469 and 0.586 (docs/findings.md, b8121554).
_NEAR = 0.25
_FAULTS_OF_A_COIN = 1_000_000
# Ended by somebody else: nothing of the workload explains that.
_FROM_OUTSIDE = frozenset({RunOutcome.UNKNOWN, RunOutcome.INTERRUPTED, RunOutcome.DISK_FULL})
_WHY_BLOCKED = {
    RunOutcome.TIMEOUT: "the outer timeout ended it",
    RunOutcome.SIGNAL: "a signal ended it",
    RunOutcome.NOT_FOUND: "the command was not found",
    RunOutcome.NOT_EXECUTABLE: "the command is not executable",
    RunOutcome.NO_TESTS: "pytest found no such test",
    RunOutcome.PYTEST_ERROR: "pytest stopped before the tests were done",
    RunOutcome.SETUP_ERROR: "an error before the test's own code ran, so nothing was measured",
    RunOutcome.INTERRUPTED: "somebody interrupted it",
    RunOutcome.DISK_FULL: "the evidence could not be written to its end",
    RunOutcome.UNKNOWN: "nbbench was killed",
}


def judge(
    outcome: RunOutcome,
    run: TestRun,
    figures: Sequence[Figure],
    checks: Sequence[Check],
    *,
    diagnosis: Diagnosis | None = None,
    baseline: Sequence[BaselineLine] = (),
    profiled: bool = False,
    environment: Mapping[str, str] | None = None,
) -> CaptureVerdict:
    """The verdict of a run from everything that was seen of it; `environment` is what the command got.

    The cause is named whether or not the test passed: a threshold may be wide enough to hide it.
    """
    word = _word(outcome, run)
    load = contention_of(run)
    dtype = dtype_of_test(diagnosis, figures) if diagnosis else ""
    setting = pinned_malloc(environment or {})
    allocator, explains = _allocator(diagnosis, run, dtype, setting)
    cause = None if outcome in _FROM_OUTSIDE else _cause(word, checks, explains, load, run)
    told = [_outcome_sentence(word, outcome, run), *_check_sentences(checks)]
    told += [*_compiled_sentences(run), *_coin_sentences(checks, run), *allocator]
    if allocator and diagnosis is not None and not setting:
        told += pinned_ratio(diagnosis, checks, dtype)
    told += contention_sentences(load, run)
    if allocator and load.disturbed:
        told.append("the allocator is judged by CPU time and page faults, which waiting does not change")
    if diagnosis is not None:
        told += ledger_view(diagnosis, figures)
        told += [f"nothing was tried apart from the test: {diagnosis.error}"] if diagnosis.error else []
    told += [baseline_sentence(line) for line in baseline]
    timed = diagnosis is not None or any(f.kind in _OF_TIME for f in figures)
    if not baseline and timed:
        told.append(NO_BASELINE)
    if profiled:
        told.append("the test ran under torch's profiler, so its times are not comparable with others")
    actions = _next_actions(word, cause, load, run, baseline if timed else None)
    notes = tuple(_notes(run, diagnosis))
    return CaptureVerdict(
        word, cause, tuple(told), tuple(baseline), tuple(actions), notes, disturbed=load.disturbed
    )


def _allocator(diagnosis: Diagnosis | None, run: TestRun, dtype: str, setting: str) -> tuple[list[str], bool]:
    """What malloc costs, and whether that explains the figures. Eager trials explain nothing of a
    compiled run, and where `setting` pins malloc already it is no cause."""
    if run.compiled_graphs:
        return [], False
    if setting:
        return pinned_evidence(diagnosis, run, dtype, setting), False
    return allocator_evidence(diagnosis, run, dtype)


def _compiled_sentences(run: TestRun) -> list[str]:
    graphs = run.compiled_graphs
    if not graphs:
        return []
    return [
        f"not comparable: compiled. Dynamo compiled {graphs} graph{'s' if graphs > 1 else ''} in the test's "
        "process; its times are not those of the eager operations that ledger, trials and baseline are of"
    ]


def _coin_sentences(checks: Sequence[Check], run: TestRun) -> list[str]:
    """Where a ratio of times is so near to its threshold that the next run may answer otherwise."""
    usage = max((t.usage for t in run.tests if t.usage), key=lambda u: u.repeated_faults, default=None)
    if usage is None or usage.repeated_faults < _FAULTS_OF_A_COIN:
        return []
    return [
        f"{check.name} is within {_NEAR:.0%} of its threshold, which is as much as runs of one commit move "
        f"by: the next run may answer otherwise; the {usage.repeated_faults:,} page faults on memory that "
        "the call had before are the steadier evidence"
        for check in checks
        if check.value is not None
        and check.threshold > 0
        and "bandwidth" in check.name
        and abs(check.value / check.threshold - 1) < _NEAR
    ]


def _word(outcome: RunOutcome, run: TestRun) -> str:
    if outcome not in (RunOutcome.PASSED, RunOutcome.FAILED):
        return BLOCKED
    ran = [t for t in run.tests if t.outcome not in ("skipped",)]
    if outcome is RunOutcome.PASSED and run.tests and not ran:
        return BLOCKED
    return PASSED if outcome is RunOutcome.PASSED else FAILED


def _cause(
    word: str, checks: Sequence[Check], allocator: bool, load: Disturbance, run: TestRun
) -> Cause | None:
    """Page faults and CPU time decide before load does: waiting changes neither."""
    if allocator:
        return Cause.ALLOCATOR
    slow = any(check.passed is False for check in checks) or any(
        t.outcome == "interrupted" for t in run.tests
    )
    if word == PASSED or not slow:
        return None
    return Cause.CONTENTION if load.disturbed or is_crowded(run) else Cause.UNEXPLAINED


def _outcome_sentence(word: str, outcome: RunOutcome, run: TestRun) -> str:
    kinds = ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "interrupted")
    counts = ", ".join(f"{run.count(kind)} {kind}" for kind in kinds if run.count(kind))
    counted = f"tests: {counts}" if counts and run.started else "no test was recorded"
    if word == BLOCKED:
        why = _WHY_BLOCKED.get(outcome, "every test was skipped, so nothing was tested")
        last = next((t for t in reversed(run.tests) if t.outcome == "interrupted"), None)
        during = f" during {last.nodeid}" if last else ""
        if outcome is RunOutcome.SETUP_ERROR:
            during = f" ({setup_error(run)})"
        return f"blocked: {why}{during}; {counted}"
    bad = next((t for t in run.tests if t.outcome in ("failed", "error")), None)
    return f"{counted}; {_first_failure(bad)}" if bad and run.started else counted


def _first_failure(test: TestRecord) -> str:
    return f"{test.nodeid}: {first_words(test.message) or 'no message'}"


def setup_error(run: TestRun) -> str:
    """The error that kept every test from its own code; empty where one came to it, or none failed.

    Set-up is done outside of the call, which alone has a resource use.
    """
    bad = next((t for t in run.tests if t.outcome == "error"), None)
    return _first_failure(bad) if bad and all(t.usage is None for t in run.tests) else ""


def first_words(message: str) -> str:
    """The first line of an error that says something: `Failed:` alone does not, rules of `====` neither."""
    lines = [line.strip() for line in message.splitlines() if re.search(r"\w", line)]
    if len(lines) > 1 and re.fullmatch(r"[\w.]+:", lines[0]):
        return f"{lines[0]} {lines[1]}"[:300]
    return lines[0][:300] if lines else ""


def _check_sentences(checks: Sequence[Check]) -> list[str]:
    """Failing comparisons first; of the others a few."""
    ranked = sorted(checks, key=lambda c: (c.passed is not False, c.value is None))
    return [check_sentence(check) for check in ranked[:_SHOWN]]


def check_sentence(check: Check) -> str:
    """`bandwidths[2048] / bandwidths[512] is 0.466, the test asks for >= 0.5: failed`."""
    asked = f"the test asks for {check.op} {check.threshold:g}{_unit(check.unit)}"
    if check.value is None:
        return f"{check.name}: {asked}; its value was not printed"
    bounds = ""
    if check.value_lo is not None and check.value_hi is not None and check.value_lo != check.value_hi:
        bounds = f" ({check.value_lo:.3g} to {check.value_hi:.3g} as printed)"
    word = {True: "holds", False: "does not hold", None: "too coarsely printed to tell"}[check.passed]
    return f"{check.name} is {check.value:.3g}{_unit(check.unit)}{bounds}, {asked}: {word}"


def _unit(unit: str) -> str:
    return unit if unit in ("", "x", "%") else f" {unit}"


def baseline_sentence(line: BaselineLine) -> str:
    """A workload now against the interval that the database has for this machine."""
    figure = line.figure
    against = "the same tree" if figure.same_tree else f"commit {figure.commit[:8]} (another tree)"
    now, lo, hi = (units.format_value(v, figure.unit) for v in (line.now, figure.lo, figure.hi))
    why = f" ({line.why})" if line.why else ""
    return (
        f"{figure.label}: {now} now, {lo} to {hi} for {against} on this machine "
        f"({figure.coverage:.0%} interval of {figure.samples} samples): {line.word}{why}"
    )


def _next_actions(
    word: str, cause: Cause | None, load: Disturbance, run: TestRun, baseline: Sequence[BaselineLine] | None
) -> list[str]:
    """What to do next; `baseline` is None where the run gave no times."""
    if word == BLOCKED:
        return []  # whoever ran the command knows better what blocked it
    actions = []
    if run.compiled_graphs:
        actions.append("Capture again with TORCHDYNAMO_DISABLE=1, which holds at every commit.")
    if cause is Cause.ALLOCATOR:
        actions.append(f"Capture again with {MALLOC_REMEDY}: what remains is the simulator's own.")
        actions.append(
            "For good: fewer and smaller temporaries in the lines that nbbench ledger lists, "
            "or these thresholds in the project's launchers."
        )
    if load.disturbed and baseline is not None:
        actions.append("Capture again on an idle machine before acting on times.")
    if is_crowded(run) and baseline is not None:
        actions.append(f"Give the test no more threads than the {run.cores} it can have.")
    if cause is Cause.UNEXPLAINED:
        actions.append("Compare with a folder that passed: nbbench compare-evidence A B.")
    if baseline is not None and not baseline:
        actions.append("Make a baseline on this machine: nbbench run --bench bandwidth.")
    return actions


def _notes(run: TestRun, diagnosis: Diagnosis | None) -> list[str]:
    notes = []
    if not run.started:
        notes.append("the pytest plugin was not loaded: figures of passing tests are not known")
    if run.capture_off:
        notes.append("pytest ran without capturing (-s): figures are in pytest.log, not in the records")
    if run.unreadable:
        notes.append(f"{run.unreadable} lines of the test records could not be read")
    notes += [f"the pytest plugin met a problem: {problem}" for problem in run.problems]
    notes += [f"{nodeid} could not be collected" for nodeid, _ in run.collect_errors[:_SHOWN]]
    if diagnosis is not None:
        notes += [f"diagnosis: {note}" for note in diagnosis.notes]
        notes += [f"diagnosis of {t.size}² {t.dtype}: {t.error}" for t in diagnosis.trials if t.error]
        if diagnosis.torch and run.torch and diagnosis.torch.split("+")[0] != run.torch.split("+")[0]:
            notes.append(f"the diagnosis ran with torch {diagnosis.torch}, the test with {run.torch}")
    return notes
