"""The files of a captured run's evidence folder, before the command starts and after it ended.

Nothing here redacts: callers pass facts that went through `nbbench.record.redact` already.
"""

from __future__ import annotations

import shlex
from typing import Any

from nbbench import __version__, units
from nbbench.captured import Capture, Findings, RunOutcome, Usage
from nbbench.documents import document
from nbbench.errors import EvidenceError
from nbbench.model import to_plain
from nbbench.report.capture_sentences import next_actions, sentences
from nbbench.words import clean

NOT_RECORDED = "# not recorded\n"
METADATA = "run_metadata.json"
SUMMARY = "summary.md"
METRICS = "metrics.json"
EXIT_CODE = "exit_code.txt"
RECORDS = "test_records.log"
DTYPES = "dtype_snapshot.json"
_FIGURES_SCHEMA = "nbbench.capture-figures/4"
_REDACTED = "<redacted>"
_PAIRS = ("guards", "influences", "machine", "versions", "changes_before", "changes_after")
_SESSION = ("exit_status", "python", "pytest", "torch", "torch_threads", "cores", "compiled_graphs")


def capture_status(capture: Capture) -> str:
    """PASSED, FAILED or BLOCKED with the exit code, and the reason."""
    word = "BLOCKED" if capture.outcome.is_blocked else capture.outcome.upper()
    code = "unknown" if capture.exit_code is None else capture.exit_code
    return f"{word} (exit code {code}){f': {capture.reason}' if capture.reason else ''}"


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
        "verdict": found.verdict if found else None,
        "cause": found.cause if found else None,
        "anomalies": capture.anomalies,
    }
    return document("metrics", {**own, **(capture_metrics(found, capture.outcome) if found else {})})


def capture_metrics(found: Findings, outcome: RunOutcome) -> dict[str, Any]:
    """The part of metrics.json that the figures fill; every list names its test."""
    run = found.run
    return {
        "figures_schema": _FIGURES_SCHEMA,
        "conditions": dict(found.conditions),
        "figures": [{**to_plain(figure), "source": "printed"} for figure in found.figures] + _derived(found),
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
        "next_actions": next_actions(found),
    }


def _derived(found: Findings) -> list[dict[str, Any]]:
    """The legacy bandwidth in full precision, and what the ledger makes of the same times."""
    made: list[dict[str, Any]] = []
    test = found.figures[0].test if len({f.test for f in found.figures}) == 1 else ""
    for row in found.bandwidths:
        common = {"size": row.size, "dtype": row.dtype, "test": test, "source": "derived"}
        for name, value, unit in (
            ("legacy bandwidth", row.legacy / units.GIB, "GiB/s (legacy)"),
            ("achieved bandwidth", row.rate, "B/s"),
        ):
            if value is not None:
                made.append({"name": f"{name} {row.size}²", "value": value, "unit": unit, **common})
    return made


def time_txt(usage: Usage | None, why: str) -> str:
    """What stands in for `/usr/bin/time -v`: the kernel's own figures, and why GNU time's are missing."""
    if usage is None:
        return f"# not recorded: {why}\n"
    return f"# {why}: from wait4\n" + "".join(f"{n}: {v}\n" for n, v in to_plain(usage).items())
