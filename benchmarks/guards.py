"""The guards on images (PERF-PYTORCH-004): the commit before, and the golden images that the subject ships.

Both read the subject's repository. A partial clone may lack what they need: they skip themselves then, and
say what is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nbbench.errors import SubjectError
from nbbench.measure.recording import suite_cases
from nbbench.subject.git import git
from nbbench.subject.tree import extract_tree
from nbbench.words import last_line

from . import subject
from .recording import Record, agreement, look_up, record
from .workloads import GOLDEN, GUARDED

IMPORT_ROOT = "src"
MEASURED = f"{IMPORT_ROOT}/{subject.PACKAGE}"
_OTHER = "import sys; from benchmarks.guards import write_image; write_image(sys.argv[1], sys.argv[2])"


class _Agreement:
    """How alike two images of a name are, as `setup_cache` found it; asv skips classes of such names."""

    version = "1"

    def track_correlation(self, cache: dict[str, Record], name: str) -> float:
        """Pearson's correlation of both images (guard: at least 0.999)."""
        return look_up(cache, name, "correlation")

    track_correlation.unit = "correlation"  # type: ignore[attr-defined]

    def track_sum_error(self, cache: dict[str, Record], name: str) -> float:
        """By which share their sums differ (guard: at most 5e-3)."""
        return look_up(cache, name, "sum_error")

    track_sum_error.unit = "relative error"  # type: ignore[attr-defined]


class Before(_Agreement):
    """The image of a commit and of the one before it that changed the measured path, of the same workload."""

    params: ClassVar[list[str]] = GUARDED
    param_names: ClassVar[list[str]] = ["workload"]
    timeout = 300

    def setup_cache(self) -> dict[str, Record]:
        """How alike each pair of images is."""
        subject.prepare()
        return _each(GUARDED, _against_before)

    setup_cache.timeout = 300  # type: ignore[attr-defined]


class Golden(_Agreement):
    """The image beside the one in the subject's tests/golden_data, of the same crystal and detector."""

    params: ClassVar[list[str]] = list(GOLDEN)
    param_names: ClassVar[list[str]] = ["image"]
    timeout = 120

    def setup_cache(self) -> dict[str, Record]:
        """How alike each pair of images is."""
        subject.prepare()
        return _each(GOLDEN, _against_golden)


def _each(names: list[str] | Mapping[str, str], compare: Callable[[str], Record]) -> dict[str, Record]:
    return {name: record(name, lambda name=name: name, compare) for name in names}  # type: ignore[misc]


def _alike(image: torch.Tensor, reference: torch.Tensor) -> Record:
    found = agreement(image, reference)
    return {"correlation": found["correlation"], "sum_error": abs(found["sum_ratio"] - 1)}


def _repository() -> tuple[Path, str]:
    """The subject's repository and the measured commit."""
    place, commit = os.environ.get("NBBENCH_GIT_DIR", ""), os.environ.get("ASV_COMMIT", "")
    if not (place and commit):
        raise NotImplementedError("the subject's repository is not at hand")
    return Path(place), commit


def _against_before(workload: str) -> Record:
    place, commit = _repository()
    history = ["rev-list", "--first-parent", "--max-count=2", commit, "--", MEASURED]
    found = git(place, history).decode().split()
    if len(found) < 2:
        raise NotImplementedError(f"no commit before {commit[:8]} has {MEASURED}")
    before = found[1]
    with tempfile.TemporaryDirectory() as folder:
        tree = git(place, ["rev-parse", f"{before}:{MEASURED}"]).decode().strip()
        root = extract_tree(place, before, tree, MEASURED, Path(folder)) / IMPORT_ROOT
        theirs = _image_of(root, workload, Path(folder) / "image")
    print(f"nbbench: {workload} is held against {before[:8]}", file=sys.stderr)
    return _alike(suite_cases()[workload]().run(), theirs)


def _image_of(root: Path, workload: str, path: Path) -> torch.Tensor:
    """The image of another source tree, computed in a process of its own."""
    paths = [one for one in sys.path if one and one != subject.source_root()]
    environment = {
        **os.environ,
        "NBBENCH_TREE": str(root),
        "PYTHONPATH": os.pathsep.join([str(root), *paths]),
    }
    command = [sys.executable, "-c", _OTHER, workload, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        why = last_line(done.stderr, f"it ended with {done.returncode}")
        raise NotImplementedError(f"the commit before has no image: {why}")
    return torch.from_numpy(np.fromfile(path, dtype=np.float64))


def write_image(workload: str, path: str) -> None:
    """Write the image of a workload as float64."""
    subject.prepare()
    image = suite_cases()[workload]().run()
    image.detach().to("cpu", torch.float64).numpy().tofile(path)


def _against_golden(name: str) -> Record:
    place, commit = _repository()
    shipped = GOLDEN[name]
    try:
        data = git(place, ["cat-file", "blob", f"{commit}:{shipped}"])
    except SubjectError as error:
        raise NotImplementedError(f"this copy of the subject has no {shipped} at {commit[:8]}") from error
    image = golden_case(name).run()
    return _alike(image, torch.from_numpy(np.frombuffer(data, dtype=np.float32).copy()))


def golden_case(name: str) -> subject.Case:
    """The simulation of a golden image, as tests/golden_data/README.md and its params.json have it.

    What they do not say is the C program's default: subpixels by the crystal's size, the detector's centre.
    """
    if name == "triclinic_P1":
        cell = ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")
        crystal: dict[str, object] = dict(zip(cell, (70.0, 80.0, 90.0, 75.0, 85.0, 95.0), strict=True))
        crystal["misset_deg"] = (-89.968546, -31.328953, 177.753396)
        fields = {"crystal": crystal, "beam": {"wavelength_A": 1.0}, "detector": {"oversample": -1}}
        return subject.simulation(name, 512, torch.float64, **fields)
    return subject.simulation(name, 1024, torch.float64, detector={"oversample": -1})
