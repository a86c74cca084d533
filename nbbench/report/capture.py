"""The files of a captured run's evidence folder, before the command starts and after it ended.

Nothing here redacts: callers pass a command, an environment and texts that went through
`nbbench.record.redact` already.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbbench import __version__
from nbbench.captured import CaptureFacts, Enrichment, RunOutcome, RunUsage
from nbbench.documents import document
from nbbench.errors import EvidenceError
from nbbench.model import to_plain
from nbbench.words import clean

NOT_RECORDED = "# not recorded\n"
METADATA = "run_metadata.json"
SUMMARY = "summary.md"
METRICS = "metrics.json"
EXIT_CODE = "exit_code.txt"
RECORDS = "test_records.log"
_REDACTED = "<redacted>"
_PAIRS = ("guards", "influences", "machine", "versions", "changes_before")

_WORDS = {
    RunOutcome.PASSED: "PASSED",
    RunOutcome.FAILED: "FAILED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStart:
    """What is known when the command starts; written to run_metadata.json, which is the journal.

    `guards` are the preset's variables with the values that the command really gets, `influences` the
    user's own that can change what it does; `profile` says that torch's profiler was asked for. `waived`
    names the rules that `sign_off` set aside. `pid`, `started_ticks` and `boot` tell whether the
    capture is still alive, `scratch` is its folder for what is not evidence yet.
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
    pid: int = 0
    started_ticks: int = 0
    boot: str = ""
    scratch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureEnd:
    """How it ended. `facts` is None for a capture that was killed and recovered later.

    `anomalies` say that the run was not evidence only, or that evidence is missing.
    """

    facts: CaptureFacts | None
    reason: str = ""
    anomalies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    enrichment: Enrichment | None = None
    commit_after: str = ""
    changes_after: tuple[tuple[str, str], ...] = ()
    load_after: str = ""
    time_source: str = ""
    exit_code_text: str = ""
    files: tuple[str, ...] = field(default=())


def is_blocked(outcome: RunOutcome) -> bool:
    """Whether a run with this outcome gave no answer, neither a pass nor a failed test."""
    return outcome not in _WORDS


def all_notes(end: CaptureEnd) -> list[str]:
    """What is worth knowing of the run and of its figures, each once."""
    return list(dict.fromkeys([*end.notes, *(end.enrichment.notes if end.enrichment else ())]))


def status_line(end: CaptureEnd) -> str:
    """PASSED, FAILED or BLOCKED with the exit code, and the reason."""
    if end.facts is None:
        return f"BLOCKED (exit code {end.exit_code_text or 'unknown'}): {end.reason}"
    word = _WORDS.get(end.facts.outcome, "BLOCKED")
    reason = f": {end.reason}" if end.reason else ""
    return f"{word} (exit code {end.facts.exit_code}){reason}"


def commands_txt(start: CaptureStart) -> str:
    """STAMP, working directory and the command with its guards; the file runs as a shell script."""
    for text in (start.cwd, *start.command):
        if "\0" in text or "\n" in start.cwd:
            raise EvidenceError(f"{text!r} cannot stand in commands.txt", hint="")
    lines = [
        f"# STAMP: {start.stamp} (UTC)",
        f"# commit: {start.commit or 'not a git checkout'}",
        f"# working directory: {start.cwd}",
        f"# preset: {start.preset}; outer timeout {start.timeout_s:g} s",
    ]
    if start.python:
        lines.append(f"# interpreter: {clean(start.python)}")
    if start.profile:
        lines.append("# --profile: the tests ran under torch's profiler, which makes them slower")
    lines += [f"# {name} was set; its value is not shown" for name, v in start.influences if v == _REDACTED]
    if start.waived or start.sign_off:
        lines.append(f"# sign-off: {clean(start.sign_off)} (waives: {', '.join(start.waived) or 'nothing'})")
    exports = [f"export {name}={shlex.quote(v)}" for name, v in start.influences if v != _REDACTED]
    return "\n".join([*lines, "", f"cd {shlex.quote(start.cwd)}", *exports, guarded_line(start)]) + "\n"


def guarded_line(start: CaptureStart) -> str:
    """The command behind its guards, as one line for a shell."""
    guards = [f"{name}={value}" for name, value in start.guards]
    words = ["/usr/bin/time", "-v", "timeout", f"{start.timeout_s:g}", "env", *guards, *start.command]
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name.isidentifier():
        return f"{name}={shlex.quote(value)}"
    return shlex.quote(word)


def opening_metadata(start: CaptureStart) -> str:
    """run_metadata.json while the command runs: the journal from which a killed capture is recovered."""
    return document("run-metadata", {"state": "running", **_plain_start(start), "nbbench": __version__})


