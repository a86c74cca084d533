"""Laws of growth through the command line: `ledger --scaling`, a loop that becomes quadratic."""

from __future__ import annotations

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
    """A project, and commits whose loop over the beam's sources is linear, reworded, quadratic, linear."""
    history = plant(tmp_path_factory.mktemp("history") / "subject")
    module = history.folder / SIMULATOR
    text, made = module.read_text(), {}
    for name, body in (
        ("linear", LINEAR),
        ("reworded", "two = one"),
        ("quadratic", QUADRATIC),
        ("back", LINEAR),
    ):
        module.write_text(text + LOOP.format(body=body))
        made[name] = history.commit(name)
    project = new_project("scaling", register=False)
    project.run("nbbench", "subject", "use", str(history.folder))
    return project, made


class TestGate:
    def test_a_quadratic_loop_over_three_sources_is_a_regression(self, branch):
        """Of the two thousand steps of three sources it makes a dozen more."""
        project, commits = branch
        ends = commits["linear"], commits["quadratic"]
        document = project.told("gate", *ends, "--policy", "work", expect=3)
        (worse,) = (one for one in document["verdicts"] if one["outcome"] == "regressed")
        assert (worse["series"], worse["cause"]) == (SERIES, "host work")
        assert (worse["base_value"], worse["head_value"]) == (1, 2)
        assert "grow as N² instead of as N, at nanobrag_torch/simulator.py:" in worse["sentence"]
        assert " _paired" in worse["sentence"]

    def test_other_words_for_the_same_loop_pass(self, branch):
        project, commits = branch
        document = project.told("gate", commits["linear"], commits["reworded"], "--policy", "work")
        assert document["outcome"] == "unchanged"

    def test_a_loop_that_is_linear_again_is_a_gain(self, branch):
        project, commits = branch
        document = project.told("gate", commits["quadratic"], commits["back"], "--policy", "work")
        assert [one["series"] for one in document["verdicts"] if one["outcome"] == "improved"] == [SERIES]
