"""The GPU's state: by nvidia-ml-py, by nvidia-smi, or a word why neither tells it."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from nbbench.probe import device


@pytest.fixture
def no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)


def nvml(**other: object) -> types.SimpleNamespace:
    """A library with one GPU under load and a power cap."""
    asked: list[int] = []
    functions = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: asked.append(-1),
        "nvmlDeviceGetHandleByIndex": lambda index: asked.append(index) or "handle",
        "nvmlDeviceGetName": lambda _: b"NVIDIA H100 80GB HBM3",
        "nvmlSystemGetDriverVersion": lambda: "580.159.04",
        "nvmlDeviceGetClockInfo": lambda _, kind: {0: 1980, 1: 2619}[kind],
        "nvmlDeviceGetTemperature": lambda _, kind: 41,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda _: 0x4 | 0x20,
        "NVML_CLOCK_SM": 0,
        "NVML_CLOCK_MEM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "asked": asked,
    }
    return types.SimpleNamespace(**{**functions, **other})


STATE = {
    "name": "NVIDIA H100 80GB HBM3",
    "driver": "580.159.04",
    "sm_hz": 1_980_000_000,
    "memory_hz": 2_619_000_000,
    "temperature_c": 41,
    "throttle": ["power cap", "thermal, by software"],
}


@pytest.mark.parametrize(("visible", "index"), [({}, 0), ({"CUDA_VISIBLE_DEVICES": "3,1"}, 3)])
def test_the_library_tells_it(monkeypatch: pytest.MonkeyPatch, visible: dict[str, str], index: int) -> None:
    library = nvml()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert device.read_gpu(visible) == {**STATE, "read_by": "nvidia-ml-py"}
    assert library.asked == [index, -1]


def test_an_older_library_has_an_older_name(monkeypatch: pytest.MonkeyPatch) -> None:
    old = nvml(nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x1)
    del old.nvmlDeviceGetCurrentClocksEventReasons
    monkeypatch.setitem(sys.modules, "pynvml", old)
    assert device.read_gpu({})["throttle"] == ["idle"]


def smi(folder: Path, knows: str, answer: str) -> None:
    program = folder / "nvidia-smi"
    case = f'case "$*" in *{knows}*) echo "{answer}";; *) exit 6;; esac'
    program.write_text(f"#!/bin/sh\n{case}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("knows", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
def test_else_the_program_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_nvml: None, knows: str
) -> None:
    smi(tmp_path, knows, "NVIDIA H100 80GB HBM3, 580.159.04, 1980, 2619, 41, 0x0000000000000024")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert device.read_gpu({}) == {**STATE, "read_by": "nvidia-smi"}


@pytest.mark.parametrize("answer", ["[N/A], x", "", "a, b, [N/A], 1, 2, 0x0"])
def test_where_neither_can_the_reason_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_nvml: None, answer: str
) -> None:
    smi(tmp_path, "event_reasons", answer)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert device.read_gpu({}) == {"unknown": "nvidia-ml-py is not installed; nvidia-smi: ValueError"}


def test_a_machine_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("Driver Not Loaded")

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=fails))
    monkeypatch.setenv("PATH", str(tmp_path))
    said = device.read_gpu({})["unknown"]
    assert said == "NVML: RuntimeError: Driver Not Loaded; nvidia-smi: FileNotFoundError"
