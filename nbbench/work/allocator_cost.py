"""What the default malloc costs a workload, and the remedy that fits it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Large:
    """A source line whose results are large: their number a run, and the largest in bytes."""

    line: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """One workload; seconds and page faults are medians of a warm run.

    By default with the C library's malloc, and remedied by the printed setting in the environment.
    `system_share` is system time over processor time by default; `large` has the lines that allocate
    the largest tensors, the largest first.
    """

    name: str
    work_bytes: int
    pixels: int
    faults: float
    remedied_faults: float
    system_share: float
    default_s: float
    remedied_s: float
    large: tuple[Large, ...] = ()

    @property
    def penalty(self) -> float:
        """Default time over time with the remedy."""
        return self.default_s / self.remedied_s

    @property
    def largest_bytes(self) -> int:
        """Size of the largest tensor; 0 where none is large."""
        return self.large[0].bytes if self.large else 0

    @property
    def cost(self) -> Cost:
        """Decided by counts of page faults alone, which no busy machine can change."""
        if (self.faults - self.remedied_faults) * PAGE_BYTES < _FAULTED_SHARE * self.work_bytes:
            return Cost.NONE
        return Cost.MAPPED if self.largest_bytes >= MMAP_CEILING_BYTES else Cost.HEAP

    @property
    def pays(self) -> bool:
        """Whether the default malloc's work takes time that can be measured."""
        return self.cost is not Cost.NONE and self.penalty - 1 >= _PAID

    @property
    def crossing_pixels(self) -> int:
        """From how many pixels on the largest tensor of this workload is mapped every time; 0: it is not."""
        if self.cost is not Cost.MAPPED or not self.pixels:
            return 0
        return math.ceil(MMAP_CEILING_BYTES / (self.largest_bytes / self.pixels))
