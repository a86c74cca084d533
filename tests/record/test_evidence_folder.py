"""Reading evidence folders back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from evidence_samples import COMMIT, TEST, metrics, write_evidence
from hypothesis import given
from hypothesis import strategies as st

from nbbench.captured import EvidenceFigure
from nbbench.record.evidence_folder import folder_figures, read_folder


def test_a_capture_is_read_back(tmp_path: Path) -> None:
    found = read_folder(write_evidence(tmp_path / "cluster_C" / "20251015T113531Z"))
    assert (found.stamp, found.cluster, found.commit) == ("20251015T113531Z", "CLUSTER-PERF-001", COMMIT)
    assert (found.kind, found.verdict, found.exit_code) == ("capture", "failed", 1)
    assert found.figures[:4] == (
        EvidenceFigure("Bandwidth 512² float32", 0.36, "GB/s", TEST),
        EvidenceFigure("Bandwidth 2048² float32", 0.176, "GB/s", TEST),
        EvidenceFigure("Time", 0.5, "s", TEST),
        EvidenceFigure("Time", 0.6, "s", TEST),
    )
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
    assert (found.figures, found.exit_code) == ((), None)
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
def test_any_metrics_give_finite_figures(told: dict[str, Any]) -> None:
    assert all(math.isfinite(figure.value) for figure in folder_figures(told))


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
