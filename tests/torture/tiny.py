"""A tiny subject and a suite of known values: what is stored can be checked value by value."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.e2e.e2e_project import MACHINE, Project

COMMITS = 8
BENCHMARKS = ("suite.track_revision", "suite.Values.track_twice", "suite.Values.time_nothing")
SAMPLES = 3

# Of a project that is not nanoBragg: all but its name.
ASV_CONF = {
    "version": 1,
    "repo": ".nbbench/subject.git",
    "dvcs": "git",
    "branches": ["trunk"],
    "plugins": [".nbbench.asv_plugin"],
    "environment_type": "nbbench",
    "pythons": ["same"],
    "benchmark_dir": "benchmarks",
    "results_dir": "results",
    "html_dir": "html",
    "env_dir": ".nbbench/env",
}
_PROFILE = """
[tool.nbbench]
plan = "TINY-1"
[tool.nbbench.subject]
package = "tiny"
measured_path = "tiny"
branch = "trunk"
[tool.nbbench.presets.quick]
description = "a test"
command = ["pytest", "-q", "test_waits.py"]
environment = { PYTEST_ADDOPTS = "--maxfail=1" }
"""
_SUITE = f"""
import importlib

def track_revision():
    return importlib.import_module("tiny").REVISION
track_revision.unit = "revisions"

class Values:
    version = "1"
    rounds = 1
    repeat = {SAMPLES}
    number = 1
    def track_twice(self):
        return 2 * importlib.import_module("tiny").REVISION
    track_twice.unit = "revisions"
    def time_nothing(self):
        importlib.import_module("tiny")
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`, whatever the user's settings are."""
    who = {f"GIT_{part}_{word}": "u" for part in ("AUTHOR", "COMMITTER") for word in ("NAME", "EMAIL")}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, env=clean | who, text=True
    )
    return done.stdout.strip()


def tiny_subject(folder: Path) -> list[str]:
    """A history of COMMITS commits in `folder`; the n-th has REVISION n. Returns the hashes."""
    package = folder / "tiny"
    package.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=trunk")
    made = []
    for number in range(1, COMMITS + 1):
        (package / "__init__.py").write_text(f"REVISION = {number}\n")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", f"--date=2025-03-{number:02d}T12:00:00+00:00", "-m", f"{number}")
        made.append(git(folder, "rev-parse", "HEAD"))
    return made


def tiny_project(folder: Path, subject: Path) -> Project:
    """A project below `folder` that measures the tiny subject."""
    root = folder / "project"
    suite = root / "benchmarks"
    suite.mkdir(parents=True)
    (root / "asv.conf.json").write_text(json.dumps(ASV_CONF | {"project": "tiny"}))
    (root / "pyproject.toml").write_text(_PROFILE)
    (suite / "__init__.py").write_text("")
    (suite / "suite.py").write_text(_SUITE)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_"))}
    clean.pop("PYTHONPATH", None)
    more = {"HOME": str(folder), "NBBENCH_MACHINE": MACHINE, "COLUMNS": "200"}
    made = Project(root, clean | more)
    made.run("nbbench", "subject", "use", str(subject))
    made.run("asv", "machine", "--yes", "--machine", MACHINE)
    return made


def wrong_values(project: Project, commits: list[str]) -> list[str]:
    """What of the finished results is missing, doubled or stale, as phrases; empty where all is right."""
    found = []
    for number, commit in enumerate(commits, 1):
        file = project.results().get(commit[:8])
        if file is None:
            found.append(f"{number}: no file")
            continue
        columns = file["result_columns"]
        for name, wanted in zip(BENCHMARKS, (number, 2 * number, None), strict=True):
            row = dict(zip(columns, file["results"].get(name) or [], strict=False))
            values = row.get("result") or [None]
            if len(values) != 1 or values[0] is None:
                found.append(f"{number}: {name} has {values}")
            elif wanted is not None and values[0] != wanted:
                found.append(f"{number}: {name} is {values[0]}")
            elif wanted is None and len(row["samples"][0]) != SAMPLES:
                found.append(f"{number}: {name} has {len(row['samples'][0])} samples")
    return found
