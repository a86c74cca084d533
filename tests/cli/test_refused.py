"""What is refused before anything is measured: no tree, no branch, bad patterns, folders without access."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from cli_project import ROOT, Project

from nbbench.cli.app import MOST_SHOWN
from nbbench.config import load_settings
from nbbench.errors import HostError
from nbbench.measure import warm_client
from nbbench.measure.ledgers import commit_ledgers, workload_ledgers
from nbbench.record.atomic import ensure_writable
from nbbench.subject.repository import describe, open_subject, register
from tests.torture.tiny import git

BRANCH = "feature/spec-based-2"


@pytest.fixture
def foreign(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose subject has the branch, but never had the measured path; nothing may start."""
    clone = project.root / "clone"
    clone.mkdir()
    git(clone, "init", "--quiet", "--initial-branch", BRANCH)
    (clone / "readme").write_text("nothing to measure\n")
    git(clone, "add", "readme")
    git(clone, "commit", "--quiet", "--message", "first")
    register(load_settings(project.root), clone)
    monkeypatch.setattr(
        "nbbench.measure.warm_client.WarmServer", lambda *a, **k: pytest.fail("a server was started")
    )
    return project


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "HEAD", "HEAD"),
        ("gate", "--calibrate"),
        ("bisect", "HEAD", "HEAD"),
        ("explain", "HEAD", "HEAD"),
        ("ledger", "HEAD"),
        ("roofline",),
        ("dtypes",),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_commit_without_the_measured_path(foreign: Project, arguments: tuple[str, ...]) -> None:
    done = foreign.run(*arguments)
    assert done.exit_code == 2 and done.stdout == ""
    assert re.fullmatch(
        r"nbbench: commit [0-9a-f]{8} has no src/nanobrag_torch\n"
        r"  hint: `nbbench commits` lists the measurable ones\n",
        done.stderr,
    )


@pytest.mark.parametrize("arguments", [("commits",), ("gate",), ("ledger",)], ids=" ".join)
def test_a_branch_without_the_measured_path(foreign: Project, arguments: tuple[str, ...]) -> None:
    done = foreign.run(*arguments)
    assert done.exit_code == 2 and "src/nanobrag_torch" in done.stderr and "hint: " in done.stderr


@pytest.mark.parametrize("arguments", [("explain", "a", "b"), ("ledger",), ("ledger", "a")], ids=" ".join)
def test_a_registered_subject_that_lost_its_branch_is_not_called_missing(
    foreign: Project, arguments: tuple[str, ...]
) -> None:
    git(foreign.root / "clone", "branch", "--move", "another")
    done = foreign.run(*arguments)
    assert done.exit_code == 2 and f"has no branch '{BRANCH}'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "--bench", "("),
        ("gate", "--calibrate", "--bench", "("),
        ("bisect", "a", "b", "--series", "("),
        ("roofline", "--bench", "("),
        ("run", "--bench", "("),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_pattern_that_is_none_is_refused_first(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.run(*arguments)
    assert done.exit_code == 2
    assert f"{arguments[-2]} is not a regular expression: '('" in done.stderr


def test_what_the_user_gave_is_not_repeated_without_end(project: Project) -> None:
    done = project.run("gate", "--bench", "(" + "x" * 100_000, "--json")
    assert done.exit_code == 2
    assert len(done.stderr) < MOST_SHOWN + 200 and "unterminated subpattern" in done.stderr
    assert len(done.stdout) < MOST_SHOWN + 400


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "--junit"),
        ("gate", "--markdown"),
        ("dtypes", "--markdown"),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_file_that_cannot_be_written_is_refused_first(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.run(*arguments, str(project.root / "nowhere" / "file.png"))
    assert done.exit_code == 2
    assert f"cannot write {project.root / 'nowhere' / 'file.png'}: the folder does not exist" in done.stderr


def test_ledgers_that_could_not_be_kept_are_not_recorded(
    foreign: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (foreign.root / "results").write_text("a file where the folder should be")
    (foreign.root / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "workloads.py", foreign.root / "benchmarks")
    settings = load_settings(foreign.root)
    commit = describe(open_subject(settings), "HEAD")
    monkeypatch.setattr(warm_client, "WarmServer", lambda *a, **k: pytest.fail("a server was started"))
    with pytest.raises(HostError, match="results cannot be written"):
        commit_ledgers(settings, [commit], ["sources-3969"], say=str)
    with pytest.raises(HostError, match="results cannot be written"):
        workload_ledgers(settings, commit, re.compile("sources-3969"), say=str)


def test_a_folder_that_is_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)  # as on a read-only file system
    with pytest.raises(HostError, match=f"{tmp_path} cannot be written"):
        ensure_writable(tmp_path / "a" / "b")
