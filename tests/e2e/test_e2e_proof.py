"""`gate --policy work` and `explain --hunks` on changes whose verdict, line and hunk are known."""

from __future__ import annotations

import shutil
import signal

import pytest
from e2e_project import wait_until
from planted_history import cases, plant
from proof_branch import GEOMETRY, PROOF, SIMULATOR, SRC, plant_proof, wrong

from tests.torture.tiny import git

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def branch(new_project, tmp_path_factory):
    made = plant_proof(tmp_path_factory.mktemp("history") / "subject")
    judged = 'gate_workloads = "bandwidth-512-float32|multi_source-3"'
    asked = {"scales": ("multi_source",), "profile": judged}
    project = new_project("proof", register=False, smaller=(512,), **asked)
    project.run("nbbench", "subject", "use", str(made.history.folder))
    return project, made


@pytest.mark.parametrize("name", cases(PROOF, {"quadratic"}))
def test_the_gate_has_verdict_line_and_hunk(branch, name):
    project, made = branch
    ends = made.base, made.commits[name]
    document = project.told("gate", *ends, "--policy", "work", expect=PROOF[name].exit)
    assert not wrong(PROOF[name], document, made.lines.get(name, ""), made.hunks[name])


def test_explain_finds_the_hunk_and_keeps_what_it_recorded(branch):
    """The second time nothing is recorded; the others are named."""
    project, made = branch
    ends = made.base, made.commits["image"], "--bench", "multi_source-3", "--hunks"
    shown = " ".join(project.run("nbbench", "explain", *ends).stdout.split())
    assert f"another image is caused by {made.hunks['image']}; the other 3 hunks are innocent" in shown
    again = project.told("explain", *ends)["hunks"]
    assert again["done"] and again["recorded"] == 0
    assert {hunk["place"] for one in again["causes"] for hunk in one["hunks"]} == {made.hunks["image"]}
    assert {"track_bytes_per_pixel", "image"} <= {one["metric"] for one in again["causes"]}
    assert again["total"] == 4 and again["same_program"] == 2 and len(again["others"]) == 3


@pytest.mark.thorough
def test_without_a_change_no_hunk_causes_anything(branch):
    project, made = branch
    ends = made.base, made.commits["refactoring"], "--bench", "multi_source-3", "--hunks"
    told = project.told("explain", *ends)["hunks"]
    assert told["done"] and told["causes"] == [] and told["recorded"] == 0


WAITING = """

import time

from .utils import geometry

_run = Simulator.run


def _waits(self, **options):
    while not geometry.GO:
        time.sleep(0.01)
    return _run(self, **options) * 2.0


Simulator.run = _waits
"""


def test_an_interrupt_prints_what_is_known_and_leaves_nothing(new_project, tmp_path):
    """Without the other hunk the one that pays waits for ever: the interrupt meets it for certain."""
    history = plant(tmp_path / "subject")
    geometry, simulator = (history.folder / SRC / path for path in (GEOMETRY, SIMULATOR))
    text = geometry.read_text()
    geometry.write_text(f"{text}\n\nGO = False\n")
    base = history.commit("held")
    geometry.write_text(f"{text}\n\nGO = True\n")
    simulator.write_text(simulator.read_text() + WAITING)
    head = history.commit("free")
    project = new_project("interrupted", register=False, smaller=(512,))
    project.run("nbbench", "subject", "use", str(history.folder))
    process = project.start("nbbench", "explain", base, head, "--bench", "multi_source-1", "--hunks")
    wait_until(lambda: "hunks of " in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate()
    assert process.returncode == 130
    assert "is caused by some of 2 hunks (the search did not end)" in " ".join(shown.split())
    assert "the search was interrupted" in shown
    wait_until(lambda: not project.processes())


def test_a_budget_is_set_held_and_exceeded(branch):
    """The change that has another image does less; what does more is over."""
    project, made = branch
    asked, base, head = ("--bench", "multi_source-3"), made.commits["image"], made.base
    missing = project.run("nbbench", "budget", "check", base, expect=2)
    assert "there is no budgets.json" in missing.stderr and "nbbench budget set" in missing.stderr
    rows = project.told("budget", "set", base, *asked)["rows"]
    assert {row["workload"] for row in rows} == {"multi_source-3", "import"}
    held = project.told("budget", "check", base)
    assert held["held"] == len(rows) and not held["over"] and not held["missing"]
    over = project.told("budget", "check", head, expect=3)["over"]
    assert {row["metric"] for row in over} == {"track_bytes_per_pixel"}
    assert "Budgets at" in project.run("nbbench", "budget", "check", head, expect=3).stdout

    path = project.root / "budgets.json"
    path.write_text(path.read_text().replace("track_operations", "track_nothing", 1))
    assert project.told("budget", "check", base, expect=4)["missing"][0]["metric"] == "track_nothing"
    path.write_text(path.read_text().replace('"torch": "', '"torch": "0.', 1))
    other = project.run("nbbench", "budget", "check", base, expect=4)
    assert "the budget is of torch 0." in other.stderr
    git(project.root, "init", "--quiet")
    for name in ("user.name", "user.email"):
        git(project.root, "config", name, "ada")
    before = path.read_text()
    growing = "budget", "set", base, *asked, "--growth", "20"
    refused = project.run("nbbench", *growing, expect=2)
    assert "would allow more than now" in refused.stderr and "--reason TEXT" in refused.stderr
    assert path.read_text() == before
    told = project.told(*growing, "--reason", "a second\n  detector", "--commit")
    assert all(row["most"] == row["value"] * 1.2 for row in told["rows"]) and told["grown"]
    assert git(project.root, "log", "--format=%H %s") == f"{told['committed']} Budgets: a second detector"
    assert git(project.root, "show", "--name-only", "--format=%b").splitlines()[0].startswith("Exact work of")
    assert git(project.root, "ls-files") == "budgets.json"
    again = project.told(*growing, "--commit")
    assert again["committed"] is None and again["grown"] == []
    shutil.rmtree(project.root / ".git")
