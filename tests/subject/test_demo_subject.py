"""The embedded subject: same hashes everywhere, never overwrites, and its planted events are true."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nbbench.errors import HostError, SubjectError
from nbbench.subject.subjects.nanobragg import demo

EXPECTED_TIP = "cb4d15a9e14a2c5afd82c1857f488ef66d6ae61c"
COMMITS = 18
MEASURED_TREES = 14
DOCS_ONLY = [2, 6, 14, 18]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "subject"
    demo.write_demo(path)
    return path


def git(repository: Path, *arguments: str) -> bytes:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True).stdout


def lines(repository: Path, *arguments: str) -> list[str]:
    return git(repository, *arguments).decode().split("\n")[:-1]


def test_tip_is_the_same_everywhere(repository: Path) -> None:
    assert demo.TIP_HASH == EXPECTED_TIP
    assert lines(repository, "rev-parse", demo.BRANCH) == [EXPECTED_TIP]
    assert lines(repository, "symbolic-ref", "HEAD") == [f"refs/heads/{demo.BRANCH}"]


def test_git_finds_nothing_wrong(repository: Path) -> None:
    assert lines(repository, "status", "--porcelain") == []
    git(repository, "fsck", "--strict", "--no-dangling")


def test_every_commit_has_its_planted_event(repository: Path) -> None:
    hashes = lines(repository, "rev-list", "--reverse", "--first-parent", demo.BRANCH)
    assert len(hashes) == COMMITS
    assert [event.hash for event in demo.PLANTED] == hashes
    assert [event.position for event in demo.PLANTED] == list(range(1, COMMITS + 1))
    assert {event.direction for event in demo.PLANTED} == {"slower", "faster", "none"}
    for event in demo.PLANTED:
        assert bool(event.benchmarks) == (event.direction != "none")


def test_author_and_dates_are_fixed(repository: Path) -> None:
    told = lines(repository, "log", "--reverse", "--format=%an|%ae|%cn|%ce|%aI|%cI", demo.BRANCH)
    authors = {tuple(line.split("|")[:4]) for line in told}
    assert authors == {("nbbench demo", "demo@nbbench.invalid") * 2}
    dates = [line.split("|")[4] for line in told]
    assert dates == [line.split("|")[5] for line in told] == sorted(dates)


def test_source_trees(repository: Path) -> None:
    trees = [lines(repository, "rev-parse", f"{event.hash}:src")[0] for event in demo.PLANTED]
    assert len(set(trees)) == MEASURED_TREES
    unchanged = [n for n, (parent, tree) in enumerate(pairwise(trees), 2) if parent == tree]
    assert unchanged == DOCS_ONLY == [event.position for event in demo.PLANTED if event.kind == "docs"]


def test_carries_the_mapped_test(repository: Path) -> None:
    for event in demo.PLANTED:
        source = git(repository, "show", f"{event.hash}:tests/test_at_perf_003.py").decode()
        assert "class TestATPERF003MemoryBandwidth" in source
        assert "def test_memory_bandwidth_utilization" in source


class TestWriting:
    def test_empty_folder(self, tmp_path: Path) -> None:
        assert demo.write_demo(tmp_path) == EXPECTED_TIP
        assert (tmp_path / "src" / "nanobrag_torch" / "simulator.py").is_file()

    def test_missing_parents_and_no_leftovers(self, tmp_path: Path) -> None:
        demo.write_demo(tmp_path / "a" / "ü b" / "subject")
        assert [p.name for p in (tmp_path / "a" / "ü b").iterdir()] == ["subject"]

    def test_second_call_changes_nothing(self, tmp_path: Path) -> None:
        demo.write_demo(tmp_path)
        note = tmp_path / "my notes.txt"
        note.write_text("kept")
        before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
        assert demo.write_demo(tmp_path) == EXPECTED_TIP
        assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before

    def test_refuses_a_foreign_folder(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("three years")
        with pytest.raises(SubjectError, match="is not empty") as caught:
            demo.write_demo(tmp_path)
        assert caught.value.hint
        assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]

    def test_refuses_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("x")
        with pytest.raises(SubjectError, match="does not hold"):
            demo.write_demo(path)

    def test_refuses_another_repository(self, tmp_path: Path) -> None:
        git(tmp_path, "init", "--quiet")
        with pytest.raises(SubjectError, match="does not hold"):
            demo.write_demo(tmp_path)

    def test_refuses_a_folder_inside_the_demo(self, tmp_path: Path) -> None:
        demo.write_demo(tmp_path)
        with pytest.raises(SubjectError, match="does not hold"):
            demo.write_demo(tmp_path / "src")

    def test_refuses_a_demo_that_went_on(self, tmp_path: Path) -> None:
        demo.write_demo(tmp_path)
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message=mine")
        with pytest.raises(SubjectError, match="does not hold"):
            demo.write_demo(tmp_path)

    def test_refuses_a_demo_that_lost_an_object(self, tmp_path: Path) -> None:
        demo.write_demo(tmp_path)
        blob = lines(tmp_path, "rev-parse", f"{demo.PLANTED[0].hash}:README.md")[0]
        (tmp_path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
        with pytest.raises(SubjectError, match="does not hold"):
            demo.write_demo(tmp_path)

    def test_user_settings_do_not_reach_the_hashes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "home"
        (home / ".config" / "git").mkdir(parents=True)
        (home / ".config" / "git" / "attributes").write_text("* text eol=crlf\n")
        (home / ".config" / "git" / "ignore").write_text("*.md\n")
        (home / ".gitconfig").write_text(
            "[core]\n\tautocrlf = true\n[commit]\n\tgpgSign = true\n[i18n]\n\tcommitEncoding = latin1\n"
            "[apply]\n\twhitespace = fix\n[init]\n\tdefaultObjectFormat = sha256\n"
        )
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
        monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
        monkeypatch.setenv("TZ", "Asia/Kathmandu")
        assert demo.write_demo(tmp_path / "subject") == EXPECTED_TIP

    def test_a_failed_replay_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demo, "_mail", lambda commit: b"no patch\n")
        with pytest.raises(SubjectError, match="git am failed"):
            demo.write_demo(tmp_path / "subject")
        assert list(tmp_path.iterdir()) == []

    def test_a_changed_patch_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        original = demo._mail
        monkeypatch.setattr(demo, "_mail", lambda c: original(c).replace(b"small crystal", b"large crystal"))
        with pytest.raises(SubjectError, match="the embedded history ends at"):
            demo.write_demo(tmp_path / "subject")
        assert list(tmp_path.iterdir()) == []

    def test_line_ends_of_the_patches_do_not_matter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        history = tmp_path / "history"
        history.mkdir()
        for path in demo._HISTORY.iterdir():
            (history / path.name).write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        monkeypatch.setattr(demo, "_HISTORY", history)
        assert demo.write_demo(tmp_path / "subject") == EXPECTED_TIP

    def test_without_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(HostError, match="git is not installed"):
            demo.write_demo(tmp_path / "subject")

    def test_two_writers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        replay = demo._replay

        def overtaken(repository: Path) -> None:
            replay(repository)
            monkeypatch.setattr(demo, "_replay", replay)
            demo.write_demo(tmp_path / "subject")

        monkeypatch.setattr(demo, "_replay", overtaken)
        assert demo.write_demo(tmp_path / "subject") == EXPECTED_TIP
        assert [p.name for p in tmp_path.iterdir()] == ["subject"]


# What one commit does, on a detector small enough for every run to take milliseconds. It prints JSON:
# {position: {workload: [image or values, bytes, operations, bytes in float64]} or an error}.
PROBE = '''
import json, sys
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

torch.set_num_threads(1)


class Ledger(TorchDispatchMode):
    """Bytes that every operation reads and writes; out= is only written."""

    def __init__(self):
        super().__init__()
        self.bytes = self.ops = self.wide = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.is_view or "empty" in str(func):
            return result
        read = {k: v for k, v in kwargs.items() if k != "out"}
        for t in tree_leaves((args, read, result)):
            if isinstance(t, torch.Tensor):
                self.bytes += t.nbytes
                self.wide += t.nbytes * (t.dtype == torch.float64)
        self.ops += 1
        return result


def measured(function):
    function()
    with Ledger() as ledger:
        found = function()
    return [found.double().tolist(), ledger.bytes, ledger.ops, ledger.wide]


def probe():
    from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig, DetectorConvention
    from nanobrag_torch.models.crystal import Crystal
    from nanobrag_torch.models.detector import Detector
    from nanobrag_torch.simulator import Simulator
    from nanobrag_torch.utils import auto_selection
    from nanobrag_torch.utils.auto_selection import SamplingParams

    def sources(rows, columns):
        spread = [SamplingParams(n, 1e-2, 1e-2 / max(n - 1, 1)) for n in (rows, columns)]
        return auto_selection.generate_sources_from_divergence_dispersion(
            *spread, SamplingParams(2, 0.1, 0.1), 6.2e-10, round_div=True, dtype=torch.float64
        )

    def run(crystal=None, detector=None, beam=None, **dtype):
        crystal_config = CrystalConfig(**{"N_cells": (5, 5, 5), "default_F": 100.0, **(crystal or {})})
        pixels = {"spixels": 48, "fpixels": 32, "pixel_size_mm": 2.0}
        detector_config = DetectorConfig(
            distance_mm=100.0, detector_convention=DetectorConvention.MOSFLM, **pixels, **(detector or {})
        )
        beam_config = BeamConfig(wavelength_A=6.2, **(beam or {}))
        simulator = Simulator(
            crystal=Crystal(crystal_config, beam_config=beam_config, **dtype),
            detector=Detector(detector_config, **dtype),
            crystal_config=crystal_config,
            beam_config=beam_config,
            **dtype,
        )
        return measured(simulator.run)

    def tricubic():
        crystal = Crystal(CrystalConfig(N_cells=(2, 2, 2), default_F=7.0), dtype=torch.float64)
        generator = torch.Generator().manual_seed(1)
        crystal.hkl_data = torch.rand(11, 11, 11, generator=generator, dtype=torch.float64)
        ends = (("min", -5), ("max", 5), ("range", 10))
        crystal.hkl_metadata = {f"{axis}_{end}": value for axis in "hkl" for end, value in ends}
        h, k, l = (torch.rand(5, 8, generator=generator, dtype=torch.float64) * 6 - 3 for _ in range(3))
        values = measured(lambda: crystal._tricubic_interpolation(h, k, l))
        assert crystal.interpolate
        return values

    directions, weights, wavelengths = sources(4, 3)
    beam = {"source_directions": directions, "source_weights": weights, "source_wavelengths": wavelengths}
    single, double = {"dtype": torch.float32}, {"dtype": torch.float64}
    absorbing = {"detector_abs_um": 500.0, "detector_thick_um": 450.0, "detector_thicksteps": 5}
    turning = {"phi_steps": 2, "osc_range_deg": 1.0, "mosaic_domains": 3, "mosaic_spread_deg": 0.5}
    return {
        "sources": measured(lambda: torch.cat([part.flatten() for part in sources(12, 9)])),
        "tricubic": tricubic(),
        "default": run(),
        "float32": run(**single),
        "float64": run(**double),
        "oversampled": run(detector={"oversample": 3}, **single),
        "absorbing": run(detector={**absorbing, "oversample": 2, "oversample_thick": True}, **single),
        "turning": run(crystal=turning, **single),
        "polarized": run(beam={"polarization_factor": 0.9}, **single),
        "unpolarized": run(beam={"nopolar": True}, **single),
        "multi_source": run(beam=beam, **single),
    }


found = {}
for folder in sys.argv[1:]:
    for name in [n for n in sys.modules if n.partition(".")[0] == "nanobrag_torch"]:
        del sys.modules[name]
    sys.path.insert(0, folder + "/src")
    try:
        found[folder.rpartition("/")[2]] = probe()
    except Exception as error:
        found[folder.rpartition("/")[2]] = f"{type(error).__name__}: {error}"
    del sys.path[0]
print(json.dumps(found))
'''


@dataclass
class Probed:
    """What one workload gave at one commit."""

    image: Any
    bytes: int
    ops: int
    wide: int


@pytest.fixture(scope="module")
def probed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Any]]:
    """Every commit with a source tree of its own, run in one process."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("trees")
    wanted = [event for event in demo.PLANTED if event.kind != "docs"]
    for event in wanted:
        packed = git(repository, "archive", "--format=zip", str(event.hash), "src")
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(folder / str(event.position))
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TORCHDYNAMO_DISABLE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", PROBE, *(str(folder / str(event.position)) for event in wanted)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    yield {
        int(n): {k: Probed(*v) for k, v in found.items()} if isinstance(found, dict) else found
        for n, found in told.items()
    }


