"""What the default malloc costs a workload, and the remedy that fits it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from nbbench.units import format_bytes

# glibc maps each block above a threshold that adapts to what is freed, up to this size on 64-bit
# machines (DEFAULT_MMAP_THRESHOLD_MAX in malloc.c): a larger block is mapped, faulted in page by
# page and unmapped every time.
MMAP_CEILING_BYTES = 32 * 2**20
PAGE_BYTES = 4096
# Pages that were faulted in, as a share of the bytes that the work moves: below it nothing is paid.
_FAULTED_SHARE = 0.01
# Less than the spread between two processes on a quiet machine cannot be told from nothing.
_PAID = 0.03

MALLOC_REMEDY = "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"


class Cost(StrEnum):
    """What the default malloc does to a workload."""

    NONE = "none"
    HEAP = "heap given back"
    MAPPED = "mmap threshold crossed"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Large:
    """A source line whose results are large: their number a run, and the largest in bytes."""

    line: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """One workload or series; seconds and faults are medians of a warm run.

    `default` is the C library's malloc, `pinned` mallopt in the process, `remedied` the printed
    setting in the environment. `system_share` is system time over processor time with the default
    malloc, or of the recorded process. None: not measured. `largest_bytes` is the largest tensor
    (of a recorded series: one frame of the output).
    """

    name: str
    work_bytes: int
    pixels: int
    faults: float | None = None
    pinned_faults: float | None = None
    remedied_faults: float | None = None
    system_share: float | None = None
    penalty: float | None = None  # default time over pinned time
    remedied: float | None = None  # default time over time with the remedy in the environment
    largest_bytes: int = 0
    large: tuple[Large, ...] = ()

    @property
    def cost(self) -> Cost:
        """Decided by counts of page faults alone, which no busy machine can change."""
        if self.faults is None:
            return Cost.UNKNOWN
        kept = self.pinned_faults or 0.0
        if (self.faults - kept) * PAGE_BYTES < _FAULTED_SHARE * self.work_bytes:
            return Cost.NONE
        return Cost.MAPPED if self.largest_bytes >= MMAP_CEILING_BYTES else Cost.HEAP

    @property
    def pays(self) -> bool:
        """Whether the default malloc's work takes time that can be measured."""
        return self.cost in (Cost.HEAP, Cost.MAPPED) and (self.penalty or 1.0) - 1 >= _PAID

    @property
    def verdict(self) -> str:
        """`none`, or what happens and what it costs."""
        if self.cost in (Cost.NONE, Cost.UNKNOWN) or self.penalty is None:
            return str(self.cost)
        paid = f"pays {self.penalty - 1:.0%}" if self.pays else "no measurable cost in time"
        return f"{self.cost}: {paid}"

    @property
    def crossing(self) -> str:
        """From which frame size on the largest tensor of this workload is mapped every time."""
        if self.cost is not Cost.MAPPED or not self.pixels:
            return ""
        each = self.largest_bytes / self.pixels
        least = math.ceil(MMAP_CEILING_BYTES / each)
        side = math.isqrt(least - 1) + 1
        frame = f", a frame of n = {side:,}" if math.isqrt(self.pixels) ** 2 == self.pixels else ""
        return (
            f"its largest tensor has {each:g} B a pixel ({format_bytes(self.largest_bytes)}): it is mapped "
            f"each time from {least:,} pixels on{frame}; in smaller bands it is not"
        )


# What each cost means, for people.
MEANING = {
    Cost.HEAP: "freed memory at the heap's end goes back to the system, and is faulted in again",
    Cost.MAPPED: "tensors of 32 MiB or more are mapped, faulted in and unmapped each time",
}


def shares(values: Sequence[tuple[float, float]]) -> float | None:
    """System over processor time of (user, system) seconds; None where nothing was spent."""
    user, system = sum(u for u, _ in values), sum(s for _, s in values)
    return system / (user + system) if user + system > 0 else None


def ratio(over: Sequence[float], under: Sequence[float]) -> float | None:
    """Ratio of medians; None where one side was not measured."""
    return median(over) / median(under) if over and under and median(under) > 0 else None
