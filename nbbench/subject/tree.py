"""Extracting one commit's source tree without a checkout; equal trees are extracted once."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from nbbench.errors import HostError, SubjectError
from nbbench.subject.git import git

_KEEP = 64  # extracted trees kept for the next run; a tree is about 1 MB
_DRAFT = ".extract-"
_ABANDONED_S = 3600.0  # an extraction takes well under a second


def extract_tree(git_dir: Path, commit: str, tree: str, measured_path: str, trees_dir: Path) -> Path:
    """Extract `measured_path` of `commit` below `trees_dir` and return the folder.

    The folder is named after the tree's object id, so commits with equal trees share it; it
    appears by rename, so a killed extraction leaves nothing half-written. Raises SubjectError
    when objects are missing, HostError when the disk refuses.
    """
    target = trees_dir / tree[:16]
    if target.is_dir():
        with contextlib.suppress(OSError):  # a project that cannot be written is not pruned either
            os.utime(target)
        return target
    try:
        blob = git(git_dir, ["archive", "--format=tar", commit, "--", measured_path])
    except SubjectError as error:
        raise SubjectError(
            f"commit {commit[:8]} cannot be extracted: {error}",
            hint="its objects are missing from the clone: fetch them, or leave the commit out",
        ) from error
    try:
        trees_dir.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=trees_dir))
        try:
            with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
                archive.extractall(fresh, filter="data")
            _publish(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except (OSError, tarfile.TarError) as error:
        raise HostError(f"cannot extract commit {commit[:8]}: {error}") from error
    _prune(trees_dir)
    return target


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
