"""The figures of a real run: plugin, real pytest, real torch, the dtype audit in warm processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from e2e_project import REPOSITORY, Project

from nbbench.capture.findings import findings_of
from nbbench.capture.test_records import keep_trace
from nbbench.captured import Capture, Findings, RunOutcome
from nbbench.config import load_settings
from nbbench.report.blocks import Title
from nbbench.report.capture import RECORDS, capture_metrics, sentences
from nbbench.report.stamp_page import result_blocks
from nbbench.subject.subjects.nanobragg.demo import TIP_HASH, write_demo
from tests.torture.tiny import git

pytestmark = pytest.mark.e2e

TRACE = "profile.json"
TEST = """
import time
from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig
from nanobrag_torch.models.crystal import Crystal
from nanobrag_torch.models.detector import Detector
from nanobrag_torch.simulator import Simulator


def test_bandwidth():
    bandwidths = {}
    for size in (128, 512):
        crystal = Crystal(CrystalConfig(N_cells=(5, 5, 5), default_F=100.0))
        detector = Detector(DetectorConfig(spixels=size, fpixels=size))
        simulator = Simulator(crystal=crystal, detector=detector, beam_config=BeamConfig(wavelength_A=6.2))
        start = time.perf_counter()
        simulator.run()
        seconds = time.perf_counter() - start
        bandwidths[size] = size * size * 24 / seconds / 2**30
        print(f"  {size}×{size}: {seconds:.6f}s, ~{bandwidths[size]:.3f} GB/s effective")
    assert bandwidths[512] >= 0.0001 * bandwidths[128]
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded subject with one more test file."""
    folder = tmp_path_factory.mktemp("checkout") / "subject"
    write_demo(folder)
    git(folder, "checkout", "--quiet", "-f", "feature/spec-based-2")
    (folder / "tests" / "test_extra.py").write_text(TEST, encoding="utf-8")
    return folder


def captured(checkout: Path, folder: Path, **environment: str) -> Capture:
    """Run the test under the plugin, as `nbbench capture` does."""
    folder.mkdir()
    plugin = REPOSITORY / "nbbench" / "capture" / "evidence_plugin"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "NBBENCH_", "NB_"))}
    told = {
        "PYTHONPATH": os.pathsep.join([str(plugin), str(checkout / "src")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_PLUGINS": "nbbench_evidence",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "NBBENCH_EVIDENCE_RECORD": str(folder / RECORDS),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_extra.py")
    started = datetime.now(UTC)
    done = subprocess.run(
        command,
        cwd=checkout,
        env={**kept, **told, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return Capture(
        stamp="20260105T083000Z",
        cluster="CLUSTER-PERF-001",
        plan="PERF-PYTORCH-004",
        preset="cpu-perf",
        command=command,
        cwd=str(checkout),
        guards=(),
        timeout_s=900.0,
        started_at=started,
        commit=git(checkout, "rev-parse", "HEAD"),
        tree=git(checkout, "rev-parse", "HEAD:src/nanobrag_torch"),
        python=sys.executable,
        outcome=RunOutcome.PASSED,
    )


def findings(project: Project, run: tuple[Capture, Path], **options) -> Findings:
    asked = {"environment": {}, "audited": True, "say": lambda _: None, **options}
    return findings_of(load_settings(project.root), *run, **asked)


@pytest.fixture(scope="module")
def run(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Capture, Path]:
    """One run that several tests read, with a trace beside its folder."""
    folder = tmp_path_factory.mktemp("facts") / "run"
    return captured(checkout, folder, NB_PROFILER_OUT=str(folder.parent / TRACE)), folder


def test_figures_and_verdict_of_a_real_run(project: Project, run: tuple[Capture, Path]) -> None:
    found = findings(project, run)
    written = capture_metrics(found, RunOutcome.PASSED)
    names = {f.name for f in written["figures"]}
    assert {"128² bandwidth", "512² bandwidth"} <= names
    (check,) = found.checks
    assert check.name == "bandwidths[512] / bandwidths[128]" and check.passed is True
    assert check.dtype == "float32"  # what the subject computes in when nobody names a dtype


def test_a_profile_is_a_trace_with_a_summary(project: Project, run: tuple[Capture, Path]) -> None:
    found = findings(project, run, environment={"NB_PROFILER_OUT": "x"})
    keep_trace(run[1].parent / TRACE, run[1], ())
    data = (run[1] / TRACE).read_bytes()
    assert len(data) <= 5 * 2**20
    assert any(event.get("name") == "aten::mul" for event in json.loads(data)["traceEvents"])
    assert any("under torch's profiler" in text for text in sentences(found, RunOutcome.PASSED))


def test_figures_come_from_the_terminal_where_capturing_is_off(
    project: Project, run: tuple[Capture, Path], tmp_path: Path
) -> None:
    (tmp_path / "pytest.log").write_text("  512×512: 0.043s, ~0.1 GB/s effective\n", encoding="utf-8")
    found = findings(project, (run[0], tmp_path))
    assert {figure.name for figure in found.figures} >= {"512² time", "512² bandwidth"}
    assert any("plugin was not loaded" in note for note in found.notes)


def test_the_preset_of_dtypes_adds_the_audit_of_the_commit(
    project: Project, run: tuple[Capture, Path], tmp_path: Path
) -> None:
    """It needs no test that ran, and its largest error is one that was judged (H15)."""
    start = replace(run[0], preset="vec-dtype", cluster="CLUSTER-VEC-001", commit=TIP_HASH)
    start = replace(start, changes_before=(("a.py", "modified x"),))
    found = findings(project, (start, tmp_path))
    assert found.audit is not None, found.notes
    assert any("without the work tree's changes" in note for note in found.notes)
    said = "\n".join(sentences(found, RunOutcome.PASSED))
    assert f"dtype audit of {TIP_HASH[:8]}: " in said and "see dtype_snapshot.json" in said
    assert any(isinstance(block, Title) and block.text == "dtype audit" for block in result_blocks(found))
