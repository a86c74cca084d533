"""Roofline and dtype audit on the embedded subject; no figure of time decides anything."""

from __future__ import annotations

import json

import pytest
from e2e_project import planted

from nbbench.probe.ceiling import LARGEST_ARRAY_BYTES

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def upcast(project):
    """The audit of the commit that reduces a phase with a float64 constant."""
    return project.told("dtypes", planted(7), expect=3)


class TestDtypes:
    def test_the_planted_upcast_is_found_with_its_line(self, upcast):
        assert (upcast["schema"], upcast["verdict"]) == ("nbbench.dtype-snapshot/1", "upcasts")
        guilty = [c for c in upcast["cases"] if c["verdict"] != "neutral"]
        assert [(c["case"], c["dtype"]) for c in guilty] == [("simulator", "float32")]
        assert guilty[0]["upcasts"][0]["path"] == "nanobrag_torch/utils/physics.py"
        assert guilty[0]["upcasts"][0]["function"] == "sincg"
        assert {row["dtype"] for row in guilty[0]["upcasts"]} == {"float64"}

    def test_every_case_ran_in_both_dtypes(self, project, upcast):
        cases = {(c["case"], c["dtype"]) for c in upcast["cases"]}
        assert len(cases) == len(upcast["cases"]) == 16
        shapes = {c["case"]: c["outputs"][0]["shape"] for c in upcast["cases"]}
        assert shapes["tricubic-scalar"] == []
        assert shapes["tricubic-grid"] == [2, 3]
        outside = next(c for c in upcast["cases"] if c["case"] == "tricubic-out-of-range")
        assert outside["fell_back"] == "default_F"
        assert str(project.root) not in json.dumps(upcast)

    @pytest.mark.thorough
    def test_the_commit_before_is_neutral(self, project):
        assert project.told("dtypes", planted(5))["verdict"] == "neutral"

    def test_a_broken_simulator_does_not_hide_the_other_cases(self, project):
        audit = project.told("dtypes", planted(8), expect=3)
        verdicts = {c["case"]: c["verdict"] for c in audit["cases"]}
        assert (audit["verdict"], verdicts["simulator"]) == ("broken", "broken")
        assert verdicts["tricubic-batch"] == "neutral"
        reason = next(c["reason"] for c in audit["cases"] if c["case"] == "simulator")
        assert "NameError" in reason and "nanobrag_torch/simulator.py:" in reason


class TestRoofline:
    def test_measured(self, project):
        told = project.told(
            *("roofline", planted(17), "--bench", "^(bandwidth-512-float32|tricubic-1-float32)$"),
        )
        rows = {row["workload"]: row for row in told["workloads"]}
        assert set(rows) == {"bandwidth-512-float32", "tricubic-1-float32"}
        roof = told["roof"]
        assert all(roof[kernel] > 0 for kernel in ("copy", "scale", "add", "triad", "op_s", "view_s"))
        assert roof["with_write_allocate"]["copy"] == pytest.approx(1.5 * roof["copy"])
        assert roof["array_bytes"] >= min(4 * roof["cache_bytes"], LARGEST_ARRAY_BYTES)
        for row in rows.values():
            assert row["rate"] == pytest.approx(row["bytes"] / row["seconds"])
            assert row["bound"] in ("memory", "cache", "partly cached", "dispatch")
