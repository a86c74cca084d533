"""The files of a captured run's evidence folder, before the command starts and after it ended.

Nothing here redacts: callers pass facts that went through `nbbench.record.redact` already.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nbbench import __version__
from nbbench.captured import Findings, RunOutcome, Usage
from nbbench.documents import document
from nbbench.errors import EvidenceError
from nbbench.model import to_plain
from nbbench.report.capture_figures import metrics
from nbbench.words import clean

NOT_RECORDED = "# not recorded\n"
METADATA = "run_metadata.json"
SUMMARY = "summary.md"
METRICS = "metrics.json"
EXIT_CODE = "exit_code.txt"
RECORDS = "test_records.log"
DTYPES = "dtype_snapshot.json"
_REDACTED = "<redacted>"
_PAIRS = ("guards", "influences", "machine", "versions", "changes_before")
_ENDED = ("exit_code", "outcome", "ended_at", "elapsed_s", "load_after", "usage", "time_source")
_JOURNAL = ("pid", "started_ticks", "boot", "scratch")  # of no use once the capture is over


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStart:
    """What is known when the command starts; written to run_metadata.json, which is the journal.

    `guards` are the preset's variables with the values that the command really gets, `influences` the
    user's own that can change what it does; `profile` says that torch's profiler was asked for. `waived`
    names the rules that `sign_off` set aside. `commit` and `tree` (of the measured path) are empty outside of
    git. `pid`, `started_ticks` and `boot` tell whether the capture is still alive, `scratch` is its folder
    for what is not evidence yet.
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
    """How it ended. `exit_code` is None where it is not known; `signalled` is the signal that nbbench got.

    `recovered` says that nbbench was killed and the folder completed later. `anomalies` say that the run was
    not evidence only, or that evidence is missing.
    """

    outcome: RunOutcome
    exit_code: int | None = None
    reason: str = ""
    ended_at: datetime | None = None
    elapsed_s: float | None = None
    usage: Usage | None = None
    signalled: int = 0
    recovered: bool = False
    anomalies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    findings: Findings | None = None
    commit_after: str = ""
    changes_after: tuple[tuple[str, str], ...] = ()
    load_after: str = ""
    time_source: str = ""
    files: tuple[str, ...] = ()

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What is worth knowing of the run and of its figures, each once."""
        return tuple(dict.fromkeys([*self.notes, *(self.findings.notes if self.findings else ())]))

    @property
    def all_anomalies(self) -> tuple[str, ...]:
        """Anomalies of the run and of its figures."""
        return (*self.anomalies, *(self.findings.anomalies if self.findings else ()))

    @property
    def status(self) -> str:
        """PASSED, FAILED or BLOCKED with the exit code, and the reason."""
        word = "BLOCKED" if self.outcome.is_blocked else self.outcome.upper()
        code = "unknown" if self.exit_code is None else self.exit_code
        return f"{word} (exit code {code}){f': {self.reason}' if self.reason else ''}"


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
    offered = (
        "# For a shell: nbbench itself set the variables, the timeout and GNU time, and ran the command last."
    )
    return (
        "\n".join([*lines, "", offered, f"cd {shlex.quote(start.cwd)}", *exports, guarded_line(start)]) + "\n"
    )


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


def read_start(journal: Mapping[str, Any]) -> CaptureStart:
    """A journal's content. Raises EvidenceError when it is not one of a capture."""
    try:
        values = {f.name: _thawed(journal[f.name]) for f in dataclasses.fields(CaptureStart)}
        values["started_at"] = datetime.fromisoformat(journal["started_at"])
        return CaptureStart(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"{METADATA} is not the journal of a capture", hint="") from error


def _thawed(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(_thawed(item) for item in value) if isinstance(value, list) else value


def metadata_json(start: CaptureStart, end: CaptureEnd) -> str:
    """run_metadata.json of a finished capture."""
    begun = {name: value for name, value in _plain_start(start).items() if name not in _JOURNAL}
    return document(
        "run-metadata",
        {
            "state": "recovered" if end.recovered else "finished",
            **begun,
            "status": end.status,
            **{name: to_plain(getattr(end, name)) for name in _ENDED},
            "dirty_before": bool(start.changes_before),
            "dirty_after": None if end.recovered else bool(end.changes_after),
            "commit_after": end.commit_after or None,
            "changes_after": dict(end.changes_after),
            "anomalies": end.all_anomalies,
            "notes": end.all_notes,
            "nbbench": __version__,
        },
    )


def metrics_json(start: CaptureStart, end: CaptureEnd) -> str:
    """metrics.json: how the run ended and what it cost, then the figures that were read from it."""
    found = end.findings
    own = {
        **{name: getattr(start, name) for name in ("stamp", "cluster", "plan")},
        "commit": start.commit or None,
        "tree": start.tree or None,
        **{name: getattr(end, name) for name in ("exit_code", "outcome", "status", "usage")},
        "verdict": found.verdict if found else None,
        "cause": found.cause if found else None,
        "anomalies": end.all_anomalies,
    }
    return document("metrics", {**own, **(metrics(found, end.outcome) if found else {})})


def time_txt(usage: Usage | None, command: Sequence[str], exit_code: int, why: str) -> str:
    """The fields of `/usr/bin/time -v` from the kernel's own figures (wait4), said so in the first line."""
    if usage is None:
        return f"# not recorded: {why}\n"
    share = f"{100 * usage.cpu_s / usage.wall_s:.0f}%" if usage.wall_s else "?%"
    minutes, seconds = divmod(usage.wall_s, 60)
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
