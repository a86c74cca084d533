"""One capture under way: what was asked for, its folder, and everything up to the start of its command."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import nbbench
from nbbench.capture.guards import guarded_environment, is_pytest, unwrap, violations
from nbbench.capture.liveness import boot_id, start_ticks
from nbbench.capture.logs import Screen
from nbbench.capture.snapshots import Interpreter, WorkTree, find_python, inspect_interpreter, work_tree
from nbbench.config import Settings
from nbbench.disturbance import busy_load
from nbbench.errors import HostError, UsageError
from nbbench.measure.machine import load_now, machine_facts
from nbbench.record.atomic import write_text
from nbbench.record.machines import machine_name
from nbbench.record.redact import (
    influences,
    redact_argv,
    redact_text,
    redact_value,
    redacted_environment,
    secret_values,
)
from nbbench.report import capture as pages
from nbbench.report.capture_summary import opening_summary
from nbbench.subject.presets import Preset

RESERVE = ".nbbench-reserve"
# Room for the last words on a full disk: exit code, summary, metadata, checksums.
RESERVE_BYTES = 256 * 1024
_PLUGIN = "nbbench_evidence"
_PLUGIN_FOLDER = Path(nbbench.__file__).parent / "capture" / "evidence_plugin"
_VERSIONS = (
    *("torch", "numpy", "scipy", "triton", "mkl", "intel-openmp", "pytest", "pytest-timeout"),
    *("pytest-xdist",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """What the user asked for. `timeout_s` None means the preset's."""

    preset: Preset
    command: tuple[str, ...]
    cluster: str
    subject: Path
    reports: Path
    timeout_s: float | None = None
    sign_off: str = ""
    profile: bool = False
    probe: bool = True
    screens: tuple[Screen, Screen] = field(default_factory=lambda: (Screen(None), Screen(None)))
    say: Callable[[str], None] = lambda _: None


@dataclass(slots=True, kw_only=True)
class Session:
    """One capture's state. `scratch` holds what is not redacted yet: the plugin's record, a trace.

    `opening` holds the pages written before the command starts, by name; `anomalies` and `notes`
    grow on the way; `interpreter` is None where it is not known. `secrets` are what no file may hold.
    """

    settings: Settings
    request: CaptureRequest
    environ: dict[str, str]
    secrets: tuple[str, ...]
    scratch: Path
    waived: tuple[str, ...] = ()
    python: str = ""
    interpreter: Interpreter | None = None
    before: WorkTree = field(default_factory=WorkTree)
    folder: Path = field(default_factory=Path)
    opening: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    anomalies: list[str] = field(default_factory=list)

    @property
    def timeout_s(self) -> float:
        """The outer timeout."""
        return self.request.timeout_s or self.request.preset.timeout_s

    @property
    def record(self) -> Path:
        """Where the pytest plugin writes."""
        return self.scratch / "record.jsonl"

    @property
    def trace(self) -> Path:
        """Where --profile has the trace written."""
        return self.scratch / "profile.json"

    def write(self, name: str, text: str) -> None:
        """Write one file of the folder at once, without credentials. Raises HostError."""
        write_text(self.folder / name, redact_text(text, self.secrets))

    def tree_now(self) -> WorkTree:
        """The state of the subject's checkout, the reports left out."""
        usual = self.request.subject / self.settings.reports_root
        return work_tree(self.request.subject, self.settings.measured_path, (self.request.reports, usual))


def open_session(
    settings: Settings, request: CaptureRequest, environ: Mapping[str, str], scratch: Path
) -> Session:
    """Check the guards and look at what will run; nothing is written.

    Raises UsageError for a broken guard without sign-off, HostError for an interpreter that
    cannot run the guarded command.
    """
    session = Session(
        settings=settings,
        request=request,
        environ=guarded_environment(request.preset, environ),
        secrets=secret_values(environ),
        scratch=scratch,
    )
    _check_guards(session)
    session.python = find_python(request.command, request.subject, session.environ)
    if session.python:
        session.interpreter = inspect_interpreter(session.python, session.environ)
    _check_pytest(session)
    session.before = session.tree_now()
    if session.before.problem:
        session.notes.append(f"the subject's folder is {session.before.problem}")
    if request.probe and not settings.is_project:
        session.notes.append("there is no nbbench project here, so nothing was tried apart from the command")
    return session


