"""What a capture must not change: the subject's work tree and the installed packages, before and after."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from nbbench.capture.guards import unwrapped
from nbbench.errors import HostError, SubjectError
from nbbench.subject.git import git, git_text

# Written by Python and the test tools beside any run; never part of what is measured.
_CACHES = frozenset(
    {
        *("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".benchmarks"),
        *(".coverage", ".nbbench", ".cache", ".ipynb_checkpoints"),
    }
)
_HASHED_BYTES = 16 * 1024 * 1024  # of larger files size and time decide
_PACKAGES_TIMEOUT_S = 60.0
_LIST_PACKAGES = """
import importlib.metadata as m, importlib.util as u, json, sys
found = {(d.metadata["Name"] or "?", d.version or "?") for d in m.distributions()}
known = {name.lower() for name, _ in found}
found |= {(name, "?") for name in ("pytest", "torch") if name not in known and u.find_spec(name)}
answer = {"executable": sys.executable, "python": sys.version.split()[0], "packages": sorted(found, key=str)}
print(json.dumps(answer))
"""
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


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that runs the command, with its packages as (name, version)."""

    executable: str
    version: str
    packages: tuple[tuple[str, str], ...]

    def version_of(self, name: str) -> str:
        """A package's version; empty when it is not installed."""
        wanted = _normal(name)
        return next((version for known, version in self.packages if _normal(known) == wanted), "")

    def versions(self, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Python's version and those of the named packages that are installed."""
        found = ((name, self.version_of(name)) for name in names)
        return (("python", self.version), *((name, version) for name, version in found if version))


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


def package_changes(before: Interpreter, after: Interpreter | None) -> list[str]:
    """Packages that came, went or changed their version, one sentence each."""
    if after is None:
        return ["the interpreter no longer answers after the run"]
    old, new = dict(before.packages), dict(after.packages)
    return [
        f"packages changed during the run: {name} {old.get(name, 'absent')} → {new.get(name, 'gone')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def find_python(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> str:
    """The interpreter that a command runs: `python …` itself, or the one in the script's first line.

    Where that line names none (a shim, a path too long for it), the `python` beside pytest; else empty.
    """
    program = unwrapped(argv)[:1]
    found = (
        shutil.which(cwd / program[0] if "/" in program[0] else program[0], path=environ.get("PATH"))
        if program
        else ""
    )
    if not found or _is_python(found):
        return str(found or "")
    try:
        with Path(found).open("rb") as stream:
            first = stream.readline(1024).decode("utf-8", "replace")
    except OSError:
        return ""
    words = [word for word in first.removeprefix("#!").split() if word[0] != "-" and "=" not in word]
    if words and PurePath(words[0]).name == "env":
        words = [shutil.which(word, path=environ.get("PATH")) or "" for word in words[1:2]]
    if first.startswith("#!") and words and _is_python(words[0]):
        return words[0]
    beside = Path(found).with_name("python")
    return str(beside) if PurePath(found).name in ("pytest", "py.test") and os.access(beside, os.X_OK) else ""


def inspect_interpreter(python: str, environ: Mapping[str, str]) -> Interpreter | None:
    """Ask the interpreter for its version and packages; None when it does not answer."""
    try:
        done = subprocess.run(
            [python, "-c", _LIST_PACKAGES],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=dict(environ),
            cwd="/",
            timeout=_PACKAGES_TIMEOUT_S,
        )
        answer = json.loads(done.stdout.decode("utf-8", "replace").strip().splitlines()[-1])
        packages = tuple((str(name), str(version)) for name, version in answer["packages"])
        return Interpreter(str(answer["executable"]), str(answer["python"]), packages)
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError, KeyError, TypeError):
        return None


def _is_python(path: str) -> bool:
    return re.fullmatch(r"(?:python|pypy)[0-9.]*", PurePath(path).name) is not None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


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
