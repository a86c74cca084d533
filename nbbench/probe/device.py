"""The device that is measured, and how work on it is timed: the processor, or one CUDA GPU.

`NBBENCH_DEVICE` names it for a whole command and everything that this starts. Results of a GPU are of
another environment than those of the processor, so that the two never stand in one series.
"""

from __future__ import annotations

import os
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
