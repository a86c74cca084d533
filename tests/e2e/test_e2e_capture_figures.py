"""The figures of a real run: plugin, real pytest, real torch, the diagnosis in warm processes."""

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

from nbbench.capture.findings import enrich
from nbbench.captured import CaptureFacts, RunOutcome, RunUsage
from nbbench.config import load_settings
from nbbench.measure.ledgers import known_ledgers
from nbbench.model import Commit
from nbbench.subject.subjects.nanobragg.demo import write_demo

pytestmark = pytest.mark.e2e

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


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def captured(checkout: Path, folder: Path, **environment: str) -> CaptureFacts:
    """Run the test under the plugin, as `nbbench capture` does."""
    folder.mkdir()
    plugin = REPOSITORY / "nbbench" / "capture" / "evidence_plugin"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "NBBENCH_", "NB_"))}
    told = {
        "PYTHONPATH": os.pathsep.join([str(plugin), str(checkout / "src")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_PLUGINS": "nbbench_evidence",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "NBBENCH_EVIDENCE_RECORD": str(folder / "record.jsonl"),
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
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return CaptureFacts(
        folder=folder,
        cluster="CLUSTER-PERF-001",
        preset="cpu-perf",
        command=command,
        subject=checkout,
        commit=git(checkout, "rev-parse", "HEAD"),
        tree=git(checkout, "rev-parse", "HEAD:src/nanobrag_torch"),
        dirty=False,
        started_at=started,
        ended_at=datetime.now(UTC),
        exit_code=0,
        outcome=RunOutcome.PASSED,
        usage=RunUsage(),
        record=folder / "record.jsonl",
        python=sys.executable,
    )


@pytest.fixture(scope="module")
def facts(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> CaptureFacts:
    """One run that several tests read."""
    return captured(checkout, tmp_path_factory.mktemp("facts") / "run")


def test_figures_ledger_and_verdict_of_a_real_run(
    project: Project, checkout: Path, facts: CaptureFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBBENCH_MAX_FRAME_MB", "3")  # 2048² is refused, 512² measured
    # One more commit on the same tree, which the registered subject does not have.
    git(checkout, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "later")
    facts = replace(facts, commit=git(checkout, "rev-parse", "HEAD"), dirty=True)
    found = enrich(load_settings(project.root), facts)
    assert found.verdict == "passed"
    figures = {f["name"]: f["value"] for f in found.metrics["figures"]}
    assert {"128² bandwidth", "512² bandwidth", "legacy bandwidth 512²", "achieved bandwidth 512²"} <= set(
        figures
    )
    (check,) = found.metrics["checks"]
    assert check["name"] == "bandwidths[512] / bandwidths[128]" and check["passed"] is True
    trials = {(t["size"], t["dtype"]): t for t in found.metrics["diagnosis"]["trials"]}
    trial = trials[512, "float32"]
    measured = Commit(facts.commit, facts.tree, datetime.now(UTC), "")
    kept = known_ledgers(load_settings(project.root), measured)["bandwidth-512-float32"]
    assert trial["bytes_per_pixel"] == pytest.approx(kept.bytes_per_pixel)
    assert trial["default"]["wall_s"] > 0 and trial["pinned"]["wall_s"] > 0 and trial["penalty"] > 0
    assert found.metrics["diagnosis"]["copy_bytes_per_s"] > 1e8
    assert any("2048² float64: NotImplementedError: a frame of 33.6 MB" in note for note in found.notes)
    assert any("uncommitted changes" in note for note in found.notes)
    assert any("no baseline on this machine" in sentence for sentence in found.sentences)
    assert [title for title, _ in found.sections][:2] == ["Results", "Comparison to baseline"]


def test_a_profile_is_a_trace_with_a_summary(project: Project, checkout: Path, tmp_path: Path) -> None:
    trace = tmp_path / "profile.json"
    facts = captured(checkout, tmp_path / "run", NBBENCH_EVIDENCE_PROFILE=str(trace))
    found = enrich(load_settings(project.root), replace(facts, profile=trace, probe=False))
    ((name, data),) = found.files
    told = json.loads(data)
    assert name == "profile.json" and len(data) <= 5 * 2**20
    assert any(event.get("name") == "aten::mul" for event in told["traceEvents"])
    assert "aten::mul" in {row["operator"] for row in told["nbbench"]["operators"]}
    assert "Profile by operator" in dict(found.sections)["Results"]
    assert any("under torch's profiler" in sentence for sentence in found.sentences)
    assert found.metrics["diagnosis"] is None


def test_a_folder_without_git_is_not_diagnosed(project: Project, facts: CaptureFacts) -> None:
    found = enrich(load_settings(project.root), replace(facts, commit="", tree=""))
    assert any("is not a git checkout" in sentence for sentence in found.sentences)
    unknown = replace(facts, commit="0" * 40, tree="1" * 40)
    found = enrich(load_settings(project.root), unknown)
    assert any("no repository holds tree 11111111" in sentence for sentence in found.sentences)


def test_figures_come_from_the_terminal_where_capturing_is_off(
    project: Project, facts: CaptureFacts, tmp_path: Path
) -> None:
    facts = replace(facts, folder=tmp_path, probe=False, record=tmp_path / "none")
    (facts.folder / "pytest.log").write_text("  512×512: 0.043s, ~0.1 GB/s effective\n", encoding="utf-8")
    found = enrich(load_settings(project.root), facts)
    assert {f["name"] for f in found.metrics["figures"]} >= {"512² time", "512² bandwidth"}
    assert any("plugin was not loaded" in note for note in found.notes)
