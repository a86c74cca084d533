"""Host work through the command line: `gate --policy work` and `explain` on commits planted for it."""

from __future__ import annotations

import pytest
from planted_history import plant

pytestmark = pytest.mark.e2e

CONSTRUCTOR = "src/nanobrag_torch/simulator.py"

# What each call of the source generation does besides (the line is 14 of _planted.py), and what is said of
# it: the phase, the cause and a part of the sentence.
PLANTED = {
    "loop": (
        "total = 0\n    for i in range(400): total += i",
        ("warm run", "host work", "nanobrag_torch/_planted.py:15 planted: executed "),
    ),
    "print": (
        "print('sources', len(result))",
        ("warm run", "output", "nanobrag_torch/_planted.py:14 planted: writes to stdout 0 B → "),
    ),
    "import": (
        "import wave",
        ("first run", "import", "nanobrag_torch/_planted.py:14 planted: imports wave 0 → 1"),
    ),
    "memory": (
        "kept = [float(i) for i in range(200_000)]",
        ("warm run", "host work", "nanobrag_torch/_planted.py:14 planted: holds 0 B → "),
    ),
}
BUILDING = """

import functools

_build = Simulator.__init__


@functools.wraps(_build)
def _slowly(self, *args, **kwargs):
    _build(self, *args, **kwargs)
    _build(self, *args, **kwargs)
    return _build(self, *args, **kwargs)


Simulator.__init__ = _slowly
"""


@pytest.fixture(scope="module")
def branch(new_project, tmp_path_factory):
    """A project of its own, and commits by name upon the embedded subject: each is a change of `good`."""
    history = plant(tmp_path_factory.mktemp("history") / "subject")
    made = {"good": history.commit("good", "pass")}
    made["words"] = history.commit("words")
    made["same"] = history.commit("same", "unused = result")
    for name, (body, _) in PLANTED.items():
        made[name] = history.commit(name, body)
    history.commit("good again", "pass")
    module = history.folder / CONSTRUCTOR
    module.write_text(module.read_text() + BUILDING)
    made["constructor"] = history.commit("constructor")
    project = new_project("host", register=False)
    project.run("nbbench", "subject", "use", str(history.folder))
    return project, made


def worse(document: dict) -> dict[tuple[str, str], str]:
    """The sentences of what became worse, by series and cause."""
    found = [one for one in document["verdicts"] if one["outcome"] == "regressed"]
    return {(one["series"], one["cause"]): one["sentence"] for one in found}


class TestGate:
    @pytest.mark.parametrize("name", PLANTED)
    def test_what_is_planted_is_a_regression(self, branch, name):
        project, commits = branch
        phase, cause, said = PLANTED[name][1]
        document = project.told("gate", commits["good"], commits[name], "--policy", "work", expect=3)
        assert document["outcome"] == "regressed"
        sentence = worse(document)[f"host sources-3969, {phase}", cause]
        assert said in sentence

    def test_a_constructor_three_times_slower(self, branch):
        project, commits = branch
        asked = (commits["good"], commits["constructor"], "--policy", "work")
        sentence = worse(project.told("gate", *asked, expect=3))[
            "host multi_source-3, construct", "host work"
        ]
        assert "Simulator.__init__" in sentence

    def test_equal_work_passes(self, branch):
        """One line more a run is no regression."""
        project, commits = branch
        document = project.told("gate", commits["good"], commits["same"], "--policy", "work")
        assert document["outcome"] == "unchanged"
        assert {"host import", "host sources-3969"} <= {one["series"] for one in document["verdicts"]}

    def test_exact_work_answers_for_time(self, branch):
        """However busy the machine is: pairs are looked at, and nothing but a confirmed loss blocks."""
        project, commits = branch
        asked = (commits["good"], commits["same"], "--bench", r"Sources\.time_generate")
        document = project.told("gate", *asked)
        assert document["outcome"] == "unchanged"
        [timed] = [one for one in document["verdicts"] if "time_generate" in one["series"]]
        assert [one["kind"] for one in timed["evidence"]] == ["counted work", "checked"]
        assert "the exact work is equal" in timed["sentence"]
        assert "work of every kind is equal" in document["sentence"]

    def test_words_alone_pass_at_once(self, branch):
        project, commits = branch
        document = project.told("gate", commits["good"], commits["words"], "--policy", "work")
        assert document["outcome"] == "unchanged" and not document["verdicts"]

    def test_explain_shows_the_lines(self, branch):
        """The sentence counts it, the section has the lines, and JSON has both."""
        project, commits = branch
        ends = commits["good"], commits["loop"], "--bench", "sources-3969"
        shown = " ".join(project.run("nbbench", "explain", *ends).stdout.split())
        assert "Host work of sources-3969, warm run: " in shown
        assert "Host work, by line" in shown and "nanobrag_torch/_planted.py:15 planted: executed " in shown
        told = project.told("explain", *ends)["host"]
        (loop,) = (one for one in told if (one["workload"], one["phase"]) == ("sources-3969", "warm run"))
        assert loop["counts"] and loop["metric"] == "steps" and loop["after"] - loop["before"] > 400
        assert loop["lines"][0]["where"] == "nanobrag_torch/_planted.py:15"

    def test_the_text_names_phase_function_and_line(self, branch):
        project, commits = branch
        done = project.run("nbbench", "gate", commits["good"], commits["print"], "--policy=ledger", expect=3)
        assert done.stdout.startswith("REGRESSED: ")
        assert "nanobrag_torch/_planted.py:14 planted: writes to stdout" in done.stdout


@pytest.fixture(scope="module")
def losses(branch):
    """The regressions of the branch by commit, phase and cause."""
    project, commits = branch
    project.run("nbbench", "ledger", f"{commits['good']}..HEAD", "--bench", "sources-3969")
    names = {commit: name for name, commit in commits.items()}
    events = [one["event"] for one in project.told("regressions")["flags"]]
    return {(names.get(e["hi_commit"]), e["phase"], e["cause"]): e for e in events}


class TestEvents:
    @pytest.mark.parametrize("name", PLANTED)
    def test_each_is_an_event_with_its_cause_and_line(self, losses, name):
        phase, cause, said = PLANTED[name][1]
        event = losses[name, phase, cause]
        assert (event["direction"], event["lo_commit"]) == ("regression", event["hi_commit"])
        assert said.partition(" ")[0] in str(event["evidence"])
