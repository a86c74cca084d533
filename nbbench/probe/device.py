"""The device that is measured, and how work on it is timed: the processor, or one CUDA GPU.

`NBBENCH_DEVICE` names it for a whole command and everything that this starts. Results of a GPU are of
another environment than those of the processor, so that the two never stand in one series.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nbbench.errors import ConfigError

DEVICE_VARIABLE = "NBBENCH_DEVICE"
DEVICES = ("cpu", "cuda")
CUDA_MARK = "+cuda"
"""What stands behind torch's version where a GPU is measured: in names of environments and of ledgers."""

_FLUSHED = 4  # a buffer of so many times the second-level cache leaves nothing of what was there
_LEAST_FLUSH = 64 * 2**20


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


@contextmanager
def on_cpu() -> Iterator[None]:
    """What is built and run in the block is the processor's, whatever is measured."""
    before = os.environ.get(DEVICE_VARIABLE)
    os.environ[DEVICE_VARIABLE] = "cpu"
    try:
        yield
    finally:
        if before is None:
            del os.environ[DEVICE_VARIABLE]
        else:
            os.environ[DEVICE_VARIABLE] = before


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


class CacheFlush:
    """Writes a buffer of four times the GPU's second-level cache, so that nothing of a run stays in it."""

    def __init__(self) -> None:
        import torch

        size = max(_FLUSHED * device_cache_bytes(), _LEAST_FLUSH)
        self._buffer = torch.empty(size, dtype=torch.uint8, device=measured_device())

    def __call__(self) -> None:
        """Write it, and wait until it is written."""
        self._buffer.add_(1)  # another value each time: a fill with the same one might be left out
        settle()


def peak_allocated(function: Callable[[], object]) -> int:
    """Bytes that torch's CUDA allocator held for tensors at most while a function ran, less those before."""
    import torch

    settle()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = function()
    settle()
    peak = torch.cuda.max_memory_allocated()
    del kept
    return int(peak - before)
