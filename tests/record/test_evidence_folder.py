"""Reading evidence folders back, and holding one against another."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evidence_samples import COMMIT, TEST, metrics, run_metadata, write_evidence
from hypothesis import given
from hypothesis import strategies as st

from nbbench.evidence import EvidenceFigure, FolderContent
from nbbench.plan.compare_evidence import compare_evidence
from nbbench.record.evidence_folder import folder_figures, read_folder
from nbbench.report.compare_evidence import comparison_blocks
from nbbench.report.markdown import as_markdown
from nbbench.report.text import as_text


def test_a_capture_is_read_back(tmp_path: Path) -> None:
    found = read_folder(write_evidence(tmp_path / "cluster_C" / "20251015T113531Z"))
    assert (found.stamp, found.cluster, found.commit) == ("20251015T113531Z", "CLUSTER-PERF-001", COMMIT)
    assert (found.kind, found.verdict, found.exit_code) == ("capture", "failed", 1)
    assert found.figures[:4] == (
        EvidenceFigure("Bandwidth 512² float32", 0.36, "GB/s", TEST),
        EvidenceFigure("Bandwidth 2048² float32", 0.176, "GB/s", TEST),
        EvidenceFigure("Time", 0.5, "s", TEST),
        EvidenceFigure("Time #2", 0.6, "s", TEST),
    )
    assert EvidenceFigure("usage.minor_faults", 1_280_000.0, "faults", "the whole run") in found.figures
    assert dict(found.conditions) == {
        "machine": "Example CPU, 2 physical cores, 24 GiB memory",
        "threads": "OMP_NUM_THREADS=2",
        "torch": "2.13.0",
        "python": "3.11.7",
        "flags": "CUDA_VISIBLE_DEVICES=-1 NANOBRAGG_DISABLE_COMPILE=1",
        "command": "timeout 900 pytest -vv tests/test_at_perf_003.py",
        "dtype": "bandwidth-512-float32:torch.float32",
    }
    assert (found.missing, found.problems) == ((), ())


def test_the_parts_of_a_capture_that_give_figures() -> None:
    timing = {"wall_s": 1.76, "minor_faults": 1_280_000}
    trial = {"size": 2048, "dtype": "float64", "default": timing, "pinned": None, "penalty": 2.75}
    told = {
        "schema": "nbbench.metrics/1",
        "checks": [{"name": "ratio", "value": 0.44, "test": TEST}, {"name": "silent", "value": None}],
        "tests": [{"test": TEST, "duration_s": 3.5}],
        "diagnosis": {"copy_bytes_per_s": 2e10, "trials": [trial]},
        "session": {"torch_threads": 2},
    }
    assert [(f.name, f.value, f.unit) for f in folder_figures(told)] == [
        ("check: ratio", 0.44, ""),
        ("diagnosis.copy_bytes_per_s", 2e10, "B/s"),
        ("diagnosis.trials.0.size", 2048, ""),
        ("diagnosis.trials.0.default.wall_s", 1.76, "seconds"),
        ("diagnosis.trials.0.default.minor_faults", 1_280_000, "faults"),
        ("diagnosis.trials.0.penalty", 2.75, ""),
    ]


def test_what_hands_leave_is_read_and_named(tmp_path: Path) -> None:
    """A blank exit code, figures in JSON of any form, no run_metadata.json."""
    folder = tmp_path / "cluster_CLUSTER-PERF-001" / "20251015T113531Z"
    folder.mkdir(parents=True)
    (folder / "exit_code.txt").write_text("\n")
    told = {
        "bandwidth": {"512": 0.36, "2048": 0.176},
        "commit": "8b8c48d0",
        "runs": [1.5, None, "x"],
        "ok": True,
    }
    (folder / "metrics.json").write_text(json.dumps(told))
    (folder / "env.txt").write_text("CUDA_VISIBLE_DEVICES=-1\n")
    found = read_folder(folder)
    assert (found.kind, found.cluster, found.commit) == ("hand", "CLUSTER-PERF-001", "8b8c48d0")
    assert [(f.name, f.value) for f in found.figures] == [
        ("bandwidth.512", 0.36),
        ("bandwidth.2048", 0.176),
        ("runs.0", 1.5),
    ]
    assert found.exit_code is None
    assert found.missing == ("run_metadata.json", "torch_env.txt", "commands.txt")
    assert found.problems == ("exit_code.txt holds '', no exit code",)
    assert dict(found.conditions)["flags"] == "CUDA_VISIBLE_DEVICES=-1"


def test_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    found = read_folder(tmp_path)
    assert (found.figures, found.conditions, found.exit_code) == ((), (), None)
    assert len(found.missing) == 6


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["series", "figures", "checks", "tests", "diagnosis", "ledgers", "usage", "schema", "a"]
        ),
        JSON,
    )
)
def test_any_metrics_give_finite_figures_with_different_names(told: dict[str, Any]) -> None:
    found = list(folder_figures(told))
    assert all(math.isfinite(figure.value) for figure in found)
    names = [(figure.name, figure.workload) for figure in found]
    assert len(set(names)) == len(names)


# Comparing


def content(tmp_path: Path, name: str, **options: Any) -> FolderContent:
    return read_folder(write_evidence(tmp_path / "cluster_C" / name, **options))


def test_equal_conditions_are_comparable_whatever_the_commit(tmp_path: Path) -> None:
    a = content(
        tmp_path, "20251015T113531Z", command=f"nbbench run --commits {COMMIT} --out 20251015T113531Z"
    )
    told = metrics(commit="ab" * 20, figures=[{"name": "Time", "value": 1.0, "unit": "s", "test": TEST}])
    b = content(
        tmp_path,
        "20251016T113531Z",
        told=told,
        command=f"nbbench run --commits {'ab' * 20} --out 20251016T113531Z",
    )
    found = compare_evidence(a, b)
    assert found.reasons == ()
    top = found.figures[0]
    assert (top.name, top.a, top.b, top.better) == ("Time", 0.5, 1.0, "a")
    assert top.effect == pytest.approx(math.log(2))
    only_a = [row.name for row in found.figures if row.b is None]
    assert only_a == ["Bandwidth 512² float32", "Bandwidth 2048² float32", "Time #2"]


DIFFERENT: dict[str, dict[str, Any]] = {
    "machine": {"run": run_metadata(machine={"cpu": "Other CPU"})},
    "threads": {"env": "CUDA_VISIBLE_DEVICES=-1\nOMP_NUM_THREADS=4\n"},
    "torch": {"run": run_metadata(versions={"torch": "2.4.0", "python": "3.11.7"})},
    "python": {"run": run_metadata(versions={"torch": "2.13.0", "python": "3.12.0"})},
    "flags": {"run": run_metadata(guards=[["CUDA_VISIBLE_DEVICES", "-1"], ["TORCHDYNAMO_DISABLE", "1"]])},
    "command": {"command": "timeout 900 pytest tests/test_at_perf_001.py"},
    "dtype": {
        "told": metrics(ledgers=[{"workload": "bandwidth-512-float32", "output_dtype": "torch.float64"}])
    },
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_each_condition_is_refused_by_name(tmp_path: Path, name: str) -> None:
    a = content(tmp_path, "20251015T113531Z")
    b = content(tmp_path, "20251015T113532Z", **DIFFERENT[name])
    found = compare_evidence(a, b)
    assert [reason.split(" differs (")[0] for reason in found.reasons] == [name]
    text = as_text(comparison_blocks(found))
    assert text.startswith("20251015T113531Z against 20251015T113532Z: NOT COMPARABLE\n")
    assert f"NOT COMPARABLE: {name} differs" in text


def test_what_is_not_recorded_is_said_not_guessed(tmp_path: Path) -> None:
    a = content(tmp_path, "20251015T113531Z")
    found = compare_evidence(a, replace(a, conditions=(), missing=("env.txt",), exit_code=124))
    assert found.comparable
    assert "not checked, because not recorded in both: machine, threads" in found.notes[0]
    assert "B has no env.txt" in found.notes
    assert "B ended with exit code 124: its figures may be partial" in found.notes


def test_damage_and_no_common_figure_are_reasons(tmp_path: Path) -> None:
    a = content(tmp_path, "20251015T113531Z")
    found = compare_evidence(a, replace(a, figures=()), (), ("env.txt has changed",))
    assert found.reasons == ("B is damaged: env.txt has changed", "they have no figure in common")


FIGURES = st.lists(
    st.builds(
        EvidenceFigure,
        st.sampled_from("abc"),
        st.floats(-1e9, 1e9),
        st.sampled_from(["seconds", "B/s", "", "operations", "GB/s", "dtype code"]),
    ),
    max_size=6,
    unique_by=lambda figure: (figure.name, figure.unit),
)


@given(FIGURES, FIGURES)
def test_comparing_is_antisymmetric(a: list[EvidenceFigure], b: list[EvidenceFigure]) -> None:
    def rows(x: list[EvidenceFigure], y: list[EvidenceFigure]) -> dict[tuple[str, str], Any]:
        found = compare_evidence(FolderContent("x", figures=tuple(x)), FolderContent("y", figures=tuple(y)))
        return {(row.name, row.unit): row for row in found.figures}

    swap = {"a": "b", "b": "a", "equal": "equal", "within the floor": "within the floor", "": ""}
    there, back = rows(a, b), rows(b, a)
    assert set(there) == set(back)
    for key, row in there.items():
        assert back[key].better == swap[row.better]
        if row.effect is not None:
            assert back[key].effect == pytest.approx(-row.effect)


def test_golden_text(tmp_path: Path) -> None:
    a = content(tmp_path, "20251015T113531Z")
    told = metrics(exit_code=0, verdict="passed", usage={}, figures=metrics()["figures"][:1])
    told["figures"][0] = {**told["figures"][0], "value": 0.40}
    b = content(tmp_path, "20251016T113531Z", told=told, exit_code=0)
    found = compare_evidence(replace(a, path="A/x"), replace(b, path="B/y"))
    golden(as_text(comparison_blocks(found)) + "\n", "compare_evidence.txt")
    golden(as_markdown(comparison_blocks(found)) + "\n", "compare_evidence.md")


def golden(text: str, name: str) -> None:
    path = Path(__file__).parents[1] / "golden" / name
    if os.environ.get("NBBENCH_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_a_difference_is_told_in_whole_facts(tmp_path: Path) -> None:
    sides = []
    for usable in ("1", "2"):
        facts = {"cpu": "Example CPU of a long name", "physical cores": "2", "processors usable": usable}
        folder = write_evidence(tmp_path / usable / "20251015T113531Z", run=run_metadata(machine=facts))
        sides.append(read_folder(folder))
    (reason,) = compare_evidence(*sides).reasons
    assert reason == "machine differs (1 processors usable / 2 processors usable)"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"operators": [{"operator": "aten::mul"}]}, "profiled capture"),
        ({"malloc_pinned_by": "GLIBC_TUNABLES"}, "malloc-pinned capture"),
        ({"session": {"compiled_graphs": 2}}, "compiled capture"),
        ({"session": {"compiled_graphs": 0}, "malloc_pinned_by": "", "operators": []}, "capture"),
    ],
)
def test_a_capture_under_other_conditions_is_called_so(
    tmp_path: Path, changes: dict[str, Any], kind: str
) -> None:
    assert read_folder(write_evidence(tmp_path / "x", told=metrics(**changes))).kind == kind


def check(value: float, spread: float = 0.01) -> EvidenceFigure:
    item = {
        "name": "ratio",
        "value": value,
        "op": ">=",
        "value_lo": value - spread,
        "value_hi": value + spread,
    }
    (found,) = folder_figures({"schema": "nbbench.metrics/1", "checks": [item]})
    return found


def test_what_tests_assert_comes_first_and_noise_is_equal() -> None:
    printed = EvidenceFigure("2048² bandwidth", 0.0, "GB/s", TEST, resolution=0.05)
    trial = EvidenceFigure("time 2048² float64", 1.0, "seconds", "diagnosis")
    a = FolderContent("a", figures=(trial, printed, check(0.469)))
    changed = (replace(trial, value=9.0), replace(printed, value=0.1))
    b = FolderContent("b", figures=(*changed, check(1.55)))
    found = compare_evidence(a, b)
    rows = [(row.name, row.better) for row in found.figures]
    assert rows[0] == ("check: ratio", "b") and rows[1] == ("2048² bandwidth", "equal")
    assert rows[2:] == [("time 2048² float64", "a")]
    assert "of 2 figures in both, 1 better in B, 0 worse" in as_text(comparison_blocks(found))
