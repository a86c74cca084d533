"""Extracting one commit's source tree without a checkout; equal trees are extracted once."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path, PurePosixPath

from nbbench.errors import HostError, SubjectError
from nbbench.subject.dependencies import lacking_pin, trees_of
from nbbench.subject.git import git, url_without_login
from nbbench.subject.repository import Subject

_KEEP = 64  # extracted trees kept for the next run; a tree is about 1 MB
_DRAFT = ".extract-"
_PLAIN = "* -text -eol -ident -filter -working-tree-encoding\n"
_ABANDONED_S = 3600.0  # an extraction takes well under a second


class UnfitTree(SubjectError):
    """The commit itself cannot be measured, wherever it is extracted."""


def extract_commit(subject: Subject, commit: str, tree: str, trees_dir: Path) -> Path:
    """Extract a commit's `tree` below `trees_dir`; as `extract_tree`.

    Raises UnfitTree, too, where a dependency's pinned commit cannot be had.
    """
    for one in subject.dependencies:
        if pin := lacking_pin(subject.git_dir, one, tree):
            where = url_without_login(one.repository)
            there = trees_of(subject.git_dir, [pin], ".")[pin]
            lack = f"which has no {one.source}" if there else f"which {where} does not have"
            said = f"commit {commit[:8]} pins {one.name} at {pin[:8]}, {lack}"
            raise UnfitTree(said, hint="fetch it there; of a URL: nbbench subject use")
    place = "." if subject.dependencies else subject.measured_path  # theirs lie beside it
    return extract_tree(subject.git_dir, commit, tree, place, trees_dir)


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
        trees_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=trees_dir, ignore_cleanup_errors=True) as draft:
            fresh = Path(draft)
            _write(git_dir, tree, measured_path, fresh)
            for link in fresh.rglob("*"):  # wherever other links on their way lead
                if link.is_symlink() and not link.resolve().is_relative_to(fresh.resolve()):
                    raise UnfitTree(f"the link {link.relative_to(fresh)} leads out of the tree")
            try:
                fresh.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was faster
                    raise
    except UnfitTree as error:
        raise UnfitTree(f"commit {commit[:8]} cannot be extracted: {error}", hint="leave it out") from error
    except SubjectError as error:
        if re.search("unable to (create|write)", str(error)):
            raise HostError(f"cannot extract commit {commit[:8]}: {error}") from error
        raise SubjectError(
            f"commit {commit[:8]} cannot be extracted: {error}",
            hint="its objects are missing from the clone: fetch them, or leave the commit out",
        ) from error
    except OSError as error:
        raise HostError(f"cannot extract commit {commit[:8]}: {error}") from error
    _prune(trees_dir)
    return target


def _write(git_dir: Path, tree: str, measured_path: str, fresh: Path) -> None:
    """Write the tree's files below the measured path as they are stored, through an index of their own."""
    path = PurePosixPath(measured_path).as_posix()
    plain = git_dir / "info" / "attributes"  # it wins over the attributes of the commit
    if not plain.is_file() or plain.read_text(encoding="utf-8") != _PLAIN:
        plain.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=plain.parent, prefix="attributes.", delete=False) as draft:
            draft.write(_PLAIN)  # beside it: git may be reading it for another process or thread
        Path(draft.name).replace(plain)
    with tempfile.TemporaryDirectory() as folder:
        where = {"GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(fresh), "GIT_INDEX_FILE": f"{folder}/index"}
        below = [] if path == "." else [f"--prefix={path}/"]
        git(git_dir, ["read-tree", *below, tree], environment=where)
        git(git_dir, ["checkout-index", "--all"], environment=where)


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
