"""The program that criteria compare with, such as a C original: built from the subject's sources, or named.

It lies in the state folder, which git ignores, beside a record of how it was made.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from nbbench.config import Settings
from nbbench.errors import HostError, SubjectError, UsageError
from nbbench.record.atomic import host_error, write_bytes
from nbbench.subject.git import git
from nbbench.subject.profile import Reference, load_profile
from nbbench.subject.repository import describe, open_subject
from nbbench.words import last_line

_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class ReferenceProgram:
    """A program and its origin: commit and compiler are empty where it was built elsewhere."""

    path: str
    sha256: str
    commit: str = ""
    compiler: str = ""
    flags: tuple[str, ...] = ()


def build_reference(settings: Settings, commit: str = "") -> ReferenceProgram:
    """Compile the reference from a commit's source (default: the branch's newest) into the state folder.

    Raises UsageError where the subject has no reference, SubjectError where the commit has no source,
    HostError without a compiler or where it fails.
    """
    asked, subject = _reference(settings), open_subject(settings)
    place = describe(subject, commit or subject.branch).hash
    try:
        source = git(subject.git_dir, ["cat-file", "blob", f"{place}:{asked.source}"])
    except SubjectError as error:
        hint = "`nbbench subject c-reference use PATH` names a program that was built elsewhere"
        raise SubjectError(str(error), hint=hint) from error
    compiler = os.environ.get("CC") or "gcc"
    if shutil.which(compiler) is None:
        raise HostError(f"there is no program {compiler!r}", hint="install gcc, or name another in CC")
    folder = settings.state_dir / "reference"
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "program"
        (Path(scratch) / "program.c").write_bytes(source)
        command = [compiler, *asked.flags, "-w", "-o", str(made), f"{made}.c", *asked.libraries]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise HostError(f"{compiler} took more than {_LIMIT_S:g} s") from error
        if done.returncode:
            raise HostError(f"{compiler} fails: {last_line(done.stderr, 'no message')}")
        version = subprocess.run([compiler, "--version"], capture_output=True, text=True, errors="replace")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(made, folder / "program.new")  # a program that runs now is not written over
            (folder / "program.new").replace(folder / "program")
        except OSError as error:
            raise host_error(folder, error) from error
    named = next(iter(version.stdout.splitlines()), compiler)
    flags = (*asked.flags, *asked.libraries)
    return _keep(settings, ReferenceProgram(str(folder / "program"), "", place, named, flags))


def use_reference(settings: Settings, path: Path) -> ReferenceProgram:
    """Compare with a program that was built elsewhere. Raises UsageError where it is not executable."""
    _reference(settings)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise UsageError(f"{path} is not an executable file")
    return _keep(settings, ReferenceProgram(str(path.resolve()), ""))


def reference_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that names the reference to what measures; empty where the environment has one."""
    asked = load_profile(settings).reference
    if asked is None or environ.get(asked.variable):
        return {}
    try:
        kept = msgspec.json.decode(_record(settings).read_bytes(), type=ReferenceProgram)
    except (OSError, msgspec.MsgspecError):
        return {}
    return {asked.variable: kept.path} if Path(kept.path).is_file() else {}


def _reference(settings: Settings) -> Reference:
    if (found := load_profile(settings).reference) is None:
        raise UsageError(
            "this subject has no reference program", hint="its profile names one: docs/subject.md"
        )
    return found


def _record(settings: Settings) -> Path:
    return settings.state_dir / "reference" / "program.json"


def _keep(settings: Settings, program: ReferenceProgram) -> ReferenceProgram:
    digest = hashlib.sha256(Path(program.path).read_bytes()).hexdigest()
    kept = ReferenceProgram(**{**asdict(program), "sha256": digest})
    path = _record(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, msgspec.json.encode(kept))
    return kept
