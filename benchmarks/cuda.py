"""What only a GPU has: AT-PERF-008, a cold cache, the allocator's peak, agreement with the processor.

`nbbench run --device cuda` runs every suite on the GPU, and these too; elsewhere they skip themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nbbench.measure.recording import suite_cases
from nbbench.probe.device import DEVICE_VARIABLE, device_cache_bytes, measured_device, on_cuda, settle
from nbbench.probe.operation import moves, tensors

from . import bandwidth, recording, subject
from .workloads import AGREEING, DTYPES, SIZES

NEEDS_GPU = "needs a GPU: nbbench run --device cuda"
LARGE = 65_536
"""Elements from which a tensor is large (specs/spec-a-performance.md, AT-PERF-008)."""

_FLUSHED = 4  # a buffer of so many times the second-level cache leaves nothing of what was there
_LEAST_FLUSH = 64 * 2**20
_READS_BACK = ("_local_scalar_dense",)  # what `.item()`, `float(…)` and `if tensor:` dispatch


@dataclass(slots=True)
class LargeTensors:
    """Counts of one run: operations with a large tensor on the device and elsewhere, and `host_waits`, the
    times that the processor waited for a value of the device; `elsewhere_names` are the operations' names."""

    on_device: int = 0
    elsewhere: int = 0
    host_waits: int = 0
    elsewhere_names: tuple[str, ...] = ()


class Residency(TorchDispatchMode):
    """Counts every operation that reads or makes a large tensor, by whether all of these are on `device`."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.found = LargeTensors()
        self._device = device

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else the first operation would import torch._dynamo."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then count it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name.rpartition("::")[2]
        inputs, outputs = tensors((*args, *kwargs.values())), tensors((result,))
        touched = inputs + outputs
        if name in _READS_BACK and any(one.device.type == self._device for one in touched):
            self.found.host_waits += 1
        large = [one for one in touched if one.numel() >= LARGE] if moves(func, inputs, outputs) else []
        if large and all(one.device.type == self._device for one in large):
            self.found.on_device += 1
        elif large:
            self.found.elsewhere += 1
            self.found.elsewhere_names = tuple(sorted({*self.found.elsewhere_names, name}))
        return result


def require_cuda() -> None:
    """Skip where another device is measured."""
    if not on_cuda():
        raise NotImplementedError(NEEDS_GPU)


class L2Cold(bandwidth.Warm):
    """`bandwidth.Warm` after a flush of the second-level cache; `Warm` finds what its last run left there."""

    version = "1"
    _flush: CacheFlush | None = None

    def setup(self, size: int, dtype: str) -> None:
        """Build once a process; write a buffer larger than the cache before every sample."""
        require_cuda()
        super().setup(size, dtype)
        self._flush = self._flush or CacheFlush()
        self._flush()


class Facts:
    """Figures of one run on the GPU, recorded once a commit."""

    params: ClassVar[list[list[Any]]] = [SIZES, DTYPES]
    param_names: ClassVar[list[str]] = ["size", "dtype"]
    version = "1"
    timeout = 120

    def setup_cache(self) -> dict[str, dict[str, Any]]:
        """Every figure of this module in one process."""
        if not on_cuda():
            return {"": {"error": f"{recording.MISSING}{NEEDS_GPU}"}}
        subject.prepare()
        cache = {
            f"{size}-{dtype}": recording.record(
                "cuda", lambda size=size, dtype=dtype: (size, dtype), _measured
            )
            for size in SIZES
            for dtype in DTYPES
        }
        for name in AGREEING:
            cache[name] = recording.record(name, lambda name=name: name, _compared)
        return cache

    setup_cache.timeout = 300  # type: ignore[attr-defined]

    def track_large_elsewhere(self, cache: Any, size: int, dtype: str) -> float:
        """Operations of one run with a tensor of 65,536 elements and more on the processor (AT-PERF-008)."""
        return _figure(cache, f"{size}-{dtype}", "elsewhere")

    track_large_elsewhere.unit = "operations"  # type: ignore[attr-defined]

    def track_host_waits(self, cache: Any, size: int, dtype: str) -> float:
        """Times that one run waits for a value of the GPU (`.item()`, `float(…)`, `if tensor:`); exact."""
        return _figure(cache, f"{size}-{dtype}", "host_waits")

    track_host_waits.unit = "operations"  # type: ignore[attr-defined]

    def track_peak_allocated(self, cache: Any, size: int, dtype: str) -> float:
        """Bytes that torch's CUDA allocator holds at most while a simulation is built and run once."""
        return _figure(cache, f"{size}-{dtype}", "peak_bytes")

    track_peak_allocated.unit = "B (exact)"  # type: ignore[attr-defined]

    def track_l2_share(self, cache: Any, size: int, dtype: str) -> float:
        """Bytes of one frame over those of the second-level cache: above 1 no frame stays in it."""
        return _figure(cache, f"{size}-{dtype}", "frame_in_l2")

    track_l2_share.unit = "frames/cache"  # type: ignore[attr-defined]


