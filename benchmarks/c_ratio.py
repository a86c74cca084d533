"""Against the reference C program (PERF-PYTORCH-004: warm run ≤ 1.2 × C on a CPU)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import ClassVar

from nbbench.probe.resources import measure

from . import subject
from .workloads import C_SIZES

REPEAT = 3


class CRatio:
    """Warm PyTorch time over the reference binary's, same geometry, float32."""

    params: ClassVar[list[int]] = C_SIZES
    param_names: ClassVar[list[str]] = ["size"]
    version = "1"
    timeout = 300

    def setup(self, size: int) -> None:
        """Skip, with the reason, where NB_C_BIN does not name a program."""
        binary = os.environ.get("NB_C_BIN", "")
        if not binary:
            raise NotImplementedError("NB_C_BIN does not name the reference binary")
        if shutil.which(binary) is None:
            raise NotImplementedError(f"NB_C_BIN={binary} is not an executable file")
        subject.prepare()

    def track_time_ratio(self, size: int) -> float:
        """Median warm run over the median run of the C program, its start-up included."""
        case = subject.bandwidth(size, "float32")
        case.run()
        ours = median(run.wall_s for run in measure(case.run, REPEAT))
        return ours / median(_run_c(os.environ["NB_C_BIN"], size) for _ in range(REPEAT))

    track_time_ratio.unit = "ratio"  # type: ignore[attr-defined]


def _run_c(binary: str, size: int) -> float:
    """Seconds of one run of the reference binary on the AT-PERF-003 geometry."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            binary, "-default_F", "100", "-lambda", "6.2", "-distance", "100", "-pixel", "0.1",
            "-detpixels", str(size), "-cell", "100", "100", "100", "90", "90", "90", "-N", "5",
            "-oversample", "1", "-floatfile", str(Path(folder) / "image.bin"), "-nonoise",
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240)
        return time.perf_counter() - start