def _plain_start(start: CaptureStart) -> dict[str, Any]:
    """JSON-ready values; pairs become objects, as `nbbench export` writes them."""
    pairs = {name: dict(getattr(start, name)) for name in _PAIRS}
    return {**to_plain(start), **pairs, "commands": [guarded_line(start)]}


def read_start(told: Mapping[str, Any]) -> CaptureStart:
    """A journal's content. Raises EvidenceError when it is not one of a capture."""
    try:
        values = {f.name: _thawed(told[f.name]) for f in dataclasses.fields(CaptureStart)}
        values["started_at"] = datetime.fromisoformat(told["started_at"])
        return CaptureStart(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"{METADATA} is not the journal of a capture", hint="") from error


def _thawed(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(_thawed(item) for item in value) if isinstance(value, list) else value


def metadata_json(start: CaptureStart, end: CaptureEnd) -> str:
    """run_metadata.json of a finished capture."""
    facts = end.facts
    journal = ("pid", "started_ticks", "boot", "scratch")  # of no use once the capture is over
    begun = {name: value for name, value in _plain_start(start).items() if name not in journal}
    return document(
        "run-metadata",
        {
            "state": "finished" if facts else "recovered",
            **begun,
            "status": status_line(end),
            "exit_code": facts.exit_code if facts else None,
            "outcome": str(facts.outcome) if facts else "unknown",
            "ended_at": to_plain(facts.ended_at) if facts else None,
            "elapsed_s": (facts.ended_at - facts.started_at).total_seconds() if facts else None,
            "dirty_before": bool(start.changes_before),
            "dirty_after": bool(end.changes_after) if facts else None,
            "commit_after": end.commit_after if facts else None,
            "changes_after": dict(end.changes_after),
            "load_after": end.load_after,
            "usage": facts.usage if facts else None,
            "time_source": end.time_source,
            "anomalies": end.anomalies,
            "notes": all_notes(end),
            "nbbench": __version__,
        },
    )


def metrics_json(start: CaptureStart, end: CaptureEnd) -> str:
    """metrics.json: how the run ended and what it cost, then the figures that were read from it."""
    facts = end.facts
    own = {
        "stamp": start.stamp,
        "cluster": start.cluster,
        "plan": start.plan,
        "commit": start.commit or None,
        "tree": start.tree or None,
        "exit_code": facts.exit_code if facts else None,
        "outcome": str(facts.outcome) if facts else "unknown",
        "status": status_line(end),
        "usage": facts.usage if facts else None,
        "verdict": end.enrichment.verdict if end.enrichment else None,
        "cause": end.enrichment.cause if end.enrichment else None,
        "anomalies": end.anomalies,
    }
    added = end.enrichment.metrics if end.enrichment else {}
    return document("metrics", {**own, **{k: v for k, v in added.items() if k not in (*own, "schema")}})


def time_txt(usage: RunUsage | None, command: Sequence[str], exit_code: int, why: str) -> str:
    """The fields of `/usr/bin/time -v` from the kernel's own figures (wait4), said so in the first line."""
    if usage is None:
        return f"# not recorded: {why}\n"
    busy = usage.user_s + usage.system_s
    share = f"{100 * busy / usage.elapsed_s:.0f}%" if usage.elapsed_s else "?%"
    minutes, seconds = divmod(usage.elapsed_s, 60)
    hours, minutes = divmod(int(minutes), 60)
    clock = f"{hours}:{minutes:02d}:{seconds:05.2f}" if hours else f"{minutes}:{seconds:05.2f}"
    rows = (
        ("Command being timed", f'"{" ".join(command)}"'),
        ("User time (seconds)", f"{usage.user_s:.2f}"),
        ("System time (seconds)", f"{usage.system_s:.2f}"),
        ("Percent of CPU this job got", share),
        ("Elapsed (wall clock) time (h:mm:ss or m:ss)", clock),
        ("Maximum resident set size (kbytes)", usage.max_rss_bytes // 1024),
        ("Major (requiring I/O) page faults", usage.major_faults),
        ("Minor (reclaiming a frame) page faults", usage.minor_faults),
        ("Voluntary context switches", usage.voluntary_switches),
        ("Involuntary context switches", usage.involuntary_switches),
        ("File system inputs", usage.blocks_in),
        ("File system outputs", usage.blocks_out),
        ("Exit status", exit_code),
    )
    return f"# {why}: the same fields from wait4\n" + "".join(f"\t{name}: {value}\n" for name, value in rows)
