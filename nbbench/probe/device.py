"""The device that is measured: the processor, or one CUDA GPU; how work on it is timed, and a GPU's state.

`NBBENCH_DEVICE` names it for a whole command and everything that this starts. Results of a GPU are of
another environment than those of the processor, so that the two never stand in one series.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from nbbench.errors import ConfigError

DEVICE_VARIABLE = "NBBENCH_DEVICE"
DEVICES = ("cpu", "cuda")
CUDA_MARK = "+cuda"
"""What stands behind torch's version where a GPU is measured: in names of environments and of ledgers."""


def measured_device(environ: Mapping[str, str] | None = None) -> str:
    """The device, cpu or cuda. Raises ConfigError where the variable names another one."""
    name = (os.environ if environ is None else environ).get(DEVICE_VARIABLE) or "cpu"
    if name not in DEVICES:
        raise ConfigError(f"{DEVICE_VARIABLE} is {' or '.join(DEVICES)}, not {name!r}")
    return name


def on_cuda(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a GPU is measured."""
    return measured_device(environ) == "cuda"


def marked(torch_version: str) -> str:
    """A version of torch with the mark of the measured device, under which results are kept."""
    return torch_version + CUDA_MARK if torch_version and on_cuda() else torch_version


def imported_by_runs() -> tuple[str, ...]:
    """What torch imports when a subject first marks the step of a CUDA graph: six seconds (an H100's host),
    for a warm server once, for its forks never."""
    return ("torch._inductor.cudagraph_trees",) if on_cuda() else ()


def settle() -> None:
    """Wait until the device has done all that it was asked for; the processor always has."""
    if on_cuda():
        import torch

        torch.cuda.synchronize()


class EventClock:
    """A timer of seconds by CUDA events: what lies between two readings is the device's own time.

    Each reading records an event and waits for it, so a timed run begins on an idle device and ends when
    its last kernel has. Events resolve half a microsecond. A reading adds the time since the one before it:
    the driver tells milliseconds in single precision, which would be coarse after minutes.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._last: Any = None

    def __call__(self) -> float:
        """Seconds since the first reading."""
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        event.synchronize()
        if self._last is not None:
            self._seconds += self._last.elapsed_time(event) / 1e3
        self._last = event
        return self._seconds


_EVENTS = EventClock()


def device_clock() -> float:
    """Seconds of the measured device: its events, or the processor's performance counter."""
    return _EVENTS() if on_cuda() else time.perf_counter()


def device_cache_bytes() -> int:
    """The second-level cache of the GPU in bytes."""
    import torch

    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size)


# Bits of NVML's clocks event reasons (nvml.h); the first two and the display's are no throttling.
REASONS = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal, by software",
    0x40: "thermal, by hardware",
    0x80: "power brake",
    0x100: "display clocks",
}
_FIELDS = ("name", "driver_version", "clocks.sm", "clocks.mem", "temperature.gpu")
_REASON_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # of newer, older drivers
_SMI_LIMIT_S = 20.0


def read_gpu(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The state of the first visible GPU, read by nvidia-ml-py, or else by nvidia-smi.

    `name`, `driver`; `sm_hz` and `memory_hz`, the clocks; `temperature_c`; `throttle`, the reasons why its
    clocks are below what it could; `read_by`. Where neither can tell, `unknown` alone says why.
    """
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    index = int(visible) if visible.isdecimal() else 0
    try:
        return _by_nvml(index)
    except ImportError:
        why = "nvidia-ml-py is not installed"
    except Exception as error:
        why = f"NVML: {type(error).__name__}: {error}"
    try:
        return _by_smi(index)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"unknown": f"{why}; nvidia-smi: {type(error).__name__}"}


def _by_nvml(index: int) -> dict[str, Any]:
    import pynvml as nvml  # type: ignore[import-not-found, unused-ignore]

    nvml.nvmlInit()
    try:
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        reasons = reasons or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        return _state(
            _text(nvml.nvmlDeviceGetName(gpu)),
            _text(nvml.nvmlSystemGetDriverVersion()),
            nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
            nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            int(reasons(gpu)),
            "nvidia-ml-py",
        )
    finally:
        nvml.nvmlShutdown()


def _by_smi(index: int) -> dict[str, Any]:
    """Raises OSError without the program, SubprocessError where it fails, ValueError for another answer."""
    for reason in _REASON_FIELDS:
        query = ",".join((*_FIELDS, reason))
        command = ["nvidia-smi", f"--id={index}", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_LIMIT_S)
        if done.returncode == 0:
            name, driver, sm, memory, temperature, bits = done.stdout.strip().split(", ")
            return _state(name, driver, int(sm), int(memory), int(temperature), int(bits, 16), "nvidia-smi")
    raise ValueError(f"it ended with {done.returncode}")


def _state(
    name: str, driver: str, sm_mhz: int, memory_mhz: int, temperature: int, bits: int, by: str
) -> dict[str, Any]:
    return {
        "name": name,
        "driver": driver,
        "sm_hz": sm_mhz * 10**6,
        "memory_hz": memory_mhz * 10**6,
        "temperature_c": temperature,
        "throttle": [word for bit, word in REASONS.items() if bits & bit],
        "read_by": by,
    }


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