class Agreement:
    """How alike the GPU's image is to the processor's, of the same workload."""

    params: ClassVar[list[str]] = AGREEING
    param_names: ClassVar[list[str]] = ["workload"]
    version = "1"
    timeout = 120

    setup_cache = Facts.setup_cache

    def track_correlation(self, cache: Any, workload: str) -> float:
        """Pearson's correlation of the two images (guard: at least 0.999)."""
        return _figure(cache, workload, "correlation")

    track_correlation.unit = "correlation"  # type: ignore[attr-defined]

    def track_relative_error(self, cache: Any, workload: str) -> float:
        """Largest difference over the largest value."""
        return _figure(cache, workload, "relative_error")

    track_relative_error.unit = "relative error"  # type: ignore[attr-defined]

    def track_sum_ratio(self, cache: Any, workload: str) -> float:
        """Sum of the GPU's image over that of the processor's (guard: within 5e-3 of 1)."""
        return _figure(cache, workload, "sum_ratio")

    track_sum_ratio.unit = "sum ratio"  # type: ignore[attr-defined]


def _figure(cache: dict[str, recording.Record], name: str, figure: str) -> float:
    return recording.look_up(cache, name if "" not in cache else "", figure)


def _measured(case: Any) -> recording.Record:
    size, dtype = case
    bandwidth.refuse_large(size, dtype)
    peak = peak_allocated(lambda: subject.bandwidth(size, dtype).run())
    made = subject.bandwidth(size, dtype)
    made.run()
    with Residency("cuda") as seen:
        made.run()
    if seen.found.elsewhere_names:
        print(f"nbbench: on the processor: {', '.join(seen.found.elsewhere_names)}", file=sys.stderr)
    return {
        "elsewhere": seen.found.elsewhere,
        "host_waits": seen.found.host_waits,
        "peak_bytes": peak,
        "frame_in_l2": size * size * subject.parse_dtype(dtype).itemsize / device_cache_bytes(),
    }


def _compared(name: str) -> recording.Record:
    build = suite_cases()[name]
    ours = build().run()
    with on_cpu():
        theirs = build().run()
    return dict(recording.agreement(ours, theirs))


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


class CacheFlush:
    """Writes a buffer of four times the GPU's second-level cache, so that nothing of a run stays in it."""

    def __init__(self) -> None:
        size = max(_FLUSHED * device_cache_bytes(), _LEAST_FLUSH)
        self._buffer = torch.empty(size, dtype=torch.uint8, device=measured_device())

    def __call__(self) -> None:
        """Write it, and wait until it is written."""
        self._buffer.add_(1)  # another value each time: a fill with the same one might be left out
        settle()


def peak_allocated(function: Callable[[], object]) -> int:
    """Bytes that torch's CUDA allocator held for tensors at most while a function ran, less those before."""
    settle()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = function()
    settle()
    peak = torch.cuda.max_memory_allocated()
    del kept
    return int(peak - before)
