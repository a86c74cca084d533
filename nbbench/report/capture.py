"""The files of a captured run's evidence folder, before the command starts and after it ended, and what the
findings are in sentences.

Nothing here redacts: callers pass facts that went through `nbbench.record.redact` already.
"""

import re
import shlex
from typing import Any

from nbbench import __version__, units
from nbbench.captured import Capture, Findings, RunOutcome, TestRecord, Usage
from nbbench.documents import document
from nbbench.errors import EvidenceError
from nbbench.model import to_plain
from nbbench.report.audits import audit_sentence
from nbbench.words import clean

_SHOWN = 4
_TIMED = ("bandwidth", "time", "throughput")


def sentences(found: Findings, outcome: RunOutcome) -> list[str]:
    """Everything that a reader should know of the figures, what decides first."""
    run = found.run
    ranked = sorted(found.checks, key=lambda check: check.passed)
    said = [_run_sentence(found, outcome)]
    for check in ranked[:_SHOWN]:
        holds = "holds" if check.passed else "does not hold"
        asked = f"the test asks for {check.op} {check.threshold:g}"
        said.append(f"{check.name} is {check.value:.3g}, {asked}: {holds}")
    if graphs := run.compiled_graphs:
        said.append(
            f"not comparable: compiled. Dynamo compiled {graphs} graph{'s' if graphs > 1 else ''} in the "
            "test's process; its times are not those of eager operations, as the ledger is"
        )
    if setting := found.malloc_pinned_by:
        said.append(f"malloc is pinned by {setting} in the command's environment")
    said += _contention(found)
    if found.profiled:
        said.append("the test ran under torch's profiler, so its times are not comparable with others")
    return [*said, *([audit_sentence(found.audit, "dtype_snapshot.json")] if found.audit else [])]


def next_actions(found: Findings, outcome: RunOutcome) -> list[str]:
    """What to do next."""
    run, actions = found.run, []
    if outcome.is_blocked:
        return []  # whoever ran the command knows better what blocked it
    if run.compiled_graphs:
        actions.append("Capture again with TORCHDYNAMO_DISABLE=1, which holds at every commit.")
    timed = any(figure.kind in _TIMED for figure in found.figures)
    if timed and found.disturbance.disturbed:
        actions.append("Capture again on an idle machine before acting on times.")
    if timed and run.is_crowded:
        actions.append(f"Give the test no more threads than the {run.cores} it can have.")
    return actions


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
    if not outcome.is_blocked:
        return f"{counted}; {failure(bad)}" if bad and run.started else counted
    last = next((test for test in reversed(run.tests) if test.outcome == "interrupted"), None)
    during = f" during {last.nodeid}" if last else ""
    if outcome is RunOutcome.SETUP_ERROR and bad:
        during = f" ({failure(bad)})"
    return f"blocked: the run ended with: {outcome}{during}; {counted}"


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


NOT_RECORDED = "# not recorded\n"
METADATA = "run_metadata.json"
SUMMARY = "summary.md"
METRICS = "metrics.json"
EXIT_CODE = "exit_code.txt"
RECORDS = "test_records.log"
DTYPES = "dtype_snapshot.json"
_FIGURES_SCHEMA = "nbbench.capture-figures/5"
_REDACTED = "<redacted>"
_PAIRS = ("guards", "influences", "machine", "versions", "changes_before", "changes_after")
_SESSION = ("exit_status", "python", "pytest", "torch", "torch_threads", "cores", "compiled_graphs")


def capture_status(capture: Capture) -> str:
    """PASSED, FAILED or BLOCKED with the exit code, and the reason."""
    code = "unknown" if capture.exit_code is None else capture.exit_code
    why = f": {capture.reason}" if capture.reason else ""
    return f"{capture.outcome.verdict.upper()} (exit code {code}){why}"


