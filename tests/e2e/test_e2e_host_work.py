"""Host work through the command line: `gate --policy work` and `explain` on commits planted for it."""

from __future__ import annotations

import math

import pytest
from planted_history import cases, plant

pytestmark = pytest.mark.e2e

MODULE = "src/nanobrag_torch/_planted.py"
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
        ("first run", "import", "nanobrag_torch/_planted.py:14 planted: imports wave 0 modules → 1 module"),
    ),
    "string": (
        "exec('for i in range(400): pass')",
        ("warm run", "host work", "nanobrag_torch/_planted.py:14 planted: executed "),
    ),
    "warning": (
        "import warnings; warnings.warn('odd', RuntimeWarning)",
        ("warm run", "output", "nanobrag_torch/_planted.py:14 planted: warns RuntimeWarning 0 → 1"),
    ),
    "thread": (
        "import threading\n    threading.Thread(target=len, args=([],)).start()",
        ("warm run", "host work", "nanobrag_torch/_planted.py:15 planted: starts thread 0 → 1"),
    ),
    "wait": (
        "time.sleep(0)",
        ("warm run", "host work", "nanobrag_torch/_planted.py:14 planted: waits in time.sleep 0 → 1"),
    ),
    "child": (
        "import subprocess; subprocess.run(['true'], check=True)",
        ("warm run", "host work", "nanobrag_torch/_planted.py:14 planted: starts Popen 0 → 1"),
    ),
    "tensors": (
        "planted.table = getattr(planted, 'table', None) or [result[0] * i for i in range(40)]",
        ("first run", "work", "nanobrag_torch/_planted.py:14 planted: moves by mul float32 0 B → "),
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
    big = "x = result[0].new_ones(1_000_000)\n    "
    made["low"] = history.commit("low", f"{big}y = x * 2; del y\n    z = x * 3; del z")
    made["high"] = history.commit("high", f"{big}y = x * 2\n    z = x * 3; del y, z")
    chance = "from random import randrange\n    for i in range(randrange(10**5)): pass"
    made["chance"] = history.commit("chance", chance)
    made["ends"] = history.commit("ends", "import os; os._exit(3)")
    history.commit("good again", "pass")
    planted = history.folder / MODULE
    planted.write_text(f"{planted.read_text()}\nimport torch\n\ntorch.set_default_dtype(torch.float64)\n")
    made["dtype"] = history.commit("dtype")
    history.commit("good once more", "pass")
    module = history.folder / CONSTRUCTOR
    module.write_text(module.read_text() + BUILDING)
    made["constructor"] = history.commit("constructor")
    judged = 'gate_workloads = "multi_source-3|sources-3969"'
    project = new_project("host", register=False, smaller=(512,), profile=judged)
    project.run("nbbench", "subject", "use", str(history.folder))
    return project, made


def worse(document: dict) -> dict[tuple[str, str], str]:
    """The sentences of what became worse, by series and cause."""
    found = [one for one in document["verdicts"] if one["outcome"] == "regressed"]
    return {(one["series"], one["cause"]): one["sentence"] for one in found}


class TestGate:
    @pytest.mark.parametrize("name", cases(PLANTED, {"loop"}))
    def test_what_is_planted_is_a_regression(self, branch, name):
        project, commits = branch
        phase, cause, said = PLANTED[name][1]
        document = project.told("gate", commits["good"], commits[name], "--policy", "work", expect=3)
        assert document["outcome"] == "regressed"
        sentence = worse(document)[f"host sources-3969, {phase}", cause]
        assert said in sentence

    @pytest.mark.thorough
    def test_a_constructor_three_times_slower(self, branch):
        project, commits = branch
        asked = (commits["good"], commits["constructor"], "--policy", "work")
        sentence = worse(project.told("gate", *asked, expect=3))[
            "host multi_source-3, construct", "host work"
        ]
        assert "Simulator.__init__" in sentence

    @pytest.mark.thorough
    def test_a_peak_with_equal_traffic(self, branch):
        """Both lines: where it was, and where it is."""
        project, commits = branch
        asked = (commits["low"], commits["high"], "--policy", "work")
        document = project.told("gate", *asked, expect=3)
        (peak,) = (one for one in document["verdicts"] if one["outcome"] == "regressed")
        assert peak["series"] == "peak memory sources-3969" and math.exp(peak["effect"]) > 1.4
        where = "nanobrag_torch/_planted.py:"
        assert f"reached at {where}16 planted, before at {where}15 planted" in peak["sentence"]

    def test_what_does_not_repeat_is_named_and_not_judged(self, branch):
        project, commits = branch
        document = project.told("gate", commits["good"], commits["chance"], "--policy", "work", expect=4)
        assert document["outcome"] == "inconclusive"
        said = {one["series"]: one for one in document["not_judged"]}["host work"]
        assert said["reason"] == "does not repeat"
        assert said["detail"].startswith("does not repeat: nanobrag_torch/_planted.py:15")
        assert "ledger sources-3969" in {one["series"] for one in document["verdicts"]}

    @pytest.mark.thorough
    def test_a_process_that_ends_costs_its_own_workload(self, branch):
        """And names the line that ended it."""
        project, commits = branch
        document = project.told("gate", commits["good"], commits["ends"], "--policy", "work", expect=3)
        (lost,) = (one for one in document["verdicts"] if one["outcome"] == "regressed")
        assert lost["series"] == "ledger sources-3969"
        assert "the process ended with 3 at nanobrag_torch/_planted.py:14 planted" in lost["sentence"]
        assert "ledger multi_source-3" in {one["series"] for one in document["verdicts"]}

    @pytest.mark.thorough
    def test_another_default_dtype(self, branch):
        project, commits = branch
        document = project.told("gate", commits["good"], commits["dtype"], "--policy", "work", expect=3)
        sentence = worse(document)["host import", "host work"]
        assert "_planted.py:" in sentence and "<module>: sets default dtype torch.float64 0 → 1" in sentence

    @pytest.mark.thorough
    def test_equal_work_passes(self, branch):
        """One line more a run is no regression."""
        project, commits = branch
        document = project.told("gate", commits["good"], commits["same"], "--policy", "work")
        assert document["outcome"] == "unchanged"
        assert {"host import", "host sources-3969"} <= {one["series"] for one in document["verdicts"]}

    @pytest.mark.thorough
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
        assert "sources-3969, warm run: 7" in shown and "tensor operations →" not in shown
        assert "Host work, by line" in shown and "nanobrag_torch/_planted.py:15 planted: executed " in shown
        told = project.told("explain", *ends)["host"]
        (loop,) = (one for one in told if (one["workload"], one["phase"]) == ("sources-3969", "warm run"))
        assert loop["counts"] and loop["metric"] == "steps" and loop["after"] - loop["before"] > 400
        assert loop["lines"][0]["where"] == "nanobrag_torch/_planted.py:15"

    def test_the_text_names_phase_function_and_line(self, branch):
        project, commits = branch
        done = project.run("nbbench", "gate", commits["good"], commits["loop"], "--policy=ledger", expect=3)
        assert done.stdout.startswith("REGRESSED: ")
        assert "nanobrag_torch/_planted.py:15 planted: executed " in done.stdout


@pytest.fixture(scope="module")
def losses(branch):
    """The regressions of the branch by commit, phase and cause."""
    project, commits = branch
    project.run("nbbench", "ledger", f"{commits['good']}..HEAD", "--bench", "sources-3969")
    names = {commit: name for name, commit in commits.items()}
    events = [one["event"] for one in project.told("regressions")["flags"]]
    return {(names.get(e["hi_commit"]), e["phase"], e["cause"]): e for e in events}


@pytest.mark.thorough
class TestEvents:
    def test_a_peak_has_both_lines(self, losses):
        event = losses["high", "memory", "work"]
        assert "_planted.py" in str(event["evidence"]) and event["lo_commit"] == event["hi_commit"]

    def test_what_does_not_repeat_is_no_event(self, losses):
        assert not [key for key in losses if key[0] == "chance" and key[2] != "work"]

    @pytest.mark.parametrize("name", PLANTED)
    def test_each_is_an_event_with_its_cause_and_line(self, losses, name):
        phase, cause, said = PLANTED[name][1]
        event = losses[name, phase, cause]
        assert (event["direction"], event["lo_commit"]) == ("regression", event["hi_commit"])
        assert said.partition(" ")[0] in str(event["evidence"])
