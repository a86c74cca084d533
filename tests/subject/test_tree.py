"""Extracting one commit's source: shared between equal trees, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbbench.config import load_settings
from nbbench.errors import HostError, SubjectError
from nbbench.subject import repository, tree
from nbbench.subject.repository import describe, list_commits, register
from nbbench.subject.subjects.nanobragg import demo
from nbbench.subject.tree import extract_tree


@pytest.fixture
def subject(tmp_path, source):
    root = tmp_path / "project"
    root.mkdir()
    (root / "asv.conf.json").write_text('{"project": "nanoBragg PyTorch"}')
    return register(load_settings(root, environ={}), source)


@pytest.fixture
def trees(tmp_path):
    return tmp_path / "trees"


def extract(subject, commit, trees):
    return extract_tree(subject.git_dir, commit.hash, commit.tree, subject.measured_path, trees)


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def shown(source, commit):
    """What git itself says the files are."""

    def git(*arguments):
        return subprocess.run(["git", "-C", source, *arguments], check=True, capture_output=True).stdout

    names = git("ls-tree", "-r", "--name-only", commit, "--", "src/nanobrag_torch").decode().split()
    return {name: git("show", f"{commit}:{name}") for name in names}


def test_files_are_those_of_the_commit(subject, source, trees):
    for commit in (list_commits(subject)[0], list_commits(subject)[-1]):
        folder = extract(subject, commit, trees)
        assert folder == trees / commit.tree[:16]
        assert content(folder) == shown(source, commit.hash)


def test_only_the_measured_path(subject, trees):
    folder = extract(subject, list_commits(subject)[0], trees)
    assert [p.name for p in folder.iterdir()] == ["src"]
    assert [p.name for p in (folder / "src").iterdir()] == ["nanobrag_torch"]


def test_equal_trees_share_one_folder(subject, trees, monkeypatch):
    first = extract(subject, describe(subject, demo.PLANTED[0].hash), trees)
    marked = first / "marked"
    marked.touch()
    monkeypatch.setattr(tree, "git", lambda *a, **k: pytest.fail("extracted again"))
    assert extract(subject, describe_offline(subject, first), trees) == first
    assert marked.exists()


def describe_offline(subject, folder):
    """The documentation-only commit after the first, which has the same tree."""
    commit = describe(subject, demo.PLANTED[1].hash)
    assert commit.tree[:16] == folder.name
    return commit


def test_use_keeps_a_tree_young(subject, trees):
    folder = extract(subject, list_commits(subject)[0], trees)
    os.utime(folder, (1, 1))
    extract(subject, list_commits(subject)[0], trees)
    assert folder.stat().st_mtime > 1


def test_a_tree_that_is_there_is_used_on_a_read_only_file_system(subject, trees, monkeypatch):
    commit = list_commits(subject)[0]
    folder = extract(subject, commit, trees)

    def refuse(*arguments):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert extract(subject, commit, trees) == folder


def test_only_the_newest_are_kept(subject, trees, monkeypatch):
    monkeypatch.setattr(tree, "_KEEP", 3)
    commits = list_commits(subject)
    for age, commit in enumerate(commits[:6]):
        os.utime(extract(subject, commit, trees), (1000 + age, 1000 + age))
    folder = extract(subject, commits[6], trees)
    assert sorted(p.name for p in trees.iterdir()) == sorted(
        [commits[4].tree[:16], commits[5].tree[:16], folder.name]
    )


def test_missing_object_names_the_commit(subject, source, trees):
    commit = list_commits(subject)[6]
    blob = subprocess.run(
        ["git", "-C", source, "rev-parse", f"{commit.hash}:src/nanobrag_torch/simulator.py"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (source / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SubjectError, match=f"commit {commit.short} cannot be extracted") as caught:
        extract(subject, commit, trees)
    assert "missing" in caught.value.hint and caught.value.exit_code == 2
    assert not trees.exists() or not list(trees.iterdir())
    # Commits that have their objects still work.
    assert extract(subject, list_commits(subject)[0], trees).is_dir()


def test_partial_clone_fails_without_asking_its_remote(source, tmp_path, trees):
    partial = tmp_path / "partial"
    subprocess.run(["git", "-C", source, "config", "uploadpack.allowFilter", "true"], check=True)
    command = ["git", "clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{source}", partial]
    subprocess.run(command, check=True)
    root = tmp_path / "project"
    root.mkdir()
    (root / "asv.conf.json").write_text('{"project": "nanoBragg PyTorch"}')
    subject = register(load_settings(root, environ={}), partial)
    commit = list_commits(subject)[0]
    present = [p for p in (partial / ".git" / "objects").rglob("*") if p.is_file()]
    with pytest.raises(SubjectError, match=f"commit {commit.short} cannot be extracted"):
        extract(subject, commit, trees)
    assert [p for p in (partial / ".git" / "objects").rglob("*") if p.is_file()] == present


def test_unknown_commit_and_path(subject, trees):
    commit = list_commits(subject)[0]
    with pytest.raises(SubjectError, match="commit 00000000 cannot be extracted"):
        extract_tree(subject.git_dir, "0" * 40, "f" * 40, subject.measured_path, trees)
    with pytest.raises(SubjectError, match="cannot be extracted"):
        extract_tree(subject.git_dir, commit.hash, "f" * 40, "src/nothing", trees)
    with pytest.raises(SubjectError, match="cannot be extracted"):
        extract_tree(subject.git_dir, commit.hash, "f" * 40, "--output=stolen", trees)
    assert not trees.exists() or not list(trees.iterdir())


def test_a_folder_that_cannot_be_written(subject, trees):
    trees.write_text("a file is in the way")
    with pytest.raises(HostError, match="cannot extract commit"):
        extract(subject, list_commits(subject)[0], trees)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SubjectError("git checkout-index failed: error: unable to create file x: No space left on device"),
    ],
)
def test_a_full_disk_leaves_nothing(subject, trees, monkeypatch, error):
    def full(git_dir, commit, measured_path, path):
        (path / "half").write_text("x")
        raise error

    monkeypatch.setattr(tree, "_write", full)
    with pytest.raises(HostError, match="No space left on device"):
        extract(subject, list_commits(subject)[0], trees)
    assert list(trees.iterdir()) == []


def test_another_process_was_faster(subject, trees, monkeypatch):
    commit = list_commits(subject)[0]
    original = tree._write

    def overtaken(*arguments):
        original(*arguments)
        other = trees / commit.tree[:16]
        other.mkdir()
        (other / "theirs").touch()

    monkeypatch.setattr(tree, "_write", overtaken)
    folder = extract(subject, commit, trees)
    assert [p.name for p in folder.iterdir()] == ["theirs"]
    assert [p.name for p in trees.iterdir()] == [folder.name]


def test_another_process_was_faster_by_a_hair(subject, trees, monkeypatch):
    commit = list_commits(subject)[0]
    original = tree.Path.rename

    def overtaken(self, target):
        target.mkdir()
        (target / "theirs").touch()
        return original(self, target)

    monkeypatch.setattr(tree.Path, "rename", overtaken)
    folder = extract(subject, commit, trees)
    assert [p.name for p in folder.iterdir()] == ["theirs"]


# Kills itself in the middle of an extraction.
KILLED = """
import os, signal, sys
from pathlib import Path
from nbbench.subject import repository, tree

