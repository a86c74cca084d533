"""The work tree as a commit: what git heeds is in it, and nothing of the user's repository moves or runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbbench.config import load_settings
from nbbench.errors import SubjectError, UsageError
from nbbench.model import Commit
from nbbench.subject.git import git
from nbbench.subject.repository import (
    describe,
    list_commits,
    open_subject,
    register,
    resolve,
)
from nbbench.subject.work_tree import work_tree_commit
from tests.subject.test_repository import listing, run

PACKAGE = "src/nanobrag_torch"


@pytest.fixture
def settings(tmp_path: Path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "asv.conf.json").write_text('{"project": "nanoBragg PyTorch"}')
    return load_settings(root, environ={})


@pytest.fixture
def registered(settings, source: Path):
    register(settings, source)
    return settings


def made(settings) -> Commit:
    return work_tree_commit(open_subject(settings))


def names(settings, found: Commit) -> list[str]:
    words = ["ls-tree", "-r", "--name-only", found.hash, "--", PACKAGE]
    return git(open_subject(settings).git_dir, words).decode().split()


def test_nothing_uncommitted_is_the_tree_of_head(registered) -> None:
    assert made(registered).tree == list_commits(open_subject(registered))[-1].tree


def test_files_of_every_kind(registered, source: Path) -> None:
    package = source / PACKAGE
    (source / ".git" / "info").mkdir(exist_ok=True)
    (source / ".git" / "info" / "exclude").write_text("*.log\nforced.txt\n")
    (package / "staged.py").write_text("a = 1\n")
    (package / "forced.txt").write_text("a")
    run(source, "add", "--force", f"{PACKAGE}/staged.py", f"{PACKAGE}/forced.txt")
    (package / "staged.py").write_text("a = 2\n")  # what lies there counts, not what is staged
    (package / "untracked.py").write_text("b = 1\n")
    (package / "junk.log").write_text("junk")
    (package / "config.py").unlink()
    (source / "elsewhere.py").write_text("c = 1\n")
    before, git_files = set(names(registered, describe(open_subject(registered), "HEAD"))), listing(source)
    found = made(registered)
    assert set(names(registered, found)) == before - {f"{PACKAGE}/config.py"} | {
        f"{PACKAGE}/{name}" for name in ("staged.py", "untracked.py", "forced.txt")
    }
    subject = open_subject(registered)
    assert git(subject.git_dir, ["show", f"{found.hash}:{PACKAGE}/staged.py"]) == b"a = 2\n"
    assert listing(source) == git_files
    assert made(registered) == found  # the same files are the same commit, and git's names find it
    assert resolve(subject, found.short) == found.hash
    with pytest.raises(SubjectError):
        run_in_clone(source, found.hash)


def run_in_clone(source: Path, name: str) -> None:
    git(source, ["cat-file", "-e", name])


def test_a_file_written_in_the_moment_of_the_index(registered, source: Path) -> None:
    """Its size and times are those that the index holds: only the index's own time says that it may differ.

    git compares whole seconds on most machines, so the moment is one that is long past.
    """
    run(source, "config", "core.trustctime", "false")
    path, index = source / PACKAGE / "new.py", source / ".git" / "index"
    moment = path.parent.stat().st_mtime_ns - 60 * 10**9
    for text in ("a = 1\n", "a = 2\n"):
        path.write_text(text)
        os.utime(path, ns=(moment, moment))
        if text == "a = 1\n":
            run(source, "add", str(path))
    os.utime(index, ns=(moment, moment))
    shown = git(open_subject(registered).git_dir, ["show", f"{made(registered).hash}:{PACKAGE}/new.py"])
    assert shown == b"a = 2\n"


def test_no_program_of_the_repository_runs(registered, source: Path, tmp_path: Path) -> None:
    """Filters and hooks belong to whoever runs git in the clone, not to whoever judges it."""
    witness = tmp_path / "ran"
    (source / ".gitattributes").write_text("*.py filter=evil\n")
    for kind in ("clean", "process"):
        run(source, "config", f"filter.evil.{kind}", f"touch {witness}; cat")
    run(source, "config", "filter.evil.required", "true")
    run(source, "config", "core.fsmonitor", f"touch {witness}")
    hook = source / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {witness}\n")
    hook.chmod(0o755)
    (source / PACKAGE / "new.py").write_text("a = 1\n")
    assert f"{PACKAGE}/new.py" in names(registered, made(registered))
    assert not witness.exists()


def test_a_split_index_stays_as_it_is(registered, source: Path) -> None:
    run(source, "update-index", "--split-index")
    (source / PACKAGE / "new.py").write_text("a = 1\n")
    before = [(path, path.read_bytes()) for path in sorted((source / ".git").rglob("*")) if path.is_file()]
    assert f"{PACKAGE}/new.py" in names(registered, made(registered))
    after = [(path, path.read_bytes()) for path in sorted((source / ".git").rglob("*")) if path.is_file()]
    assert after == before


def test_a_work_tree_beside_the_clone(settings, source: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    run(source, "worktree", "add", "--quiet", "--detach", str(beside))
    (beside / PACKAGE / "new.py").write_text("a = 1\n")
    register(settings, beside)
    assert f"{PACKAGE}/new.py" in names(settings, made(settings))


def test_what_has_no_work_tree_is_refused(settings, source: Path, tmp_path: Path) -> None:
    run(source, "clone", "--quiet", "--bare", str(source), str(tmp_path / "bare.git"))
    register(settings, tmp_path / "bare.git")
    with pytest.raises(UsageError, match="has no work tree"):
        made(settings)


def test_a_work_tree_without_the_measured_path_is_refused(registered, source: Path) -> None:
    for path in (source / PACKAGE).rglob("*.py"):
        path.unlink()
    with pytest.raises(UsageError, match="has no src/nanobrag_torch"):
        made(registered)


def test_a_merge_under_way_elsewhere_does_not_matter(registered, source: Path) -> None:
    blob = run(source, "hash-object", "-w", "--stdin", stdin=b"x")
    lines = "".join(f"100644 {blob} {stage}\tREADME.md\n" for stage in (1, 2, 3))
    run(source, "update-index", "--index-info", stdin=f"0 {'0' * 40}\tREADME.md\n{lines}".encode())
    assert made(registered).tree == list_commits(open_subject(registered))[-1].tree
