"""Processes killed or stopped at random moments of `nbbench run`; every stored value is then checked."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from nbbench.config import load_settings
from nbbench.model import to_plain
from nbbench.record.refresh import open_store
from tests.e2e.e2e_project import Project
from tests.torture.tiny import tiny_project, tiny_subject, wrong_values

HANGS_S = 600
"""A run takes seconds, on a busy machine a minute: one that takes longer than this hangs."""
ORPHANS_END_S = 60


def kills(count: int, seed: int = 0, base: Path | None = None) -> dict[str, object]:
    """Kill (once in five: stop) a random process of the run `count` times; finish, and check each project.

    The victim is any process that works for the project: nbbench, asv, a server, a measured child.
    """
    rng, victims = random.Random(seed), Counter[str]()
    wrong: list[str] = []
    done = projects = resumed = 0
    with tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True) as name:
        subject = Path(name) / "subject"
        commits = tiny_subject(subject)
        while done < count:
            projects += 1
            project = tiny_project(Path(name) / str(projects), subject)
            while done < count and wrong_values(project, commits):
                resumed += 1
                done += _run_and_kill(project, rng, min(3, count - done), victims)
                wrong += _running_on(project)
            project.run("nbbench", "run")
            wrong += wrong_values(project, commits) + _left_behind(project) + _other_database(project)
    return {
        "kills": done,
        "victims": dict(sorted(victims.items())),
        "runs": resumed + projects,
        "projects": projects,
        "wrong": wrong,
    }


def _run_and_kill(project: Project, rng: random.Random, most: int, victims: Counter[str]) -> int:
    """Start a run and hit up to `most` processes of it; returns how many were hit."""
    process = project.start("nbbench", "run")
    hit = 0
    stopped: list[psutil.Process] = []
    try:
        while hit < most:
            time.sleep(rng.uniform(0.2, 4.0))
            alive = project.processes()
            if process.poll() is not None or not alive:
                break
            kind = rng.choice(sorted({_kind(one, process) for one in alive}))
            victim = rng.choice([one for one in alive if _kind(one, process) == kind])
            number = signal.SIGSTOP if rng.random() < 0.2 else signal.SIGKILL
            try:
                victims[f"{kind} {number.name}"] += 1
                victim.send_signal(number)
            except psutil.Error:
                continue
            hit += 1
            if number is signal.SIGSTOP:
                stopped.append(victim)
    finally:
        for victim in stopped:  # a server or a child that is stopped must be noticed; the two parents cannot
            if victim.pid == process.pid or "asv" in _words(victim):
                victim.send_signal(signal.SIGCONT) if victim.is_running() else None
        try:
            process.communicate(timeout=HANGS_S)
        except subprocess.TimeoutExpired:
            there = [f"{one.pid} {one.status()} {' '.join(_words(one))}" for one in project.processes()]
            process.kill()
            raise AssertionError(f"a run hangs after {dict(victims)}: {there}") from None
    return hit


def _running_on(project: Project) -> list[str]:
    """What of a run goes on without it, for a minute or longer; ended then."""
    end = time.monotonic() + ORPHANS_END_S
    while project.processes() and time.monotonic() < end:
        time.sleep(0.05)
    left = project.processes()
    told = [f"runs on: {one.status()} {' '.join(_words(one))}" for one in left]
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.kill()
    return told


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _kind(victim: psutil.Process, nbbench: subprocess.Popen[str]) -> str:
    """nbbench itself, asv, or what it started: a server or a measured process."""
    if victim.pid == nbbench.pid:
        return "nbbench"
    return "asv" if "asv" in _words(victim) else "server or benchmark"


def _left_behind(project: Project) -> list[str]:
    """Files of unfinished writing below the project."""
    names = [p.name for p in (project.root / "results").rglob("*") if p.is_file()]
    return [f"left behind: {name}" for name in names if name.endswith((".tmp", ".partial")) or ".tmp" in name]


def _other_database(project: Project) -> list[str]:
    """How the database, imported bit by bit, differs from one that is made of the files at once."""
    before = stored_values(project.root)
    project.run("nbbench", "db", "rebuild")
    after = stored_values(project.root)
    return [] if before == after else [f"the database has {len(before)} values, a fresh one {len(after)}"]


def stored_values(root: Path) -> list[str]:
    """Every series of a project's database with its values, sorted."""
    with open_store(load_settings(root)) as store:
        return sorted(repr(to_plain(one)) for one in store.iter_series())
