"""Where the image first differs, through the command line, on commits planted for it."""

from __future__ import annotations

import pytest
from planted_history import cases, plant

pytestmark = pytest.mark.e2e

# What each call of the source generation does besides: its lines are 14 and more of _planted.py.
BASE = """def doubled(values):
        return values * 2.0
    x = result[0].double().sin()
    y = doubled(x)
    for step in range(4):
        y = y + 0.5
    total = y.sum(dim=(0, 1))
    picked = x[:, 1:2]
    result = (y / total + picked, *result[1:])"""
HELPER = "def doubled(values):\n        return values * 2.0\n    "
MOVED = BASE.replace(HELPER, "").replace("doubled(x)", "(lambda values: values * 2.0)(x)")
# By name: the lines, the place that differs and what is said of it.
PLANTED = {
    "constant": (BASE.replace("2.0", "2.002"), 15, "a value from Python: _, 2.0 → _, 2.002"),
    "narrower": (BASE.replace("doubled(x)", "doubled(x).float().double()"), 17, "dtype: float64 → float32"),
    "order": (
        BASE.replace("y.sum(dim=(0, 1))", "y.sum(0).sum()"),
        20,
        "order of summation",
    ),
    "index": (BASE.replace("1:2", "2:3"), 21, "a value from Python"),
    "harmless": (
        BASE.replace("    total", "    unused = (y * 7).sum()\n    total").replace("1:2", "0:1"),
        22,
        "a value from Python",
    ),
    "loop": (BASE.replace("y + 0.5", "y + (0.75 if step == 2 else 0.5)"), 19, "_, 0.5 → _, 0.75"),
}


@pytest.fixture(scope="module")
def branch(new_project, tmp_path_factory):
    """A project of its own, and commits by name: each is a change of `good`."""
    history = plant(tmp_path_factory.mktemp("history") / "subject")
    made = {"good": history.commit("good", BASE)}
    made |= {name: history.commit(name, body) for name, (body, _, _) in PLANTED.items()}
    made["moved"] = history.commit("moved", MOVED)
    project = new_project("first", register=False, smaller=(512,))
    project.run("nbbench", "subject", "use", str(history.folder))
    return project, made


@pytest.mark.parametrize("name", cases(PLANTED, {"constant"}))
def test_the_line_and_the_reason(branch, name):
    project, commits = branch
    found = project.told("explain", commits["good"], commits[name], "--bench", "sources-3969")
    first, (_, line, said) = found["first_difference"], PLANTED[name]
    assert first["where"] == f"nanobrag_torch/_planted.py:{line}", first["sentence"]
    assert said in first["sentence"]
    assert first["sentence"].startswith("sources-3969: values first differ at nanobrag_torch/_planted.py:")


@pytest.mark.thorough
def test_a_function_that_is_renamed_and_moved_differs_nowhere(branch):
    project, commits = branch
    found = project.told("explain", commits["good"], commits["moved"], "--bench", "sources-3969")
    assert found["first_difference"] is None
    assert found["diffs"][0]["image"] == "same bits"


@pytest.mark.thorough
def test_text_and_gate_say_it(branch):
    project, commits = branch
    ends = commits["good"], commits["index"]
    text = " ".join(project.run("nbbench", "explain", *ends, "--bench", "sources-3969").stdout.split())
    assert "sources-3969: values first differ at nanobrag_torch/_planted.py:21 (" in text
    done = project.run("nbbench", "gate", *ends, "--policy", "work", expect=4)
    assert done.stdout.startswith("NOT COMPARABLE: ")
    assert "values first differ at nanobrag_torch/_planted.py:21" in " ".join(done.stdout.split())


def test_equal_trees_need_no_table(branch):
    project, commits = branch
    shown = project.run("nbbench", "explain", commits["good"], commits["good"], "--bench", "sources-3969")
    assert len(shown.stdout.strip().splitlines()) == 1
