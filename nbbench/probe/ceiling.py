"""The machine's memory-bandwidth ceilings, measured where the workload runs (STREAM rules).

McCalpin, "Memory bandwidth and machine balance in current high performance computers", IEEE
TCCA Newsletter, 1995: arrays of at least four times the last-level cache, best of repeats,
first repeat left out. STREAM does not count the write-allocate read of the destination, and
neither does the ledger, so the two compare like with like.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_DEFAULT_CACHE_BYTES = 32 * 2**20


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
    a, b, c = (torch.full((count,), float(i), dtype=torch.float64) for i in (1, 2, 3))
    scalar = 3.0
    kernels: dict[str, tuple[int, Callable[[], object]]] = {
        "copy": (2, lambda: c.copy_(a)),
        "scale": (2, lambda: torch.mul(c, scalar, out=b)),
        "add": (3, lambda: torch.add(a, b, out=c)),
        "triad": (3, lambda: torch.add(b, c, alpha=scalar, out=a)),
    }
    best = dict.fromkeys(kernels, float("inf"))
    for turn in range(repeats + 1):
        for name, (_, kernel) in kernels.items():
            start = time.perf_counter()
            kernel()
            if turn:  # the first turn faults pages in
                best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: arrays * count * 8 / best[name] for name, (arrays, _) in kernels.items()}
    return Ceiling(**rates, array_bytes=count * 8, threads=torch.get_num_threads(), cache_bytes=cache)
