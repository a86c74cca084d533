"""Against the reference C program (PERF-PYTORCH-004: warm run ≤ 1.2 × C on a CPU)."""

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

import torch

from nbbench.probe.resources import measure

from . import subject
from .workloads import C_SIZES

REPEAT = 3


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
        binary = os.environ.get("NB_C_BIN", "")
        if not binary:
            raise NotImplementedError("NB_C_BIN does not name the reference binary")
        if shutil.which(binary) is None:
            raise NotImplementedError(f"NB_C_BIN={binary} is not an executable file")
        subject.prepare(malloc=False)

    def track_time_ratio(self, size: int) -> float:
        """Median warm run over the median run of the C program, its start-up included."""
        binary, threads = str(shutil.which(os.environ["NB_C_BIN"])), torch.get_num_threads()
        case = subject.bandwidth(size, "float32")
        case.run()
        _run_c(binary, size, threads)
        pairs = [(measure(case.run, 1)[0].wall_s, _run_c(binary, size, threads)) for _ in range(REPEAT)]
        ours, theirs = (median(side) for side in zip(*pairs, strict=True))
        _keep(binary, size, threads)
        return ours / theirs

    track_time_ratio.unit = "ratio"  # type: ignore[attr-defined]


def _keep(binary: str, size: int, threads: int) -> None:
    """Say what was compared: telemetry keeps a line that begins so beside the figure."""
    digest = hashlib.sha256(Path(binary).read_bytes()).hexdigest()[:12]
    flags = shlex.join(_flags(size))
    print(f"nbbench: {threads} threads each; C: {Path(binary).name} sha256 {digest} {flags}", file=sys.stderr)


def _flags(size: int) -> list[str]:
    """The AT-PERF-003 geometry."""
    return [
        "-default_F", "100", "-lambda", "6.2", "-distance", "100", "-pixel", "0.1", "-detpixels", str(size),
        "-cell", "100", "100", "100", "90", "90", "90", "-N", "5", "-oversample", "1", "-nonoise",
    ]  # fmt: skip


def _run_c(binary: str, size: int, threads: int) -> float:
    """Seconds of one run of the reference binary."""
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, *_flags(size), "-floatfile", str(Path(folder) / "image.bin")]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=240)
        return time.perf_counter() - start
