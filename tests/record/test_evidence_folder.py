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

from nbbench.captured import EvidenceFigure, Folder
from nbbench.record.evidence_folder import folder_figures, read_folder
from nbbench.report.evidence import comparison_blocks, differences, figure_rows
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
        "machine": "cpu Example CPU, physical cores 2, memory 24 GiB",
        "threads": "2",
        "torch": "2.13.0",
        "python": "3.11.7",
        "flags": "CUDA_VISIBLE_DEVICES=-1 NANOBRAGG_DISABLE_COMPILE=1",
        "command": "pytest -vv tests/test_at_perf_003.py",
        "dtype": "float32",
    }
    assert (found.damage, found.problems) == ((), ())


def test_the_parts_of_a_capture_that_give_figures() -> None:
    told = {
        "schema": "nbbench.metrics/1",
        "checks": [{"name": "ratio", "value": 0.44, "test": TEST}, {"name": "silent", "value": None}],
        "tests": [{"test": TEST, "duration_s": 3.5}],
        "usage": {"wall_s": 1.76, "minor_faults": 1_280_000},
        "session": {"torch_threads": 2},
    }
    assert [(f.name, f.value, f.unit) for f in folder_figures(told)] == [
        ("check: ratio", 0.44, ""),
        ("usage.wall_s", 1.76, "seconds"),
        ("usage.minor_faults", 1_280_000, "faults"),
    ]


def test_what_hands_leave_is_read_and_named(tmp_path: Path) -> None:
    """A blank exit code, figures in JSON of any form, no run_metadata.json."""
    folder = tmp_path / "cluster_CLUSTER-PERF-001" / "20251015T113531Z"
    folder.mkdir(parents=True)
    (folder / "exit_code.txt").write_text("\n")
    told = {
        "commit": "8b8c48d0",
        "figures": [{"name": "Time", "value": 1.5, "unit": "s"}, {"name": "x", "value": True}, None],
    }
    (folder / "metrics.json").write_text(json.dumps(told))
    found = read_folder(folder)
    assert (found.kind, found.cluster, found.commit) == ("hand", "CLUSTER-PERF-001", "8b8c48d0")
    assert found.figures == (EvidenceFigure("Time", 1.5, "s"),)
    assert found.exit_code is None
    assert found.problems == (
        "run_metadata.json cannot be read: No such file or directory",
        "exit_code.txt holds '', no exit code",
    )


def test_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    found = read_folder(tmp_path)
    assert (found.figures, found.conditions, found.exit_code) == ((), (), None)
    assert len(found.problems) == 3


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


def content(tmp_path: Path, name: str, **options: Any) -> Folder:
    return read_folder(write_evidence(tmp_path / "cluster_C" / name, **options))


def test_equal_conditions_are_comparable_whatever_the_commit(tmp_path: Path) -> None:
    a = content(tmp_path, "20251015T113531Z")
    told = metrics(commit="ab" * 20, figures=[{"name": "Time", "value": 1.0, "unit": "s", "test": TEST}])
    b = content(tmp_path, "20251016T113531Z", told=told)
    assert differences(a, b) == []
    top, *rest = figure_rows(a, b)
    assert (top["name"], top["values"]) == ("Time", (0.5, 1.0))
    assert top["effect"] == pytest.approx(math.log(2))
    only_a = [row["name"] for row in rest if row["values"][1] is None]
    assert only_a == ["Bandwidth 512² float32", "Bandwidth 2048² float32", "Time #2"]


DIFFERENT: dict[str, dict[str, Any]] = {
    "machine": {"run": run_metadata(machine={"cpu": "Other CPU"})},
    "threads": {"told": metrics(session={"torch_threads": 4})},
    "torch": {"run": run_metadata(versions={"torch": "2.4.0", "python": "3.11.7"})},
    "python": {"run": run_metadata(versions={"torch": "2.13.0", "python": "3.12.0"})},
    "flags": {"run": run_metadata(guards=[["CUDA_VISIBLE_DEVICES", "-1"], ["TORCHDYNAMO_DISABLE", "1"]])},
    "command": {"run": run_metadata(command=["pytest", "tests/test_at_perf_001.py"])},
    "dtype": {"told": metrics(conditions={"dtype": "float64"})},
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_each_condition_is_refused_by_name(tmp_path: Path, name: str) -> None:
    a = content(tmp_path, "20251015T113531Z")
    b = content(tmp_path, "20251015T113532Z", **DIFFERENT[name])
    assert [reason.split(" differs (")[0] for reason in differences(a, b)] == [name]
    text = as_text(comparison_blocks(a, b))
    assert text.startswith("20251015T113531Z against 20251015T113532Z: NOT COMPARABLE\n")
    assert f"NOT COMPARABLE: {name} differs" in text


def test_what_is_not_recorded_is_said_not_guessed(tmp_path: Path) -> None:
    a = content(tmp_path, "20251015T113531Z")
    bare = replace(a, conditions=(), problems=("env.txt is odd",))
    assert differences(a, bare) == []
    text = as_text(comparison_blocks(a, bare))
    assert "not recorded in both, so not checked: machine, threads" in text and "B: env.txt is odd" in text


def test_damage_and_no_common_figure_are_reasons(tmp_path: Path) -> None:
    a = content(tmp_path, "20251015T113531Z")
    damaged = replace(a, figures=(), damage=("env.txt has changed",))
    assert differences(a, damaged) == ["B is damaged: env.txt has changed", "they have no figure in common"]


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
    def effects(x: list[EvidenceFigure], y: list[EvidenceFigure]) -> dict[tuple[str, str], Any]:
        rows = figure_rows(Folder("x", figures=tuple(x)), Folder("y", figures=tuple(y)))
        return {(row["name"], row["unit"]): row["effect"] for row in rows}

    there, back = effects(a, b), effects(b, a)
    assert set(there) == set(back)
    assert all(back[key] == pytest.approx(-one) for key, one in there.items() if one is not None)


def test_golden_text(tmp_path: Path) -> None:
    a = content(tmp_path, "20251015T113531Z")
    told = metrics(exit_code=0, verdict="passed", usage={}, figures=metrics()["figures"][:1])
    told["figures"][0] = {**told["figures"][0], "value": 0.40}
    b = content(tmp_path, "20251016T113531Z", told=told, exit_code=0)
    sides = replace(a, path="A/x"), replace(b, path="B/y")
    golden(as_text(comparison_blocks(*sides)) + "\n", "compare_evidence.txt")
    golden(as_markdown(comparison_blocks(*sides)) + "\n", "compare_evidence.md")


def golden(text: str, name: str) -> None:
    path = Path(__file__).parents[1] / "golden" / name
    if os.environ.get("NBBENCH_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"profiled": True}, "profiled capture"),
        ({"malloc_pinned_by": "GLIBC_TUNABLES"}, "malloc-pinned capture"),
        ({"session": {"compiled_graphs": 2}}, "compiled capture"),
        ({"session": {"compiled_graphs": 0}, "malloc_pinned_by": "", "profiled": False}, "capture"),
    ],
)
def test_a_capture_under_other_conditions_is_called_so(
    tmp_path: Path, changes: dict[str, Any], kind: str
) -> None:
    assert read_folder(write_evidence(tmp_path / "x", told=metrics(**changes))).kind == kind