def half(git_dir, commit, measured_path, path):
    (path / "src").mkdir()
    (path / "src" / "half.py").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)

tree._write = half
tree.extract_tree(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]))
"""


def test_a_killed_extraction_leaves_nothing_that_is_used(subject, source, trees):
    commit = list_commits(subject)[0]
    arguments = [subject.git_dir, commit.hash, commit.tree, subject.measured_path, trees]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (trees / commit.tree[:16]).exists()
    left = list(trees.iterdir())
    assert len(left) == 1
    folder = extract(subject, commit, trees)
    assert content(folder) == shown(source, commit.hash)
    assert left[0].exists()  # it might belong to a process that is at work
    long_ago = time.time() - 7200
    os.utime(left[0], (long_ago, long_ago))
    extract(subject, list_commits(subject)[1], trees)
    assert not left[0].exists()


def record(source, message="more"):
    """Commit everything in the work tree."""
    who = {f"GIT_{part}_{word}": "u" for part in ("AUTHOR", "COMMITTER") for word in ("NAME", "EMAIL")}
    for arguments in (["add", "--all"], ["commit", "--quiet", "-m", message]):
        subprocess.run(["git", "-C", source, *arguments], env=os.environ | who, check=True)


def newest(subject, source):
    repository._copy_refs(source / ".git", subject.git_dir, subject.branch)
    return describe(subject, subject.branch)


@pytest.mark.parametrize(
    "links",
    [
        {"passwd": "/etc/passwd"},
        {"up": "../../../outside"},
        # Every link alone stays in the tree by its letters; together they lead out of it.
        {"deep/er/y": "../..", "deep/er/z": "y/../../../outside"},
    ],
)
def test_a_link_out_of_the_tree_is_refused(subject, source, trees, links):
    """J12"""
    for name, target in links.items():
        link = source / "src" / "nanobrag_torch" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    record(source)
    commit = newest(subject, source)
    with pytest.raises(SubjectError, match=r"cannot be extracted: the link .* leads out of the tree"):
        extract(subject, commit, trees)
    assert list(trees.iterdir()) == []


def test_links_within_the_tree_programs_and_odd_names_are_kept(subject, source, trees):
    package = source / "src" / "nanobrag_torch"
    (package / "alias.py").symlink_to("simulator.py")
    (package / "tool").write_text("#!/bin/sh\n")
    (package / "tool").chmod(0o755)
    (package / "na me\n\tü.py").write_text("x = 1\n")
    record(source)
    folder = extract(subject, newest(subject, source), trees) / "src" / "nanobrag_torch"
    assert (folder / "alias.py").readlink() == Path("simulator.py")
    assert os.access(folder / "tool", os.X_OK)
    assert (folder / "na me\n\tü.py").read_text() == "x = 1\n"


def test_attributes_of_the_commit_change_nothing(subject, source, trees):
    """J12: git archive leaves out what is export-ignore, writes into export-subst, and turns line ends."""
    package = source / "src" / "nanobrag_torch"
    (package / "stamp.py").write_text("REVISION = '$Format:%H$'\n")
    (source / ".gitattributes").write_text("models export-ignore\n*.py export-subst text eol=crlf\n")
    (package / ".gitattributes").write_text("utils export-ignore\n")
    record(source)
    commit = newest(subject, source)
    found = content(extract(subject, commit, trees))
    assert found == shown(source, commit.hash)
    assert found["src/nanobrag_torch/stamp.py"] == b"REVISION = '$Format:%H$'\n"


def test_the_whole_tree_can_be_what_is_measured(source, tmp_path, trees):
    """I3: `measured_path = "."`."""
    (tmp_path / "asv.conf.json").write_text("{}")
    (tmp_path / "pyproject.toml").write_text(f'[tool.nbbench]\nbranch = "{demo.BRANCH}"\nmeasured_path = "."')
    whole = register(load_settings(tmp_path, environ={}), source)
    commits = list_commits(whole)
    assert [c.hash for c in commits] == [event.hash for event in demo.PLANTED]
    assert [c.position for c in commits] == list(range(1, len(commits) + 1))
    folder = extract(whole, commits[-1], trees)
    command = ["git", "-C", source, "ls-tree", "-r", "--name-only", commits[-1].hash]
    listed = subprocess.run(command, check=True, capture_output=True)
    assert sorted(content(folder)) == sorted(listed.stdout.decode().split())
