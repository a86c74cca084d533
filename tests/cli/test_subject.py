"""`nbbench subject`, and what names mean, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import work_samples as work
from cli_project import ROOT, Project

from nbbench.config import load_settings
from nbbench.host import IMPORT_WORKLOAD, PYTHON, HostWork
from nbbench.measure.process_env import torch_version
from nbbench.record.branch import save_commits
from nbbench.record.side_files import LedgerFile, ledger_path, write_ledgers
from nbbench.subject.repository import register
from nbbench.subject.subjects.nanobragg import demo
from tests.torture.tiny import git


@pytest.fixture
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clone") / "subject"
    demo.write_demo(path)
    return path


@pytest.fixture
def registered(project: Project, clone: Path) -> Project:
    assert project.run("subject", "use", str(clone)).exit_code == 0
    return project


def test_gate_compares_the_clones_checkout(registered: Project, clone: Path) -> None:
    """H1, E4: `nbbench gate BRANCH HEAD`, with a tag of the branch's name beside it."""
    git(clone, "tag", demo.BRANCH, demo.PLANTED[0].hash or "")
    git(clone, "checkout", "--quiet", "-b", "mine", f"refs/heads/{demo.BRANCH}")
    (clone / "NOTES.md").write_text("text")
    git(clone, "add", "NOTES.md")
    git(clone, "commit", "--quiet", "-m", "notes")
    head = git(clone, "rev-parse", "HEAD")
    told = json.loads(registered.run("gate", demo.BRANCH, "HEAD", "--json").stdout)
    assert (told["base"], told["head"]) == (demo.TIP_HASH, head)
    told = json.loads(registered.run("gate", "HEAD~1", "HEAD", "--json").stdout)
    assert (told["base"], told["head"]) == (demo.TIP_HASH, head)


def test_a_range_of_another_branch_begins_with_what_precedes_it(registered: Project, clone: Path) -> None:
    """H7: `nbbench ledger HEAD~1..HEAD` on a branch of one's own shows the heavier commit."""
    git(clone, "checkout", "--quiet", "-b", "mine", f"refs/heads/{demo.BRANCH}")
    source = next((clone / "src").rglob("simulator.py"))
    source.write_text(source.read_text() + "MORE = 1\n")
    git(clone, "commit", "--quiet", "-a", "-m", "heavier")
    head = git(clone, "rev-parse", "HEAD")
    for commit, one in ((demo.TIP_HASH, work.before(repeated=True)), (head, work.after(repeated=True))):
        tree = git(clone, "rev-parse", f"{commit}:src/nanobrag_torch")
        path = ledger_path(registered.root / "results", tree, torch_version())
        host = {name: HostWork(name, PYTHON) for name in (IMPORT_WORKLOAD, one.workload)}
        starts = {one.workload: HostWork(one.workload, "")}
        write_ledgers(path, LedgerFile(tree, commit, torch_version(), {one.workload: one}, host, starts))
    shutil.copy(ROOT / "results" / "workloads.jsonl", registered.root / "results")
    told = json.loads(
        registered.run("ledger", "HEAD~1..HEAD", "--bench", "bandwidth-1024-float32", "--json").stdout
    )
    assert told["commits"] == 1
    before = git(clone, "log", "-1", "--format=%H", demo.TIP_HASH, "--", "src/nanobrag_torch")
    assert [(step["base"], step["commit"]) for step in told["steps"]] == [(before, head)]


def test_a_shallow_clone_is_refused_and_the_registration_stays(registered: Project, clone: Path) -> None:
    """E5"""
    cut = clone.parent / "cut"
    git(clone.parent, "clone", "--quiet", "--depth=2", f"file://{clone}", str(cut))
    found = registered.run("subject", "use", str(cut))
    assert found.exit_code == 2
    assert "shallow clone" in found.stderr and "fetch --unshallow" in found.stderr
    assert str(clone) in registered.run("subject", "show").stdout
    (clone / ".git" / "shallow").write_text(f"{demo.TIP_HASH}\n")
    checks = json.loads(registered.run("doctor", "--json", "--sample", "0.1").stdout)["checks"]
    (subject,) = [check for check in checks if check["name"] == "subject"]
    assert subject["level"] == "fail" and "fetch --unshallow" in subject["remedy"]


