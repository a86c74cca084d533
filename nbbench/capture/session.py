"""One capture under way: what was asked for, its folder, and everything up to the start of its command."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import nbbench
from nbbench.capture.guards import guarded_environment, is_isolated, violations
from nbbench.capture.logs import Screen
from nbbench.capture.snapshots import WorkTree, work_tree
from nbbench.captured import Capture
from nbbench.config import Settings
from nbbench.disturbance import busy_load
from nbbench.errors import UsageError
from nbbench.measure.machine import load_now, machine_facts
from nbbench.record.atomic import write_text
from nbbench.record.projects import machine_name
from nbbench.record.redact import (
    influences,
    redact_argv,
    redact_text,
    redact_value,
    redacted_environment,
    secret_values,
)
from nbbench.record.stamp import create_folder
from nbbench.report import capture as pages
from nbbench.report.capture_page import summary_md
from nbbench.subject.profile import Preset

_PLUGIN = "nbbench_evidence"
_PLUGIN_FOLDER = Path(nbbench.__file__).parent / "capture" / "evidence_plugin"


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


class Session:
    """One capture under way. `scratch` holds what is not redacted yet: the plugin's record, a trace.

    `capture` is what is known so far, without credentials; `anomalies` and `notes` grow on the way.
    `secrets` are what no file may hold.
    """

    def __init__(
        self, settings: Settings, request: CaptureRequest, environ: Mapping[str, str], scratch: Path
    ) -> None:
        self.settings, self.request, self.scratch = settings, request, scratch
        self.environ = guarded_environment(request.preset, environ)
        self.secrets = secret_values(environ)
        self.folder = Path()
        self.opening: dict[str, str] = {}
        self.waived: tuple[str, ...] = ()
        self.notes: list[str] = []
        self.anomalies: list[str] = []

    def write(self, name: str, text: str) -> None:
        """Write one file of the folder at once, without credentials. Raises HostError."""
        write_text(self.folder / name, redact_text(text, self.secrets))

    def check(self) -> None:
        """Check the guards and look at what will run; nothing is written.

        Raises UsageError for a broken guard without sign-off.
        """
        request = self.request
        self._check_guards()
        self.before = self.tree_now()
        if self.before.problem:
            self.notes.append(f"the subject's folder is {self.before.problem}")
        if request.probe and not self.settings.is_project:
            self.notes.append("there is no nbbench project here, so nothing was tried apart from the command")
        load = load_now()
        if busy_load(load.one, load.processors):
            self.notes.append(
                f"the machine was busy before the run: load {load.one:.1f} on {load.processors} processors"
            )

    def _check_guards(self) -> None:
        request = self.request
        found = violations(request.preset, self.environ, request.command, request.timeout_s)
        if found and not request.sign_off:
            listed = redact_text("; ".join(f"{v.text} [{v.rule}]" for v in found), self.secrets)
            raise UsageError(
                f"the guards of preset {request.preset.name} do not hold: {listed}",
                hint='undo that, or pass --sign-off "who agreed, and why", which is recorded',
            )
        if request.sign_off and not found:
            self.notes.append("a sign-off was given, but no guard needed it")
        self.notes += [f"waived: {v.text} ({v.rule})" for v in found]
        self.waived = tuple(dict.fromkeys(v.rule for v in found))

    def open_folder(self) -> None:
        """Make the folder and take down everything that is known before the command starts."""
        request, before, started_at = self.request, self.before, datetime.now(UTC)
        self.folder = create_folder(request.reports, request.cluster, started_at)
        request.say(f"evidence in {self.folder}")
        guards = tuple((name, self.environ[name]) for name in request.preset.environment)
        capture = Capture(
            stamp=self.folder.name,
            cluster=request.cluster,
            plan=self.settings.plan,
            preset=request.preset.name,
            command=tuple(redact_argv(request.command, self.secrets)),
            cwd=str(request.subject),
            guards=guards,
            timeout_s=request.timeout_s or request.preset.timeout_s,
            influences=tuple(influences(self.environ, dict(guards))),
            profile=request.profile,
            started_at=started_at,
            sign_off=request.sign_off,
            waived=self.waived,
            commit=before.commit,
            tree=before.tree,
            branch=before.branch,
            changes_before=before.changes,
            machine_name=machine_name(self.settings),
            machine=tuple((n, v) for n, v in machine_facts().items() if n != "python"),
            load_before=load_text(),
        )
        self.capture = redact_value(capture, self.secrets)

    def write_opening(self) -> None:
        """Write what makes the folder of use even if nothing else ever comes. Raises HostError or OSError."""
        self._load_plugin()
        self.opening = {
            pages.SUMMARY: summary_md(self.capture),
            pages.METADATA: pages.metadata_json(self.capture),
            "commands.txt": pages.commands_txt(self.capture),
            "env.txt": "\n".join(redacted_environment(self.environ)) + "\n",
        }
        for name, text in self.opening.items():
            write_text(self.folder / name, text)

    def _load_plugin(self) -> None:
        """Have the tests recorded through the environment alone, so that PYTEST_ADDOPTS stays as it is."""
        if is_isolated(self.request.command):
            self.notes.append("an isolated interpreter ignores PYTHONPATH: no record of single tests")
            return
        environ = self.environ
        places = [str(_PLUGIN_FOLDER), environ.get("PYTHONPATH")]
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
        environ["PYTEST_PLUGINS"] = ",".join(filter(None, [environ.get("PYTEST_PLUGINS"), _PLUGIN]))
        environ["NBBENCH_EVIDENCE_RECORD"] = str(self.scratch / "record.jsonl")
        if self.request.profile:
            environ["NB_PROFILER_OUT"] = str(self.scratch / "profile.json")

    def tree_now(self) -> WorkTree:
        """The state of the subject's checkout, the reports left out."""
        subject, settings = self.request.subject, self.settings
        return work_tree(
            subject, settings.measured_path, (self.request.reports, subject / settings.reports_root)
        )


def load_text() -> str:
    """The load averages as text."""
    load = load_now()
    return f"{load.one:g} {load.five:g} {load.fifteen:g} on {load.processors} processors"