def apart(first: Any, second: Any) -> float:
    """Largest difference of two images, in units of the first one's largest value."""
    import torch

    a, b = torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    assert a.shape == b.shape and bool(torch.isfinite(a).all()) and float(a.max()) > 0
    return float((a - b).abs().max() / a.max())


class TestPlanted:
    """The ground truth, with bytes and operations instead of time: they are the same on every machine."""

    def test_broken_commit_raises_name_error(self, probed: dict[int, Any]) -> None:
        broken = {n: found for n, found in probed.items() if isinstance(found, str)}
        assert list(broken) == [event.position for event in demo.PLANTED if event.kind == "broken"] == [8]
        assert broken[8] == "NameError: name 'n_steps' is not defined"

    def test_vectorised_sources_are_the_same_sources(self, probed: dict[int, Any]) -> None:
        assert apart(probed[1]["sources"].image, probed[3]["sources"].image) < 1e-12
        assert probed[3]["sources"].ops < probed[1]["sources"].ops / 5

    def test_batched_tricubic_is_the_same_polynomial(self, probed: dict[int, Any]) -> None:
        assert apart(probed[3]["tricubic"].image, probed[4]["tricubic"].image) < 1e-12
        assert probed[4]["tricubic"].ops < probed[3]["tricubic"].ops / 20

    def test_default_dtype_halves_default_series_only(self, probed: dict[int, Any]) -> None:
        assert probed[5]["default"].bytes / probed[4]["default"].bytes == pytest.approx(0.5, abs=0.01)
        for name in ("float32", "float64"):
            assert probed[5][name].bytes == probed[4][name].bytes

    def test_upcast(self, probed: dict[int, Any]) -> None:
        for name in ("default", "float32", "turning"):
            assert probed[7][name].bytes >= 1.3 * probed[5][name].bytes
            assert probed[7][name].wide > 0.4 * probed[7][name].bytes
            assert apart(probed[5][name].image, probed[7][name].image) < 1e-5
        assert probed[7]["float64"].bytes == pytest.approx(probed[5]["float64"].bytes, rel=1e-4)
        assert probed[9]["float32"].bytes == probed[7]["float32"].bytes
        for name, before in probed[5].items():
            assert (probed[10][name].bytes, probed[10][name].image) == (before.bytes, before.image)

    def test_neutral_commit_moves_nothing(self, probed: dict[int, Any]) -> None:
        assert probed[11] == probed[10]

    def test_temporary(self, probed: dict[int, Any]) -> None:
        for name in ("default", "float32", "float64"):
            assert probed[12][name].bytes >= 1.1 * probed[11][name].bytes
        assert {k: v.image for k, v in probed[12].items()} == {k: v.image for k, v in probed[11].items()}
        for name in ("default", "float32", "float64"):
            assert probed[17][name].bytes < 0.9 * probed[16][name].bytes
        assert {k: v.image for k, v in probed[17].items()} == {k: v.image for k, v in probed[16].items()}

    def test_polarization_changes_the_image(self, probed: dict[int, Any]) -> None:
        for name in ("float32", "float64", "oversampled", "turning", "multi_source"):
            assert apart(probed[12][name].image, probed[13][name].image) > 1e-3
        for name in ("polarized", "unpolarized"):
            assert probed[13][name].image == probed[12][name].image

    def test_frame_arena_leaves_the_ledger_alone(self, probed: dict[int, Any]) -> None:
        assert probed[15] == probed[13]

    def test_pass_per_source_costs_work_with_several_sources_only(self, probed: dict[int, Any]) -> None:
        assert probed[16]["multi_source"].bytes > 1.3 * probed[15]["multi_source"].bytes
        assert apart(probed[15]["multi_source"].image, probed[16]["multi_source"].image) < 1e-6
        assert {k: v for k, v in probed[16].items() if k != "multi_source"} == {
            k: v for k, v in probed[15].items() if k != "multi_source"
        }

    def test_single_and_double_agree(self, probed: dict[int, Any]) -> None:
        for found in probed.values():
            if not isinstance(found, str):
                assert apart(found["float64"].image, found["float32"].image) < 1e-4
