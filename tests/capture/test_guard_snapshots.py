"""What a capture compares before and after: the work tree, the interpreter, its packages."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nbbench.capture.session import (
    WorkTree,
    package_changes,
    tree_changes,
    work_tree,
)
from nbbench.captured import TestRun


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "src" / "pkg").mkdir(parents=True)
    (folder / "src" / "pkg" / "a.py").write_text("x = 1\n")
    (folder / "b.txt").write_text("b\n")
    for words in (
        ["init", "-q", "-b", "main", "."],
        ["add", "-A"],
        ["-c", "user.name=x", "-c", "user.email=x@example.invalid", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def state(checkout: Path) -> WorkTree:
    return work_tree(checkout, "src/pkg", (checkout / "reports",))


def test_a_clean_checkout(checkout: Path) -> None:
    found = state(checkout)
    assert len(found.commit) == len(found.tree) == 40
    assert (found.branch, found.changes, found.problem) == ("main", (), "")


def test_caches_and_reports_are_no_change(checkout: Path) -> None:
    for name in ("src/pkg/__pycache__/a.pyc", ".pytest_cache/x", "reports/run/summary.md", "src/pkg/a.pyc"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x")
    assert not state(checkout).changes


def test_every_kind_of_change_is_told(checkout: Path) -> None:
    before = state(checkout)
    (checkout / "src" / "pkg" / "a.py").write_text("x = 2\n")
    (checkout / "b.txt").unlink()
    (checkout / "Größe 千.py").write_text("new\n")
    (checkout / "reports2").mkdir()
    (checkout / "reports2" / "x.py").write_text("new\n")
    told = tree_changes(before, state(checkout))
    assert [line.rpartition("run: ")[2] for line in told] == [
        "Größe 千.py (untracked)",
        "b.txt (deleted)",
        "reports2/x.py (untracked)",
        "src/pkg/a.py (modified)",
    ]


def test_a_change_to_what_was_changed_already_is_seen(checkout: Path) -> None:
    path = checkout / "src" / "pkg" / "a.py"
    path.write_text("x = 2\n")
    before = state(checkout)
    assert tree_changes(before, state(checkout)) == []
    path.write_text("x = 3\n")
    assert len(tree_changes(before, state(checkout))) == 1
    path.write_text("x = 1\n")
    assert tree_changes(before, state(checkout)) == [
        "the work tree changed during the run: src/pkg/a.py (restored)"
    ]


def test_a_checkout_that_moves_is_seen(checkout: Path) -> None:
    before = state(checkout)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"]
    subprocess.run(["git", *identity, "commit", "-qm", "second", "--allow-empty"], cwd=checkout, check=True)
    assert "the checkout moved from" in tree_changes(before, state(checkout))[0]


def test_looking_writes_nothing(checkout: Path) -> None:
    index = checkout / ".git" / "index"
    (checkout / "b.txt").touch()
    before = index.stat().st_mtime_ns
    state(checkout)
    assert index.stat().st_mtime_ns == before


def test_looking_runs_nothing_of_the_checkouts_configuration(checkout: Path) -> None:
    """J13: neither core.fsmonitor nor hooks nor filters."""
    trace = checkout / ".git" / "ran"
    program = script(checkout / ".git", f"#!/bin/sh\necho $0 >> {trace}\ncat\n", "program")
    hook = script(checkout / ".git" / "hooks", f"#!/bin/sh\necho hook >> {trace}\n", "post-index-change")
    for name in (
        "core.fsmonitor",
        "filter.x.clean",
        "filter.x.smudge",
        "filter.y.z.process",
        "diff.external",
    ):
        subprocess.run(["git", "config", name, program], cwd=checkout, check=True)
    subprocess.run(["git", "config", "filter.x.required", "true"], cwd=checkout, check=True)
    (checkout / ".git" / "info" / "attributes").write_text("*.txt filter=x\n*.py filter=y.z\n")
    (checkout / "b.txt").write_text("other\n")
    (checkout / "src" / "pkg" / "a.py").touch()
    assert [name for name, _ in state(checkout).changes] == ["b.txt"]
    assert not trace.exists(), (trace.read_text(), hook)


def test_a_folder_outside_of_git(tmp_path: Path) -> None:
    found = state(tmp_path)
    assert found.problem.startswith("not a git checkout")
    assert not found.commit


def script(folder: Path, text: str, name: str = "pytest") -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_packages_are_compared() -> None:
    old = TestRun(packages={"numpy": "1", "old": "1"})
    assert package_changes(old) == []  # killed: nothing is known of the end
    assert package_changes(replace(old, packages_after=old.packages)) == []
    new = replace(old, packages_after={"numpy": "0", "new": "1"})
    assert [line.partition("run: ")[2] for line in package_changes(new)] == [
        "new absent → 1",
        "numpy 1 → 0",
        "old 1 → gone",
    ]
