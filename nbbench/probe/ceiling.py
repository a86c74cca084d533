"""The machine's ceilings, measured where the workload runs: memory, caches, dispatch.

Memory follows STREAM's rules (McCalpin, "Memory bandwidth and machine balance in current high performance
computers", IEEE TCCA Newsletter, 1995), but for caches so large that its arrays would take seconds for each
commit: docs/roofline.md, "The ceilings".
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from nbbench.ledger import Roof
from nbbench.probe.device import device_cache_bytes, device_clock, measured_device, on_cuda
from nbbench.probe.resources import last_level_cache_bytes

_DEFAULT_CACHE_BYTES = 32 * 2**20  # where the kernel does not say
SMALLEST_ARRAY_BYTES = 64 * 2**20
LARGEST_ARRAY_BYTES = 128 * 2**20
"""Three such arrays exceed a cache of 300 MiB and are filled and passed once in a third of a second."""
MOST_SECONDS = 2.0
"""A machine so slow or so busy that the repeats take longer gives the best of what it managed."""
# A sample of a small kernel runs at least so long, so that the clock's own cost does not show.
_SAMPLE_S = 100e-6
_SMALLEST_FOOTPRINT = 24 * 2**10  # three arrays of 8 KiB: well inside any first-level cache


def measure_ceiling(*, repeats: int = 5, array_bytes: int | None = None) -> Roof:
    """Copy, scale, add and triad bandwidth with torch's current number of threads.

    Arrays hold float64 of `array_bytes` (default: four times the last-level cache, between
    SMALLEST_ARRAY_BYTES and LARGEST_ARRAY_BYTES). No repeat begins after MOST_SECONDS, but the first two.
    On a GPU they are the GPU's memory and its second-level cache, by its own events, and nothing bounds the
    arrays from above: its memory is fast.
    """
    cache = (device_cache_bytes() if on_cuda() else last_level_cache_bytes()) or _DEFAULT_CACHE_BYTES
    size = array_bytes or max(4 * cache, SMALLEST_ARRAY_BYTES)
    size = size if array_bytes or on_cuda() else min(size, LARGEST_ARRAY_BYTES)
    clock = _clock()
    count = size // 8
    kernels = _kernels(count)
    best = dict.fromkeys(kernels, float("inf"))
    end = time.monotonic() + MOST_SECONDS
    for turn in range(repeats + 1):
        if turn > 1 and time.monotonic() > end:
            break
        for name, (_, kernel) in kernels.items():
            start = clock()
            kernel()
            if turn:  # the first turn faults pages in
                best[name] = min(best[name], clock() - start)
    copy, scale, add, triad = (arrays * count * 8 / best[name] for name, (arrays, _) in kernels.items())
    return Roof(copy, scale, add, triad, count * 8, cache, torch.get_num_threads())


def _kernels(count: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """STREAM's kernels on three float64 arrays of `count`, with the arrays that each one counts."""
    kind = {"dtype": torch.float64, "device": measured_device()}
    a, b, c = (torch.full((count,), float(i), **kind) for i in (1, 2, 3))
    scalar = 3.0
    return {
        "copy": (2, lambda: c.copy_(a)),
        "scale": (2, lambda: torch.mul(c, scalar, out=b)),
        "add": (3, lambda: torch.add(a, b, out=c)),
        "triad": (3, lambda: torch.add(b, c, alpha=scalar, out=a)),
    }


def _clock() -> Callable[[], float]:
    return device_clock if on_cuda() else time.perf_counter


def all_ceilings() -> Roof:
    """All ceilings: memory, the caches that a curve shows, and dispatch."""
    found = measure_ceiling()
    op_s, view_s = measure_dispatch()
    curve = tuple(measure_curve(curve_footprints(found.cache_bytes)))
    return replace(found, op_s=op_s, view_s=view_s, curve=curve)


def curve_footprints(cache_bytes: int) -> list[int]:
    """Bytes that an operation touches, doubled from a first-level cache to four times the last one, or to
    all three of the largest arrays.
    """
    sizes = [_SMALLEST_FOOTPRINT]
    while sizes[-1] < min(4 * cache_bytes, 3 * LARGEST_ARRAY_BYTES):
        sizes.append(2 * sizes[-1])
    return sizes


def measure_curve(footprints: Sequence[int], *, repeats: int = 7) -> list[tuple[int, float]]:
    """(footprint, rate in bytes per second) of add on three arrays that are touched again and again.

    A footprint that fits in a cache gives that cache's bandwidth. Best of repeats, first left out.
    """
    found = []
    for footprint in footprints:
        count = max(1, footprint // 24)
        arrays, kernel = _kernels(count)["add"]
        seconds = best_seconds(kernel, repeats=repeats)
        found.append((arrays * count * 8, arrays * count * 8 / seconds))
    return found


def measure_dispatch(*, repeats: int = 20) -> tuple[float, float]:
    """Seconds that torch needs for one operation on one element, and for one view: no data moves.

    Both are called from Python and allocate their result, as a simulator's operations do.
    """
    one = torch.ones(1, device=measured_device())
    return (
        best_seconds(lambda: one + one, repeats=repeats),
        best_seconds(lambda: one.unsqueeze(0), repeats=repeats),
    )


def best_seconds(kernel: Callable[[], object], *, repeats: int) -> float:
    """Seconds of one call: the best of `repeats` samples of as many calls as make a sample long enough."""
    clock = _clock()
    kernel()
    start = clock()
    kernel()
    once = max(clock() - start, 1e-9)
    calls = max(1, int(_SAMPLE_S / once))
    best = float("inf")
    for _ in range(repeats):
        start = clock()
        for _ in range(calls):
            kernel()
        best = min(best, (clock() - start) / calls)
    return best
