"""Calling git: one-sentence errors, nothing of the user's environment or settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nbbench.errors import HostError, SubjectError
from nbbench.subject.git import git, git_text
from nbbench.subject.subjects.nanobragg import demo


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("git") / "subject"
    demo.write_demo(path)
    return path


def test_output_as_bytes_and_as_text(repository):
    assert git(repository, ["rev-parse", demo.BRANCH]) == f"{demo.TIP_HASH}\n".encode()
    assert git_text(repository, ["rev-parse", demo.BRANCH]) == demo.TIP_HASH


def test_standard_input(repository):
    told = git(repository, ["cat-file", "--batch-check=%(objecttype)"], stdin=f"{demo.TIP_HASH}\n".encode())
    assert told == b"commit\n"


def test_failure_is_gits_last_line(repository):
    with pytest.raises(
        SubjectError, match=r"^git rev-parse failed: fatal: Needed a single revision$"
    ) as caught:
        git(repository, ["rev-parse", "--verify", "no-such-branch"])
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_silent_failure_tells_its_exit_code(repository):
    with pytest.raises(SubjectError, match="git rev-parse failed: exit 1"):
        git(repository, ["rev-parse", "--verify", "--quiet", "no-such-branch"])


def test_folder_that_is_none(tmp_path):
    with pytest.raises(SubjectError, match="cannot change to"):
        git(tmp_path / "missing", ["status"])


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="git is not installed") as caught:
        git(None, ["--version"])
    assert caught.value.hint


def test_a_git_that_never_answers(tmp_path, monkeypatch):
    script = tmp_path / "git"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SubjectError, match="git log did not answer within 0 s"):
        git(None, ["log"], timeout_s=0.2)


def test_variables_of_the_caller_do_not_reach_it(repository, tmp_path, monkeypatch):
    """As in a git hook, where GIT_DIR names another repository."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert git_text(repository, ["rev-parse", demo.BRANCH]) == demo.TIP_HASH


def test_it_asks_nobody(repository, tmp_path, monkeypatch):
    script = tmp_path / "git"
    script.write_text("#!/bin/sh\nenv\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    told = set(git_text(None, ["fetch"]).splitlines())
    assert {"GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C"} <= told


def settings_of_a_user(home: Path, text: str, monkeypatch):
    home.mkdir()
    (home / ".gitconfig").write_text(text)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


def test_the_users_log_settings_do_not_change_a_listing(repository, tmp_path, monkeypatch):
    arguments = ["log", "--format=%H", demo.BRANCH, "--", "src/nanobrag_torch/simulator.py"]
    plain = git_text(repository, arguments)
    settings_of_a_user(
        tmp_path / "home",
        "[log]\n\tfollow = true\n\tshowSignature = true\n[color]\n\tui = always\n",
        monkeypatch,
    )
    assert git_text(repository, arguments) == plain


def test_the_users_hooks_do_not_run(tmp_path, monkeypatch):
    """init.templateDir and core.hooksPath put hooks into every repository that is made."""
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    hook = hooks / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
    hook.chmod(0o755)
    settings_of_a_user(
        tmp_path / "home",
        f"[init]\n\ttemplateDir = {hooks.parent}\n[core]\n\thooksPath = {hooks}\n",
        monkeypatch,
    )
    git(None, ["init", "--quiet", "--bare", str(tmp_path / "made.git")])
    tree = git(tmp_path / "made.git", ["mktree"], stdin=b"").decode().strip()
    environment = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    commit = subprocess.run(
        ["git", "-C", tmp_path / "made.git", "commit-tree", "-m", "x", tree],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    git(tmp_path / "made.git", ["update-ref", "--stdin"], stdin=f"update refs/heads/x {commit}\n".encode())
    assert not (tmp_path / "hook-ran").exists()
