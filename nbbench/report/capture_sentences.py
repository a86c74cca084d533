"""What a capture's findings are in sentences: the run, its assertions, malloc, contention, bandwidth."""

from __future__ import annotations

import re

from nbbench import units
from nbbench.captured import BLOCKED, CallUsage, Check, Findings, RunOutcome, TestRecord
from nbbench.model import Cause
from nbbench.report.dtypes import audit_sentence
from nbbench.work.allocator_cost import MALLOC_REMEDY

_SHOWN = 4
_TIMED = ("bandwidth", "time", "throughput")
_FAULTS = 10_000


def sentences(found: Findings, outcome: RunOutcome) -> list[str]:
    """Everything that a reader should know of the figures, what decides first."""
    run = found.run
    ranked = sorted(found.checks, key=lambda check: check.passed)
    said = [_run_sentence(found, outcome), *(check_sentence(check) for check in ranked[:_SHOWN])]
    if graphs := run.compiled_graphs:
        said.append(
            f"not comparable: compiled. Dynamo compiled {graphs} graph{'s' if graphs > 1 else ''} in the "
            "test's process; its times are not those of eager operations, as the ledger is"
        )
    said += [*_malloc(found), *_contention(found), *_bandwidth(found)]
    if found.profiled:
        said.append("the test ran under torch's profiler, so its times are not comparable with others")
    return [*said, *([audit_sentence(found.audit, "dtype_snapshot.json")] if found.audit else [])]


def next_actions(found: Findings) -> list[str]:
    """What to do next."""
    run, actions = found.run, []
    if found.verdict == BLOCKED:
        return []  # whoever ran the command knows better what blocked it
    if run.compiled_graphs:
        actions.append("Capture again with TORCHDYNAMO_DISABLE=1, which holds at every commit.")
    if found.cause is Cause.ALLOCATOR:
        actions.append(f"Capture again with {MALLOC_REMEDY}: what remains is the simulator's own.")
        actions.append(
            "For good: fewer and smaller temporaries in the lines that nbbench ledger lists, "
            "or these thresholds in the project's launchers."
        )
    timed = any(figure.kind in _TIMED for figure in found.figures)
    if timed and found.disturbance.disturbed:
        actions.append("Capture again on an idle machine before acting on times.")
    if timed and run.is_crowded:
        actions.append(f"Give the test no more threads than the {run.cores} it can have.")
    if found.cause is Cause.UNEXPLAINED:
        actions.append("Compare with a folder that passed: nbbench compare-evidence A B.")
    return actions


def check_sentence(check: Check) -> str:
    """`bandwidths[2048] / bandwidths[512] is 0.466, the test asks for >= 0.5: does not hold`."""
    holds = "holds" if check.passed else "does not hold"
    return f"{check.name} is {check.value:.3g}, the test asks for {check.op} {check.threshold:g}: {holds}"


def failure(test: TestRecord) -> str:
    """A test with the first line of its error that says something: rules of `====` do not, nor `Failed:`."""
    lines = [line.strip() for line in test.message.splitlines() if re.search(r"\w", line)]
    if len(lines) > 1 and re.fullmatch(r"[\w.]+:", lines[0]):
        lines = [f"{lines[0]} {lines[1]}"]
    return f"{test.nodeid}: {lines[0][:300] if lines else 'no message'}"


def _run_sentence(found: Findings, outcome: RunOutcome) -> str:
    run = found.run
    kinds = ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "interrupted")
    counts = ", ".join(f"{run.count(kind)} {kind}" for kind in kinds if run.count(kind))
    counted = f"tests: {counts}" if counts and run.started else "no test was recorded"
    bad = next((test for test in run.tests if test.outcome in ("failed", "error")), None)
    if found.verdict != BLOCKED:
        return f"{counted}; {failure(bad)}" if bad and run.started else counted
    why = f"the run ended with: {outcome}" if outcome.is_blocked else "every test was skipped"
    last = next((test for test in reversed(run.tests) if test.outcome == "interrupted"), None)
    during = f" during {last.nodeid}" if last else ""
    if outcome is RunOutcome.SETUP_ERROR and bad:
        during = f" ({failure(bad)})"
    return f"blocked: {why}{during}; {counted}"


def _malloc(found: Findings) -> list[str]:
    """What the test's call met of malloc, with the remedy; or what is left where it is out of the way."""
    usage, setting = found.run.mapped_most, found.malloc_pinned_by
    if found.run.compiled_graphs:
        return []
    if setting:
        pinned = f"malloc is pinned by {setting} in the command's environment"
        how = "and yet" if found.maps_again else "so the allocator is out of the way:"
        return [f"{pinned}, {how} the test's own call {_faults(usage)}" if usage else pinned]
    if usage is None or usage.repeated_faults < _FAULTS:
        return []
    said = [f"allocator: the test's own call {_faults(usage)}"]
    said += [
        f"allocator: a run at {row.size}² {row.dtype} asks for {units.format_bytes(row.mapped_bytes)} in "
        "blocks of 32 MiB and more, each of which glibc maps, faults in and unmaps anew"
        for row in found.bandwidths
        if row.mapped_bytes
    ]
    return [*said, f"allocator remedy: {MALLOC_REMEDY}"] if found.cause is Cause.ALLOCATOR else said


def _faults(usage: CallUsage) -> str:
    return (
        f"met {usage.minor_faults:,} minor page faults, {usage.repeated_faults:,} of them on memory it had "
        f"before, and spent {usage.system_share:.0%} of its CPU time in the system"
    )


def _contention(found: Findings) -> list[str]:
    """What disturbed the calls: other processes, or the test's own threads."""
    run, said = found.run, []
    if found.disturbance.disturbed:
        switches = sum(usage.involuntary_switches for usage in run.usages)
        waits = [usage.run_delay_s for usage in run.usages if usage.run_delay_s is not None]
        known = bool(waits) and not run.is_crowded  # of a crowd most is waiting for each other
        waited = f"its threads waited {units.format_seconds(sum(waits))} for a core, " if known else ""
        said.append(
            f"contention: others used {found.disturbance.others:.2f} cores meanwhile of the "
            f"{run.cores or 'unknown number'} that the test may use ({waited}steal "
            f"{found.disturbance.steal:.1%}, {switches:,} involuntary switches), so its times say little"
        )
    if run.is_crowded:
        cores = f"{run.cores} core{'s' if run.cores > 1 else ''}"
        said.append(
            f"contention: {run.torch_threads} torch threads share {cores}, so threads wait for each other"
        )
    return said


def _bandwidth(found: Findings) -> list[str]:
    """The test's legacy figure beside what the ledger says was moved."""
    return [
        f"{row.size}² {row.dtype}: the legacy figure is {row.legacy / units.GIB:.3g} GiB/s "
        f"(pixels · {found.legacy_bytes_per_pixel // 3} B · 3 passes, a guess); the ledger counts "
        f"{row.per_pixel:,.0f} B/pixel, so the test really moved {units.format_value(row.rate, 'B/s')}"
        for row in found.bandwidths
        if row.per_pixel is not None
    ]
