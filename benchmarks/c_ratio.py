"""Against the reference C program (PERF-PYTORCH-004: warm run ≤ 1.2 × C on a CPU; AT-PERF-001, 002, 007).

The program that `NB_C_BIN` names has to compute the same image, or there is no ratio.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import ClassVar

import numpy as np
import torch

from nbbench.probe.resources import measure, usable_cores

from . import acceptance, subject
from .recording import agreement
from .workloads import C_SIZES

REPEAT = 9
CORRELATION, SUM_RATIO = 0.999, 5e-3  # the project's own guards on images


class CRatio:
    """Warm PyTorch time over the reference binary's: same geometry and number of threads, float32.

    malloc stays as it is by default on both sides. The programs take turns, so that a machine whose
    speed wanders meets both.
    """

    params: ClassVar[list[int]] = C_SIZES
    param_names: ClassVar[list[str]] = ["size"]
    version = "2"
    timeout = 300

    def setup(self, size: int) -> None:
        """Skip, with the reason, where NB_C_BIN does not name a program."""
        _program()
        subject.prepare(malloc=False)

    def track_time_ratio(self, size: int) -> float:
        """Median warm run over the median run of the C program, its start-up included."""
        return _ratio(subject.bandwidth(size, "float32"), _flags(size))

    track_time_ratio.unit = "ratio"  # type: ignore[attr-defined]


class Parallel:
    """1024² with so many threads on both sides: AT-PERF-002's crystal, and AT-PERF-007's cubic one."""

    params: ClassVar[list[list[object]]] = [["at-perf-002", "at-perf-007"], [1, 4, 8]]
    param_names: ClassVar[list[str]] = ["case", "threads"]
    version = "1"
    timeout = 300

    def setup(self, case: str, threads: int) -> None:
        """Skip where there is no program, or there are fewer cores."""
        _program()
        if threads > usable_cores():
            raise NotImplementedError(f"{threads} threads need as many cores; there are {usable_cores()}")
        subject.prepare(malloc=False, threads=threads)

    def track_time_ratio(self, case: str, threads: int) -> float:
        """Median warm run over the median run of the C program, its start-up included."""
        if case == "at-perf-002":
            return _ratio(acceptance.parallel_case(), _flags(1024, cells=10, wavelength=1.0))
        return _ratio(subject.bandwidth(1024, "float32"), _flags(1024))

    track_time_ratio.unit = "ratio"  # type: ignore[attr-defined]


class Image:
    """The guards on images: PyTorch's beside the C program's, which made the subject's golden images."""

    params: ClassVar[list[int]] = [1024]
    param_names: ClassVar[list[str]] = ["size"]
    version = "1"
    timeout = 300

    def setup(self, size: int) -> None:
        """As for the time."""
        _program()
        subject.prepare(malloc=False)

    def track_correlation(self, size: int) -> float:
        """Correlation of both images (guard: at least 0.999)."""
        return _alike(subject.bandwidth(size, "float32"), _flags(size))["correlation"]

    track_correlation.unit = "correlation"  # type: ignore[attr-defined]

    def track_sum_error(self, size: int) -> float:
        """By which share the sums of both images differ (guard: at most 5e-3)."""
        return abs(_alike(subject.bandwidth(size, "float32"), _flags(size))["sum_ratio"] - 1)

    track_sum_error.unit = "relative error"  # type: ignore[attr-defined]


def _alike(case: subject.Case, flags: list[str]) -> dict[str, float]:
    image = case.run()
    _, theirs = _run_c(_program(), flags, torch.get_num_threads())
    return agreement(image, theirs.reshape(image.shape))


def _program() -> str:
    binary = os.environ.get("NB_C_BIN", "")
    if not binary:
        raise NotImplementedError("NB_C_BIN does not name the reference binary")
    if (path := shutil.which(binary)) is None:
        raise NotImplementedError(f"NB_C_BIN={binary} is not an executable file")
    return path


def _ratio(case: subject.Case, flags: list[str]) -> float:
    binary, threads = _program(), torch.get_num_threads()
    image = case.run()
    _, theirs = _run_c(binary, flags, threads)
    same = agreement(image, theirs.reshape(image.shape))
    if not (same["correlation"] >= CORRELATION and abs(same["sum_ratio"] - 1) <= SUM_RATIO):
        raise subject.SubjectBroken(f"the C program computes another image: {same}")
    pairs = [(measure(case.run, 1)[0].wall_s, _run_c(binary, flags, threads)[0]) for _ in range(REPEAT)]
    ours_s, theirs_s = (median(side) for side in zip(*pairs, strict=True))
    _keep(binary, flags, threads, float(image.sum()), float(theirs.sum()))
    return ours_s / theirs_s


def _keep(binary: str, flags: list[str], threads: int, ours: float, theirs: float) -> None:
    """Say what was compared: telemetry keeps a line that begins so beside the figure."""
    digest = hashlib.sha256(Path(binary).read_bytes()).hexdigest()[:12]
    program = f"C: {Path(binary).name} sha256 {digest} {shlex.join(flags)}"
    print(f"nbbench: {threads} threads each; sums {ours:.6g}, {theirs:.6g}; {program}", file=sys.stderr)


def _flags(size: int, *, cells: int = 5, wavelength: float = 6.2) -> list[str]:
    """The AT-PERF-003 geometry."""
    return [
        "-default_F", "100", "-lambda", str(wavelength), "-distance", "100", "-pixel", "0.1",
        "-detpixels", str(size), "-cell", "100", "100", "100", "90", "90", "90", "-N", str(cells),
        "-oversample", "1", "-nonoise",
    ]  # fmt: skip


def _run_c(binary: str, flags: list[str], threads: int) -> tuple[float, torch.Tensor]:
    """Seconds of one run of the reference binary, and its image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.bin"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        command = [binary, *flags, "-floatfile", str(path)]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=240)
        return time.perf_counter() - start, torch.from_numpy(np.fromfile(path, dtype=np.float32))
