"""Canaries: fixed reference programs of ours, timed beside a workload in the same process.

Their work never changes, so a change of their time comes from the machine or from what else it does, never
from the subject. One is bound by memory bandwidth, the other by arithmetic.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

ARRAY_BYTES = 32 * 2**20
"""One array of the copy: it and its target are twice the last-level cache of small machines, and are touched
in 20 ms."""

COPIES = 3
"""Copies in a row: 192 MiB of traffic, about 10 ms at 20 GB/s."""

ARITHMETIC_COUNT = 4096
"""Values of the arithmetic program: 16 kB, which stays in the first-level cache."""

ARITHMETIC_PASSES = 1000
"""Passes of sin(): about 8 ms on one core."""


@dataclass(frozen=True, slots=True)
class CanaryTime:
    """Seconds of the fastest run of each reference program."""

    bandwidth_s: float
    arithmetic_s: float


class Canary:
    """The two programs with their arrays; building one touches all pages."""

    def __init__(self) -> None:
        count = ARRAY_BYTES // 4
        self._source = torch.ones(count, dtype=torch.float32)
        self._target = torch.zeros(count, dtype=torch.float32)
        self._values = torch.linspace(0.1, 3.0, ARITHMETIC_COUNT, dtype=torch.float32)
        self._result = torch.empty_like(self._values)

    def sing(self, repeats: int = 1) -> CanaryTime:
        """Time both programs `repeats` times (at least once) and keep the fastest of each."""
        best = [float("inf")] * 2
        for _ in range(max(1, repeats)):
            for i, program in enumerate((self._copy, self._compute)):
                start = time.perf_counter()
                program()
                best[i] = min(best[i], time.perf_counter() - start)
        return CanaryTime(*best)

    def _copy(self) -> None:
        for _ in range(COPIES):
            self._target.copy_(self._source)

    def _compute(self) -> None:
        for _ in range(ARITHMETIC_PASSES):
            torch.sin(self._values, out=self._result)
