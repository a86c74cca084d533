"""Extracting one commit's source tree without a checkout; equal trees are extracted once."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from nbbench.errors import HostError, SubjectError
from nbbench.subject.git import git

_KEEP = 64  # extracted trees kept for the next run; a tree is about 1 MB


def extract_tree(git_dir: Path, commit: str, tree: str, measured_path: str, trees_dir: Path) -> Path:
    """Extract `measured_path` of `commit` below `trees_dir` and return the folder.

    The folder is named after the tree's object id, so commits with equal trees share it; it
    appears by rename, so a killed extraction leaves nothing half-written. Raises SubjectError
    when objects are missing, HostError when the disk refuses.
    """
    target = trees_dir / tree[:16]
    if target.is_dir():
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
        fresh = Path(tempfile.mkdtemp(prefix=".extract-", dir=trees_dir))
        try:
            with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
                archive.extractall(fresh, filter="data")
            if not target.is_dir():
                fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except (OSError, tarfile.TarError) as error:
        raise HostError(f"cannot extract commit {commit[:8]}: {error}") from error
    _prune(trees_dir)
    return target


def _prune(trees_dir: Path) -> None:
    old = sorted(
        (p for p in trees_dir.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True
    )
    for folder in old[_KEEP:]:
        shutil.rmtree(folder, ignore_errors=True)
