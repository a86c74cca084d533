"""The machine's ceilings, measured where the workload runs: memory, caches, dispatch.

Memory follows STREAM's rules (McCalpin, "Memory bandwidth and machine balance in current high
performance computers", IEEE TCCA Newsletter, 1995): arrays of at least four times the last-level
cache, best of repeats, first repeat left out. STREAM does not count the read of a destination's
cache lines before they are written (write-allocate), and neither does the ledger, so the two
compare like with like; docs/roofline.md tells what torch's kernels really do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

_DEFAULT_CACHE_BYTES = 32 * 2**20
# A sample of a small kernel runs at least so long, so that the clock's own cost does not show.
_SAMPLE_S = 100e-6
_SMALLEST_FOOTPRINT = 24 * 2**10  # three arrays of 8 KiB: well inside any first-level cache


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Bandwidths in bytes per second, and how they were taken."""

    copy: float
    scale: float
    add: float
    triad: float
    array_bytes: int
    threads: int
    cache_bytes: int


def last_level_cache_bytes() -> int:
    """Size of the largest cache of CPU 0 from sysfs; 32 MiB where it is not told."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        if match := re.fullmatch(r"(\d+)([KMG]?)", path.read_text().strip()):
            sizes.append(int(match[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[match[2]])
    return max(sizes) or _DEFAULT_CACHE_BYTES


def measure_ceiling(*, repeats: int = 5, array_bytes: int | None = None) -> Ceiling:
    """Copy, scale, add and triad bandwidth with torch's current number of threads.

    Arrays hold float64 of `array_bytes` (default: four times the last-level cache, at least
    64 MiB, at most 512 MiB).
    """
    cache = last_level_cache_bytes()
    size = array_bytes or min(max(4 * cache, 64 * 2**20), 512 * 2**20)
    count = size // 8
    kernels = _kernels(count)
    best = dict.fromkeys(kernels, float("inf"))
    for turn in range(repeats + 1):
        for name, (_, kernel) in kernels.items():
            start = time.perf_counter()
            kernel()
            if turn:  # the first turn faults pages in
                best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: arrays * count * 8 / best[name] for name, (arrays, _) in kernels.items()}
    return Ceiling(**rates, array_bytes=count * 8, threads=torch.get_num_threads(), cache_bytes=cache)


def _kernels(count: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """STREAM's kernels on three float64 arrays of `count`, with the arrays that each one counts."""
    a, b, c = (torch.full((count,), float(i), dtype=torch.float64) for i in (1, 2, 3))
    scalar = 3.0
    return {
        "copy": (2, lambda: c.copy_(a)),
        "scale": (2, lambda: torch.mul(c, scalar, out=b)),
        "add": (3, lambda: torch.add(a, b, out=c)),
        "triad": (3, lambda: torch.add(b, c, alpha=scalar, out=a)),
    }


def curve_footprints(cache_bytes: int) -> list[int]:
    """Bytes that an operation touches, doubled from a first-level cache to four times the last."""
    sizes = [_SMALLEST_FOOTPRINT]
    while sizes[-1] < 4 * cache_bytes:
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
    one = torch.ones(1)
    return (
        best_seconds(lambda: one + one, repeats=repeats),
        best_seconds(lambda: one.unsqueeze(0), repeats=repeats),
    )


def best_seconds(kernel: Callable[[], object], *, repeats: int) -> float:
    """Seconds of one call: the best of `repeats` samples of as many calls as make a sample long enough."""
    kernel()
    start = time.perf_counter()
    kernel()
    once = max(time.perf_counter() - start, 1e-9)
    calls = max(1, int(_SAMPLE_S / once))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            kernel()
        best = min(best, (time.perf_counter() - start) / calls)
    return best
