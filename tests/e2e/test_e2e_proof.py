"""`gate --policy work` and `explain --hunks` on changes whose verdict, line and hunk are known."""

from __future__ import annotations

import pytest
from proof_branch import PROOF, plant_proof, wrong

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def branch(new_project, tmp_path_factory):
    made = plant_proof(tmp_path_factory.mktemp("history") / "subject")
    project = new_project("proof", register=False)
    project.run("nbbench", "subject", "use", str(made.history.folder))
    return project, made


@pytest.mark.parametrize("name", PROOF)
def test_the_gate_has_verdict_line_and_hunk(branch, name):
    project, made = branch
    ends = made.base, made.commits[name]
    document = project.told("gate", *ends, "--policy", "work", expect=PROOF[name].exit)
    assert not wrong(PROOF[name], document, made.lines.get(name, ""), made.hunks[name])


def test_explain_finds_the_hunk_and_keeps_what_it_recorded(branch):
    """The second time nothing is recorded; the others are named."""
    project, made = branch
    ends = made.base, made.commits["image"], "--bench", "multi_source-3", "--hunks"
    first = project.told("explain", *ends)["hunks"]
    again = project.told("explain", *ends)["hunks"]
    assert again["done"] and again["recorded"] == 0 and again["causes"] == first["causes"]
    assert {hunk["place"] for one in again["causes"] for hunk in one["hunks"]} == {made.hunks["image"]}
    assert {"track_bytes_per_pixel", "image"} <= {one["metric"] for one in again["causes"]}
    assert again["total"] == 3 and again["same_program"] == 1 and len(again["others"]) == 2
    shown = " ".join(project.run("nbbench", "explain", *ends).stdout.split())
    assert f"another image is caused by {made.hunks['image']}; the other 2 hunks are innocent" in shown


def test_without_a_change_no_hunk_causes_anything(branch):
    project, made = branch
    ends = made.base, made.commits["refactoring"], "--bench", "multi_source-3", "--hunks"
    told = project.told("explain", *ends)["hunks"]
    assert told["done"] and told["causes"] == [] and told["recorded"] == 0
