"""Evidence folders as `nbbench capture`, `nbbench export` and people leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nbbench.record.stamp import write_folder

COMMIT = "8b8c48d0" * 5
TEST = "tests/test_at_perf_003.py::TestATPERF003MemoryBandwidth::test_memory_bandwidth_utilization"


def metrics(**changes: Any) -> dict[str, Any]:
    told = {
        "schema": "nbbench.metrics/1",
        "stamp": "20251015T113531Z",
        "cluster": "CLUSTER-PERF-001",
        "commit": COMMIT,
        "exit_code": 1,
        "verdict": "failed",
        "usage": {"elapsed_s": 12.5, "minor_faults": 1_280_000},
        "figures": [
            {
                "name": "Bandwidth",
                "value": 0.36,
                "unit": "GB/s",
                "test": TEST,
                "size": 512,
                "dtype": "float32",
            },
            {
                "name": "Bandwidth",
                "value": 0.176,
                "unit": "GB/s",
                "test": TEST,
                "size": 2048,
                "dtype": "float32",
            },
            {"name": "Time", "value": 0.5, "unit": "s", "test": TEST},
            {"name": "Time", "value": 0.6, "unit": "s", "test": TEST},
        ],
        "session": {"torch_threads": 2},
        "conditions": {"dtype": "float32"},
        "ledgers": [{"workload": "bandwidth-512-float32", "ops": 1530, "output_dtype": "torch.float32"}],
    }
    return told | changes


def run_metadata(**changes: Any) -> dict[str, Any]:
    told = {
        "schema": "nbbench.run-metadata/1",
        "machine": [
            ["cpu", "Example CPU"],
            ["physical cores", "2"],
            ["memory", "24 GiB"],
            ["python", "3.11.7"],
        ],
        "versions": {"torch": "2.13.0", "python": "3.11.7"},
        "guards": [["CUDA_VISIBLE_DEVICES", "-1"], ["NANOBRAGG_DISABLE_COMPILE", "1"]],
        "tree": "506a0321",
        "command": ["pytest", "-vv", "tests/test_at_perf_003.py"],
    }
    return told | changes


def write_evidence(
    folder: Path,
    *,
    told: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    env: str = "CUDA_VISIBLE_DEVICES=-1\nOMP_NUM_THREADS=2\nHOME=<redacted>\n",
    command: str = "timeout 900 pytest -vv tests/test_at_perf_003.py",
    exit_code: int = 1,
) -> Path:
    """A whole folder with its checksums."""
    folder.mkdir(parents=True)
    files = {
        "metrics.json": json.dumps((told or metrics()) | {"stamp": folder.name}),
        "run_metadata.json": json.dumps(run_metadata() if run is None else run),
        "env.txt": env,
        "torch_env.txt": "PyTorch version: 2.13.0+cpu\nPython version: 3.11.7 (main)\n",
        "commands.txt": f"# STAMP: {folder.name} (UTC)\n\ncd /home/ada\n{command}\n",
        "exit_code.txt": f"{exit_code}\n",
    }
    write_folder(folder, files)
    return folder