@pytest.mark.parametrize(
    "url",
    [
        "https://user:s3cr3tpw@localhost.invalid/x.git",
        "https://s3cr3tpw@[bad/x.git",
        "https://user:a s3cr3tpw@localhost.invalid/x.git",
        "https:/user:s3cr3tpw@localhost.invalid/x.git",
        "user:s3cr3tpw@localhost.invalid:x.git",
    ],
)
def test_a_login_in_the_url_is_shown_nowhere(project: Project, url: str) -> None:
    """J1"""
    found = project.run("subject", "use", url)
    assert found.exit_code == 2
    assert "s3cr3tpw" not in found.stdout + found.stderr
    assert not any("s3cr3tpw" in str(path) for path in project.root.rglob("*"))


def test_a_title_cannot_repaint_the_terminal(registered: Project, clone: Path) -> None:
    """J11"""
    (clone / "src" / "nanobrag_torch" / "more.py").write_text("x = 1\n")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "-m", "\x1b]0;owned\x07\x1b[2Jtitle")
    for words in (
        ("subject", "use", str(clone)),
        ("subject", "show"),
        ("commits",),
        ("commits", "--json"),
    ):
        shown = registered.run(*words)
        assert shown.exit_code == 0
        assert "\x1b" not in shown.stdout + shown.stderr and "title" in shown.stdout


def test_the_demo_never_replaces_another_historys_list(project: Project, clone: Path) -> None:
    """D6: in a fresh clone, with results of the real branch."""
    (project.root / "results").mkdir()
    kept = shutil.copy(ROOT / "results" / "commits.jsonl", project.root / "results")
    before = Path(kept).read_bytes()
    found = project.run("subject", "demo")
    assert found.exit_code == 2
    assert "results here are of another history" in found.stderr and "nbbench demo" in found.stderr
    assert not (project.root / ".nbbench").exists()
    settings = load_settings(project.root)
    register(settings, clone)  # by its path, as any other clone
    save_commits(settings)
    assert Path(kept).read_bytes() == before


def test_the_embedded_subject_registers(project: Project) -> None:
    told = json.loads(project.run("subject", "demo", "--json").stdout)
    assert told["branch"] == demo.BRANCH
    assert json.loads(project.run("subject", "show", "--json").stdout)["commits"] == told["commits"]


def test_a_subject_without_an_embedded_history(tmp_path: Path) -> None:
    (tmp_path / "asv.conf.json").write_text('{"project": "blur"}')
    found = Project(tmp_path).run("subject", "demo")
    assert found.exit_code == 2 and "no embedded history" in found.stderr


def test_capture_runs_no_program_of_the_checkouts_configuration(clone: Path, tmp_path: Path) -> None:
    """J12, J13: core.fsmonitor, hooks and filters of the checkout."""
    from nbbench.capture.session import work_tree

    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    program.chmod(0o755)
    (clone / ".git" / "info").mkdir()
    (clone / ".git" / "info" / "attributes").write_text("*.py filter=evil filter=e=vil\n")
    for name in ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process"):
        git(clone, "config", name, str(program))
    git(clone, "config", "filter.evil.required", "true")
    path = clone / "src" / "nanobrag_torch" / "simulator.py"
    path.write_text(path.read_text() + "\n")
    ran.unlink(missing_ok=True)
    found = work_tree(clone, "src/nanobrag_torch")
    assert not ran.exists()
    assert [name for name, _ in found.changes] == ["src/nanobrag_torch/simulator.py"]
