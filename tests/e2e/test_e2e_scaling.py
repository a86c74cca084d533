"""Laws of growth through the command line: `ledger --scaling`, a loop that becomes quadratic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from planted_history import plant

pytestmark = pytest.mark.e2e

SIMULATOR = "src/nanobrag_torch/simulator.py"
LOOP = """

_found = Simulator._sources


def _paired(self):
    found = _found(self)
    for one in found:
        {body}
    return found


Simulator._sources = _paired
"""
LINEAR, QUADRATIC = "one = one", "for other in found: other = one"
SERIES = "order of host steps, warm run of multi_source-N-16"


@pytest.fixture(scope="module")
def branch(new_project, tmp_path_factory):
    """A project with one scale, and commits whose loop is linear, quadratic, linear, reworded."""
    history = plant(tmp_path_factory.mktemp("history") / "subject")
    module = history.folder / SIMULATOR
    text, made = module.read_text(), {}
    for name, body in (
        ("linear", LINEAR),
        ("quadratic", QUADRATIC),
        ("back", LINEAR),
        ("reworded", "two = one"),
    ):
        module.write_text(text + LOOP.format(body=body))
        made[name] = history.commit(name)
    judged = 'gate_workloads = "multi_source-3"'
    asked = {"scales": ("multi_source",), "profile": judged}
    project = new_project("scaling", register=False, smaller=(512,), **asked)
    project.run("nbbench", "subject", "use", str(history.folder))
    return project, made, history.folder


def test_regressions_has_the_event_with_its_line(branch):
    """Before the gates, which record more of some commits than of others."""
    project, commits, _ = branch
    span = f"{commits['linear']}..{commits['back']}"
    project.run("nbbench", "ledger", span, "--scaling", "--bench", "multi_source-3")
    events = [one["event"] for one in project.told("regressions")["flags"]]
    (worse,) = (one for one in events if one["direction"] == "regression")
    assert (worse["hi_commit"], worse["cause"], worse["phase"]) == (
        commits["quadratic"],
        "host work",
        "warm run",
    )
    assert worse["recovered_by"] == commits["back"]
    shown = " ".join(project.run("nbbench", "regressions").stdout.split())
    assert "multi_source-N-16 grow as N² instead of as N, at nanobrag_torch/simulator.py:" in shown


class TestGate:
    def test_a_quadratic_loop_over_three_sources_is_a_regression(self, branch):
        """Of the two thousand steps of three sources it makes a dozen more."""
        project, commits, _ = branch
        ends = commits["linear"], commits["quadratic"]
        document = project.told("gate", *ends, "--policy", "work", expect=3)
        (worse,) = (one for one in document["verdicts"] if one["outcome"] == "regressed")
        assert (worse["series"], worse["cause"]) == (SERIES, "host work")
        assert (worse["base_value"], worse["head_value"]) == (1, 2)
        assert "grow as N² instead of as N, at nanobrag_torch/simulator.py:" in worse["sentence"]
        assert " _paired" in worse["sentence"]

    @pytest.mark.thorough
    def test_other_words_for_the_same_loop_pass(self, branch):
        project, commits, _ = branch
        document = project.told("gate", commits["linear"], commits["reworded"], "--policy", "work")
        assert document["outcome"] == "unchanged"

    @pytest.mark.thorough
    def test_a_loop_that_is_linear_again_is_a_gain(self, branch):
        project, commits, _ = branch
        document = project.told("gate", commits["quadratic"], commits["back"], "--policy", "work")
        assert [one["series"] for one in document["verdicts"] if one["outcome"] == "improved"] == [SERIES]


def test_explain_says_which_order_changed(branch):
    project, commits, _ = branch
    document = project.told("explain", commits["linear"], commits["quadratic"], "--bench", "multi_source-3")
    (order,) = document["orders"]
    assert (order["scale"], order["before"], order["after"]) == ("multi_source-N-16", 1, 2)
    assert (
        "Growth: host steps, warm run of multi_source-N-16 grow as N² instead of as N" in document["sentence"]
    )


class TestLaws:
    @pytest.fixture(scope="class")
    @classmethod
    def branch(cls, branch, new_project):
        """The same commits with more scales."""
        more = {"smaller": (512, 1024), "scales": ("bandwidth", "tricubic")}
        project = new_project("laws", register=False, **more)
        project.run("nbbench", "subject", "use", str(branch[2]))
        return project, *branch[1:]

    def test_laws_of_small_runs_predict_what_is_on_record(self, branch):
        """Interpolation grows with its points alone; images are cut into bands, small ones are not."""
        project, commits, _ = branch
        small = "tricubic-.*-float32|bandwidth-(512|1024)-float32"
        project.run("nbbench", "ledger", commits["back"], "--bench", small)
        asked = ("--scaling", "--bench", "tricubic|bandwidth-N-float32")
        image, points = project.told("ledger", commits["back"], *asked)["scales"]
        law = points["laws"]["bytes"]
        assert law["order"] == 1 and all(Fraction(one) == int(Fraction(one)) for one in law["coefficients"])
        for quantity in ("bytes", "operations", "peak live bytes", "upcast bytes"):
            assert points["laws"][quantity]["off"] == {"1000": 0.0, "100000": 0.0}
        assert image["laws"]["bytes"]["order"] == 2
        assert image["laws"]["bytes"]["off"].keys() == {"512", "1024"}
        assert max(image["laws"]["bytes"]["off"].values()) < 1e-6
        assert image["laws"]["operations"]["off"]["512"] > 0.1

    def test_the_text_has_laws_as_people_write_them(self, branch):
        project, commits, _ = branch
        shown = project.run(
            "nbbench", "ledger", commits["back"], "--scaling", "--bench", "bandwidth-N"
        ).stdout
        assert "N is size; recorded at 8, 16, 24, 32, 40, 48, multiples of 8" in shown
        assert " N² + " in shown and "host steps, warm run" in shown

    def test_a_pattern_that_fits_no_scale_is_refused(self, branch):
        project, commits, _ = branch
        done = project.run("nbbench", "ledger", commits["back"], "--scaling", "--bench", "nothing", expect=2)
        assert "scales: bandwidth-N-float32" in done.stderr
