"""`nbbench init` in a package's repository: a project in one command, a workload of ten lines, a verdict."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from e2e_project import MACHINE, Project

from tests.e2e.test_e2e_second_subject import CULPRIT, hashes  # noqa: F401 -- a fixture
from tests.torture.tiny import git

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SUITE = '''
from nbbench.suite import workload

@workload(sizes=[32], phases=["warm run"])
def blur(size):
    """What users wait for."""
    import torch
    from softfocus.blur import blur

    image = torch.linspace(0, 1, size * size).reshape(size, size)
    return lambda: blur(image)
'''
PLAIN = """
def time_nothing():
    pass
"""


@pytest.fixture(scope="module")
def project(hashes: tuple[Path, list[str]]) -> Project:  # noqa: F811
    """The clone itself, in which the commands run as a user types them."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_"))}
    clean.pop("PYTHONPATH", None)
    home = hashes[0].parent / "home"
    home.mkdir()
    return Project(hashes[0], clean | {"HOME": str(home), "NBBENCH_MACHINE": MACHINE, "COLUMNS": "200"})


def test_a_package_has_its_first_verdict(project: Project, hashes) -> None:  # noqa: F811
    clone, (before, after) = project.root, hashes[1][CULPRIT - 2 : CULPRIT]
    told = project.told("init", "--ci", "github", "--ci", "gitlab")
    assert (told["package"], told["branch"], told["commits"]) == ("softfocus", "trunk", 9)
    assert "PROJECT: benchmarks #" in (clone / ".github" / "workflows" / "nbbench.yml").read_text()
    assert "PROJECT: benchmarks #" in (clone / ".gitlab" / "nbbench.yml").read_text()
    assert git(clone, "diff", "HEAD") == ""
    again = project.told("init", expect=2)
    assert "asv.conf.json" in again["error"] and "--force" in again["hint"]
    gate = ("gate", before, after, "--policy", "work")
    said = project.told(*gate, expect=4)
    assert "say in benchmarks/workloads.py what is to run" in json.dumps(said)
    suite = clone / "benchmarks" / "benchmarks"
    (suite / "workloads.py").write_text(SUITE)
    (suite / "plain.py").write_text(PLAIN)
    measured = project.told("run", "--commits", f"{before},{after}")
    assert [(one["failed"], one["ok"]) for one in measured["commits"]] == [(0, 4)] * 2
    lost = project.told(*gate, expect=3)
    assert "softfocus/blur.py" in json.dumps(lost["verdicts"])
    (suite / "workloads.py").write_text(SUITE.replace("(0, 1,", "(1, 2,"))
    changed = project.told("run", "--commits", after, expect=2)
    assert "blur-32 of benchmarks/workloads.py is another workload" in changed["error"]
