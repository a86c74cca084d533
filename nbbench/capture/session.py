"""One capture under way: what was asked for, its folder, and everything up to the start of its command; what
it must not change: the subject's work tree and the installed packages, before and after.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath

import nbbench
from nbbench.capture.guards import guarded_environment, is_isolated, violations
from nbbench.capture.logs import Screen
from nbbench.captured import Capture, TestRun
from nbbench.config import Settings
from nbbench.disturbance import busy_load
from nbbench.errors import HostError, SubjectError, UsageError
from nbbench.measure.machine import machine_facts
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
from nbbench.report.stamp_page import summary_md
from nbbench.subject.git import git, git_text
from nbbench.subject.profile import Preset

# Written by Python and the test tools beside any run; never part of what is measured.
_CACHES = frozenset(
    {
        *("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".benchmarks"),
        *(".coverage", ".nbbench", ".cache", ".ipynb_checkpoints"),
    }
)
_HASHED_BYTES = 16 * 1024 * 1024  # of larger files size and time decide
_STATUS = (
    *("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty"),
)
_WORDS = {"??": "untracked", "M": "modified", "D": "deleted", "A": "added"}


@dataclass(frozen=True, slots=True)
class WorkTree:
    """A checkout at one moment; empty texts outside of git.

    `tree` is the object id of the measured path at `commit`; `changes` maps each changed or
    untracked file to a word about it and its content's digest.
    """

    commit: str = ""
    tree: str = ""
    branch: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    problem: str = ""


def work_tree(checkout: Path, measured_path: str, ignored: Sequence[Path] = ()) -> WorkTree:
    """The state of the checkout; untracked files below `ignored` and in caches are left out.

    Nothing is written, git's index included. A folder that is no checkout gives the problem.
    """
    try:
        top = Path(git_text(checkout, ["rev-parse", "--show-toplevel"]))
        commit = git_text(checkout, ["rev-parse", "--verify", "HEAD"])
        listing = git(checkout, _STATUS)
    except (SubjectError, HostError) as error:
        return WorkTree(problem=f"not a git checkout with a commit ({error})")
    skipped = [path.resolve() for path in ignored]
    changes = []
    for entry in filter(None, listing.split(b"\0")):
        word, name = entry[:2].decode(), os.fsdecode(entry[3:])
        if word != "??" or not _is_skipped(top / name, name, skipped):
            changes.append((name, f"{_WORDS.get(word.strip(), 'changed')} {_digest(top / name)}"))
    tree = _answer(checkout, ["rev-parse", "--verify", "--quiet", f"HEAD:{measured_path}"])
    branch = _answer(checkout, ["symbolic-ref", "--quiet", "--short", "HEAD"])
    return WorkTree(commit, tree, branch, tuple(sorted(changes)))


def tree_changes(before: WorkTree, after: WorkTree) -> list[str]:
    """What a run changed, one sentence each."""
    said = []
    if before.commit != after.commit:
        said.append(
            f"the checkout moved from {before.commit[:8]} to {after.commit[:8] or 'nothing'} during the run"
        )
    old, new = dict(before.changes), dict(after.changes)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            said.append(
                f"the work tree changed during the run: {name} ({new.get(name, 'restored').split(' ')[0]})"
            )
    return said


def package_changes(run: TestRun) -> list[str]:
    """Packages that came, went or changed their version while the tests ran, one sentence each."""
    old, new = run.packages, run.packages if run.packages_after is None else run.packages_after
    return [
        f"packages changed during the run: {name} {old.get(name, 'absent')} → {new.get(name, 'gone')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _is_skipped(path: Path, name: str, skipped: Sequence[Path]) -> bool:
    if any(part in _CACHES for part in PurePath(name).parts) or name.endswith((".pyc", ".pyo")):
        return True
    resolved = path.parent.resolve() / path.name
    return any(resolved.is_relative_to(folder) for folder in skipped)


def _digest(path: Path) -> str:
    try:
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > _HASHED_BYTES:
            return f"{state.st_size} bytes of {state.st_mtime_ns}"
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
    except OSError:
        return "absent"


def _answer(checkout: Path, arguments: Sequence[str]) -> str:
    try:
        return git_text(checkout, arguments)
    except SubjectError:
        return ""


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
        self.before = self.tree_now()
        if self.before.problem:
            self.notes.append(f"the subject's folder is {self.before.problem}")
        if request.preset.dtype_audit and not self.settings.is_project:
            self.notes.append("there is no nbbench project here, so there is no dtype audit")
        load, processors = os.getloadavg()[0], os.cpu_count() or 1
        if busy_load(load, processors):
            self.notes.append(
                f"the machine was busy before the run: load {load:.1f} on {processors} processors"
            )

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
    return f"{' '.join(f'{load:g}' for load in os.getloadavg())} on {os.cpu_count() or 1} processors"