def commands_txt(capture: Capture) -> str:
    """STAMP, working directory and the command with its guards; the file runs as a shell script."""
    for text in (capture.cwd, *capture.command):
        if "\0" in text or "\n" in capture.cwd:
            raise EvidenceError(f"{text!r} cannot stand in commands.txt", hint="")
    lines = [
        f"# STAMP: {capture.stamp} (UTC)",
        f"# commit: {capture.commit or 'not a git checkout'}",
        f"# working directory: {capture.cwd}",
        f"# preset: {capture.preset}; outer timeout {capture.timeout_s:g} s",
    ]
    if capture.python:
        lines.append(f"# interpreter: {clean(capture.python)}")
    if capture.profile:
        lines.append("# --profile: the tests ran under torch's profiler, which makes them slower")
    lines += [f"# {name} was set; its value is not shown" for name, v in capture.influences if v == _REDACTED]
    if capture.waived or capture.sign_off:
        waives = ", ".join(capture.waived) or "nothing"
        lines.append(f"# sign-off: {clean(capture.sign_off)} (waives: {waives})")
    lines += [
        "",
        "# For a shell: nbbench itself set variables, timeout and GNU time, and ran the command last.",
        f"cd {shlex.quote(capture.cwd)}",
        *(f"export {name}={shlex.quote(v)}" for name, v in capture.influences if v != _REDACTED),
        guarded_line(capture),
    ]
    return "\n".join(lines) + "\n"


def guarded_line(capture: Capture) -> str:
    """The command behind its guards, as one line for a shell."""
    guards = [f"{name}={value}" for name, value in capture.guards]
    words = ["/usr/bin/time", "-v", "timeout", f"{capture.timeout_s:g}", "env", *guards, *capture.command]
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name.isidentifier():
        return f"{name}={shlex.quote(value)}"
    return shlex.quote(word)


def metadata_json(capture: Capture) -> str:
    """run_metadata.json: the whole capture but its figures; pairs become objects, as in an export."""
    plain = {**to_plain(capture), **{name: dict(getattr(capture, name)) for name in _PAIRS}}
    del plain["findings"], plain["files"]
    ended = capture.ended_at is not None
    return document(
        "run-metadata",
        {
            "state": "finished" if ended else "running",
            **plain,
            "status": capture_status(capture),
            "commands": [guarded_line(capture)],
            "dirty_before": bool(capture.changes_before),
            "dirty_after": bool(capture.changes_after) if ended else None,
            "nbbench": __version__,
        },
    )


def metrics_json(capture: Capture) -> str:
    """metrics.json: how the run ended and what it cost, then the figures that were read from it."""
    found = capture.findings
    own = {
        **{name: getattr(capture, name) for name in ("stamp", "cluster", "plan")},
        "commit": capture.commit or None,
        "tree": capture.tree or None,
        **{name: getattr(capture, name) for name in ("exit_code", "outcome", "usage")},
        "status": capture_status(capture),
        "verdict": capture.outcome.verdict if found else None,
        "anomalies": capture.anomalies,
    }
    return document("metrics", {**own, **(capture_metrics(found, capture.outcome) if found else {})})


def capture_metrics(found: Findings, outcome: RunOutcome) -> dict[str, Any]:
    """The part of metrics.json that the figures fill; every list names its test."""
    run = found.run
    return {
        "figures_schema": _FIGURES_SCHEMA,
        "conditions": dict(found.conditions),
        "figures": found.figures,
        "checks": found.checks,
        "tests": [
            {
                "test": test.nodeid,
                **{name: getattr(test, name) for name in ("outcome", "duration_s", "usage")},
                "message": test.message.splitlines()[0][:400] if test.message else "",
            }
            for test in (run.tests if run.started else ())
        ],
        "session": {name: getattr(run, name) for name in _SESSION},
        "disturbance": found.disturbance,
        "malloc_pinned_by": found.malloc_pinned_by,
        "disturbed": found.disturbance.disturbed,
        "profiled": found.profiled,
        "sentences": sentences(found, outcome),
        "next_actions": next_actions(found, outcome),
    }


def time_txt(usage: Usage | None, why: str) -> str:
    """What stands in for `/usr/bin/time -v`: the kernel's own figures, and why GNU time's are missing."""
    if usage is None:
        return f"# not recorded: {why}\n"
    return f"# {why}: from wait4\n" + "".join(f"{n}: {v}\n" for n, v in to_plain(usage).items())