def capture_start(session: Session, started_at: datetime) -> pages.CaptureStart:
    """Everything that is known before the command starts, without credentials."""
    request, before, found = session.request, session.before, session.interpreter
    load = load_now()
    if busy_load(load.one, load.processors):
        session.notes.append(
            f"the machine was busy before the run: load {load.one:g} on {load.processors} processors"
        )
    guards = tuple((name, session.environ[name]) for name in request.preset.environment)
    start = pages.CaptureStart(
        stamp=session.folder.name,
        cluster=request.cluster,
        plan=session.settings.plan,
        preset=request.preset.name,
        command=tuple(redact_argv(request.command, session.secrets)),
        cwd=str(request.subject),
        guards=guards,
        timeout_s=session.timeout_s,
        influences=tuple(influences(session.environ, dict(guards))),
        profile=request.profile,
        started_at=started_at,
        sign_off=request.sign_off,
        waived=session.waived,
        commit=before.commit,
        tree=before.tree,
        branch=before.branch,
        changes_before=before.changes,
        python=found.executable if found else session.python,
        machine_name=machine_name(session.settings),
        machine=tuple((n, v) for n, v in machine_facts().items() if n != "python"),
        versions=found.versions(_VERSIONS) if found else (),
        load_before=load_text(),
        pid=os.getpid(),
        started_ticks=start_ticks(os.getpid()),
        boot=boot_id(),
        scratch=str(session.scratch),
    )
    return redact_value(start, session.secrets)


def open_folder(session: Session, start: pages.CaptureStart) -> None:
    """Write what makes the folder of use even if nothing else ever comes. Raises HostError or OSError."""
    _load_plugin(session)
    (session.folder / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)
    environment = redacted_environment(session.environ)
    session.opening = {
        pages.SUMMARY: opening_summary(start),
        pages.METADATA: pages.opening_metadata(start),
        "commands.txt": pages.commands_txt(start),
        "env.txt": "\n".join(environment) + "\n",
    }
    for name, text in session.opening.items():
        write_text(session.folder / name, text)


def load_text() -> str:
    """The load averages as text."""
    load = load_now()
    return f"{load.one:g} {load.five:g} {load.fifteen:g} on {load.processors} processors"


def _check_guards(session: Session) -> None:
    request = session.request
    found = violations(request.preset, session.environ, request.command, request.timeout_s)
    if found and not request.sign_off:
        listed = redact_text("; ".join(f"{v.text} [{v.rule}]" for v in found), session.secrets)
        raise UsageError(
            f"the guards of preset {request.preset.name} do not hold: {listed}",
            hint='undo that, or pass --sign-off "who agreed, and why", which is recorded',
        )
    if request.sign_off and not found:
        session.notes.append("a sign-off was given, but no guard needed it")
    session.notes += [f"waived: {v.text} ({v.rule})" for v in found]
    session.waived = tuple(dict.fromkeys(v.rule for v in found))


def _check_pytest(session: Session) -> None:
    """Without pytest nothing runs; the guarded string has --timeout, which needs pytest-timeout."""
    found = session.interpreter
    if found is None or not is_pytest(session.request.command):
        return
    if not found.version_of("pytest"):
        raise HostError(
            f"pytest is not installed for {found.executable}, which the command runs",
            hint="nothing was started; activate the subject's environment, or name its pytest",
        )
    timed = "--timeout" in session.environ.get("PYTEST_ADDOPTS", "")
    if timed and not found.version_of("pytest-timeout"):
        raise HostError(
            f"pytest-timeout is not installed for {found.executable}, and PYTEST_ADDOPTS has --timeout",
            hint="nothing was started; install it there, or agree on another PYTEST_ADDOPTS with --sign-off",
        )


def _load_plugin(session: Session) -> None:
    """Have the tests recorded through the environment alone, so that PYTEST_ADDOPTS stays as it is."""
    program = unwrap(session.request.command).program
    if any(re.fullmatch(r"-[a-zA-Z]*[IE][a-zA-Z]*", word) for word in program[1:3]):
        session.notes.append("an isolated interpreter ignores PYTHONPATH: no record of single tests")
        return
    environ = session.environ
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_PLUGIN_FOLDER), environ.get("PYTHONPATH")]))
    environ["PYTEST_PLUGINS"] = ",".join(filter(None, [environ.get("PYTEST_PLUGINS"), _PLUGIN]))
    environ["NBBENCH_EVIDENCE_RECORD"] = str(session.record)
    if session.request.profile:
        environ["NB_PROFILER_OUT"] = str(session.trace)
