"""The canary: two reference kernels of ours, timed beside what is measured, in its own process.

Their work never changes, so a change of their time comes from the machine or from what else it does, never
from the subject. A run takes some 10 ms and leaves nothing behind: no thread, no setting of torch, no memory,
and no threshold of malloc's moved, as its frames are mapped (docs/architecture.md).
"""

import mmap
import time
from collections.abc import Callable

import torch

FRAME_VALUES = 2**18
"""float32 values of one frame: 1 MiB; four of them fill twice the second-level cache of one core."""

PASSES = 7
"""Passes over the frames, half a millisecond each, of which the fastest counts."""

SMALL_VALUES = 4096
"""Values of the kernel that is bound by arithmetic: 16 KiB, which stay in the first-level cache."""

SINES = 100
"""Sines of all small values in a row: half a millisecond."""

SINE_REPEATS = 5


def reference_times() -> dict[str, float]:
    """Seconds of the fastest pass of each reference kernel, on one thread.

    ``frames_s`` is a chain of elementwise operations over frames of 1 MiB, as simulations are made of;
    ``arithmetic_s`` is sines of values in the first-level cache.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    mapped = mmap.mmap(-1, 4 * (4 * FRAME_VALUES + 2 * SMALL_VALUES))
    try:
        return _timed(torch.frombuffer(mapped, dtype=torch.float32))
    finally:
        mapped.close()
        torch.set_num_threads(threads)


def _timed(memory: torch.Tensor) -> dict[str, float]:
    """Both kernels in ``memory``; its tensors end with this call, so that it can be unmapped."""
    sizes = [FRAME_VALUES] * 4 + [SMALL_VALUES] * 2
    first, second, third, fourth, small, sines = memory.split(sizes)
    with torch.inference_mode():
        for number, frame in enumerate((first, second, third, fourth)):
            frame.fill_(0.5 + number)
        small.fill_(0.7)

        def frames() -> None:
            torch.mul(first, second, out=third)
            torch.add(third, first, out=fourth)
            torch.sqrt(fourth, out=third)
            torch.sin(third, out=fourth)
            torch.div(fourth, second, out=third)
            torch.mul(third, fourth, out=fourth)

        def arithmetic() -> None:
            for _ in range(SINES):
                torch.sin(small, out=sines)

        return {"frames_s": _fastest(frames, PASSES), "arithmetic_s": _fastest(arithmetic, SINE_REPEATS)}


def _fastest(kernel: Callable[[], None], repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` runs: others only add time."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        kernel()
        best = min(best, time.perf_counter() - start)
    return round(best, 7)
