"""Captures of which a random process is killed: nothing runs on, and the folder says what became of it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from nbbench.record.stamp import verify_folder
from tests.e2e.e2e_project import wait_until
from tests.torture.tiny import git, tiny_project, tiny_subject

_TEST = """
import subprocess, sys, time

def test_waits():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print("so far")
    time.sleep(1.0)
    child.kill()
"""


def killed_captures(count: int, seed: int = 0) -> dict[str, object]:
    """Kill a random process of a capture `count` times: nbbench, supervisor, pytest, a child of the test."""
    rng, victims, statuses = random.Random(seed), Counter[str](), Counter[str]()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        base = Path(name)
        subject, scratch = base / "subject", base / "scratch"
        tiny_subject(subject)
        scratch.mkdir()
        (subject / "test_waits.py").write_text(_TEST)
        git(subject, "add", "--all")
        git(subject, "commit", "--quiet", "-m", "a test")
        project = tiny_project(base / "project", subject)
        environment = project.environment | {"TMPDIR": str(scratch), "NBBENCH_TORTURE": name}
        for number in range(count):
            reports = base / f"reports{number}"
            command = [
                sys.executable,
                "-m",
                "nbbench",
                "capture",
                "--root",
                str(project.root),
                "--out",
                str(reports),
            ]
            command += [
                "--cluster",
                "CLUSTER-1",
                "--preset",
                "quick",
                "--",
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "test_waits.py",
            ]
            process = subprocess.Popen(
                command,
                cwd=subject,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            victims[_kill_one(name, process, rng)] += 1
            _, errors = process.communicate(timeout=600)
            wait_until(lambda: not _processes(name))
            wait_until(lambda: not list(scratch.glob("nbbench-capture-*")))
            wrong += [f"{number}: a traceback"] if b"Traceback" in errors else []
            folders = list(reports.glob("**/summary.md"))
            for summary in folders:
                found = next(
                    (w for w in ("BLOCKED", "PASSED", "FAILED") if w in summary.read_text()), "nothing"
                )
                whole = "whole" if not verify_folder(summary.parent) else "unfinished"
                statuses[f"{found}, {whole}"] += 1
                if found == "nothing" or (whole == "unfinished" and found != "BLOCKED"):
                    wrong.append(f"{number}: {found}, {whole}")
            statuses["no folder yet"] += not folders
    return {
        "kills": sum(victims.values()),
        "victims": dict(sorted(victims.items())),
        "folders": dict(sorted(statuses.items())),
        "wrong": wrong,
    }


def _kill_one(mark: str, nbbench: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Wait a random time, then kill one process that carries the mark in its environment."""
    time.sleep(rng.uniform(0.1, 3.0))
    alive = _processes(mark)
    if not alive:
        return "none: it had ended"
    victim = rng.choice(alive)
    kind = "nbbench" if victim.pid == nbbench.pid else "supervisor or what it runs"
    try:
        victim.kill()
    except psutil.Error:
        return "none: it had ended"
    return kind


def _processes(mark: str) -> list[psutil.Process]:
    """Processes with the mark in their environment, but for this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found += [process] if process.environ().get("NBBENCH_TORTURE") == mark else []
        except psutil.Error:
            continue
    return found
