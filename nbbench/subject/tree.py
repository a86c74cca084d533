"""Extracting one commit's source tree without a checkout; equal trees are extracted once."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nbbench.errors import HostError, SubjectError
from nbbench.subject.git import git

_KEEP = 64  # extracted trees kept for the next run; a tree is about 1 MB
_DRAFT = ".extract-"
_BATCH = 1000  # files that are in memory at a time
_LINK, _SUBMODULE, _PROGRAM = "120000", "160000", "100755"
_ABANDONED_S = 3600.0  # an extraction takes well under a second


class UnfitTree(SubjectError):
    """The commit itself cannot be measured, wherever it is extracted."""


def extract_tree(git_dir: Path, commit: str, tree: str, measured_path: str, trees_dir: Path) -> Path:
    """Extract `measured_path` of `commit` below `trees_dir` and return the folder.

    The folder is named after the tree's object id, so commits with equal trees share it; it
    appears by rename, so a killed extraction leaves nothing half-written. Files are those of the
    commit, whatever its attributes say. Raises UnfitTree when a link leads out of the tree, SubjectError when
    objects are missing, HostError when the disk refuses.
    """
    target = trees_dir / tree[:16]
    if target.is_dir():
        with contextlib.suppress(OSError):  # a project that cannot be written is not pruned either
            os.utime(target)
        return target
    try:
        entries = _entries(git_dir, commit, measured_path)
        trees_dir.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=trees_dir))
        try:
            for start in range(0, len(entries), _BATCH):
                _write_entries(git_dir, entries[start : start + _BATCH], fresh)
            _check_links(fresh, [fresh / entry.path for entry in entries if entry.mode == _LINK])
            _publish(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except UnfitTree as error:
        raise UnfitTree(f"commit {commit[:8]} cannot be extracted: {error}", hint="leave it out") from error
    except SubjectError as error:
        raise SubjectError(
            f"commit {commit[:8]} cannot be extracted: {error}",
            hint="its objects are missing from the clone: fetch them, or leave the commit out",
        ) from error
    except OSError as error:
        raise HostError(f"cannot extract commit {commit[:8]}: {error}") from error
    _prune(trees_dir)
    return target


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file, link or submodule of a commit."""

    mode: str
    blob: str
    path: str


def _entries(git_dir: Path, commit: str, measured_path: str) -> list[_Entry]:
    """Everything below the measured path. Raises SubjectError where there is nothing."""
    path = PurePosixPath(measured_path).as_posix()
    where = [] if path == "." else ["--", path]
    listing = git(git_dir, ["ls-tree", "-r", "-z", "--full-tree", commit, *where])
    found = []
    for line in filter(None, listing.split(b"\0")):
        facts, _, name = line.partition(b"\t")
        mode, _, blob = facts.decode("ascii").split(" ")
        found.append(_Entry(mode, blob, os.fsdecode(name)))
    if not found:
        raise SubjectError(f"there is no {measured_path}")
    if odd := [e.path for e in found if e.path.startswith("/") or ".." in e.path.split("/")]:
        raise UnfitTree(f"{odd[0]} leads out of the tree")
    return sorted(found, key=lambda entry: entry.mode == _LINK)  # so that no file is written through a link


def _write_entries(git_dir: Path, entries: list[_Entry], folder: Path) -> None:
    asked = "".join(f"{entry.blob}\n" for entry in entries if entry.mode != _SUBMODULE)
    answer = io.BytesIO(git(git_dir, ["cat-file", "--batch"], stdin=asked.encode()))
    for entry in entries:
        place = folder / entry.path
        if entry.mode == _SUBMODULE:
            place.mkdir(parents=True, exist_ok=True)
            continue
        head = answer.readline().split()
        if len(head) != 3 or head[1] != b"blob":
            raise SubjectError(f"{entry.path} is missing")
        content = answer.read(int(head[2]))
        answer.readline()
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == _LINK:
            place.symlink_to(os.fsdecode(content))
        else:
            place.write_bytes(content)
            place.chmod(0o755 if entry.mode == _PROGRAM else 0o644)


def _check_links(folder: Path, links: list[Path]) -> None:
    """Refuse links that lead out of the tree, wherever other links on their way lead."""
    for link in links:
        if not Path(os.path.realpath(link)).is_relative_to(os.path.realpath(folder)):
            raise UnfitTree(f"the link {link.relative_to(folder)} leads out of the tree")


def _publish(fresh: Path, target: Path) -> None:
    """Give the extracted tree its name, unless another process was faster."""
    try:
        if not target.is_dir():
            fresh.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _prune(trees_dir: Path) -> None:
    """Remove the trees used longest ago, and what killed extractions left."""
    ages: list[tuple[float, Path]] = []
    for folder in trees_dir.iterdir():
        with contextlib.suppress(OSError):  # another process may be pruning as well
            ages.append((folder.stat().st_mtime, folder))
    trees = sorted((a for a in ages if not a[1].name.startswith(_DRAFT)), reverse=True)
    drafts = [a for a in ages if a[1].name.startswith(_DRAFT) and a[0] < time.time() - _ABANDONED_S]
    for _, folder in (*trees[_KEEP:], *drafts):
        shutil.rmtree(folder, ignore_errors=True)
