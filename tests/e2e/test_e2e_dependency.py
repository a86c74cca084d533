"""A package and its dependency as one subject: who becomes slower by another pin is named, with the line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from e2e_project import MACHINE, Project

from tests.samples.pinned_pair import LOST, pinned_pair
from tests.torture.tiny import git

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SUITE = """
from nbbench.suite import workload

@workload(sizes=[32], phases=["memory"])
def blur(size):
    import torch
    from focus.blur import blur

    image = torch.linspace(0, 1, size * size).reshape(size, size)
    return lambda: blur(image)
"""
LINE = "vendor/lens/lib/lens/kernel.py"


def test_a_commit_that_moves_a_submodule_is_the_cause(tmp_path: Path) -> None:
    pair = pinned_pair(tmp_path)
    plain, slow = pair.commit(pair.plain, roll=1), pair.commit(pair.slow)
    lens = pair.focus / "vendor" / "lens"
    git(tmp_path, "clone", "--quiet", str(pair.lens), str(lens))
    git(lens, "checkout", "--quiet", "--detach", pair.slow)
    (tmp_path / "home").mkdir()
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_", "PYTHONPATH"))
    }
    project = Project(pair.focus, clean | {"HOME": str(tmp_path / "home"), "NBBENCH_MACHINE": MACHINE})
    assert project.told("init", "--dependency", "vendor/lens")["dependencies"] == ["lens"]
    (pair.focus / "benchmarks" / "benchmarks" / "workloads.py").write_text(SUITE)
    [known] = project.told("subject", "show")["dependencies"]
    assert (known["pinned"], known["pins"], known["missing"]) == (2, 2, 0)

    measured = project.told("run")["commits"]
    assert {(one["hash"], one["failed"]) for one in measured} == {(plain, 0), (slow, 0)}
    [event] = [
        one["event"] for one in project.told("regressions")["flags"] if one["event"]["cause"] == "dtype"
    ]
    assert event["hi_commit"] == slow and LINE in json.dumps(event)
    assert f"{LINE}:2" in project.run("nbbench", "explain", plain, slow).stdout
    lost = project.told("gate", plain, slow, "--policy", "work", expect=3)
    assert f"{LINE}:2" in json.dumps(lost["verdicts"])

    git(lens, "checkout", "--quiet", pair.plain)  # what lies in the submodule, not what is pinned
    better = project.told("gate", "--worktree", "--policy", "work")
    assert better["outcome"] == "improved"

    lost_pin = pair.commit(LOST)
    said = f"commit {lost_pin[:8]} pins lens at {LOST[:8]}, which ../vendor/lens does not have"
    assert said in project.told("run", "--commits", lost_pin, expect=2)["error"]
    assert said in project.told("gate", slow, lost_pin, "--policy", "work", expect=4)["error"]
