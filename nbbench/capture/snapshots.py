"""What a capture must not change: the subject's work tree and the installed packages, before and after."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from nbbench.captured import TestRun
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
