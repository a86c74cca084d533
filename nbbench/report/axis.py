"""A value axis: its range, its scale and its ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# From this ratio on, a linear axis flattens the smaller level into a line at the bottom.
_LOG_RATIO = 8.0
_PAD = 0.10
# Outside these, powers and quotients of doubles leave their range; no measurement comes near.
_TINY, _HUGE_RATIO = 1e-250, 1e60
_TICKS = 6
_BINARY_UNITS = frozenset({"bytes", "B", "B (exact)", "B (mapped)"})


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `lo` to `hi`, linear or logarithmic; `at` gives 0 at `lo` and 1 at `hi`."""

    lo: float
    hi: float
    log: bool
    unit: str = ""

    def at(self, value: float) -> float:
        """Where `value` lies, cut to the axis."""
        if self.log:
            share = math.log(max(value, self.lo) / self.lo) / math.log(self.hi / self.lo)
        else:
            share = (value - self.lo) / (self.hi - self.lo)
        return min(1.0, max(0.0, share))

    def ticks(self) -> tuple[float, ...]:
        """Round values on the axis, two to about seven of them."""
        if self.log:
            marks = self._log_ticks((1, 2, 5))
            marks = marks if len(marks) <= 6 else self._log_ticks((1,))
            if len(marks) >= 2:
                return marks[:: 1 + len(marks) // 7]
        step = _round_step((self.hi - self.lo) / _TICKS, self.unit in _BINARY_UNITS)
        first, last = math.ceil(self.lo / step), math.floor(self.hi / step)
        return tuple(index * step for index in range(first, last + 1))

    def _log_ticks(self, digits: Sequence[int]) -> tuple[float, ...]:
        powers = range(math.floor(math.log10(self.lo)), math.ceil(math.log10(self.hi)) + 1)
        marks = (digit * 10.0**power for power in powers for digit in digits)
        return tuple(mark for mark in marks if self.lo <= mark <= self.hi)


def axis_for(values: Sequence[float], unit: str = "") -> Axis:
    """An axis around finite `values`, logarithmic when they span a factor of eight."""
    lo, hi = min(values, default=0.0), max(values, default=1.0)
    if lo > _TINY and _LOG_RATIO <= hi / lo <= _HUGE_RATIO:
        margin = (hi / lo) ** _PAD
        return Axis(lo / margin, hi * margin, True, unit)
    # Levels that differ by less than a thousandth are drawn as the level line that they are.
    span = max(hi - lo, abs(hi) * 1e-3, abs(lo) * 1e-3)
    span = span if span > _TINY else 1.0
    low, high = lo - span * _PAD, hi + span * _PAD
    if hi == lo:
        low, high = lo - span, hi + span
    return Axis(0.0 if lo >= 0 > low else low, high, False, unit)


def _round_step(raw: float, binary: bool) -> float:
    """The round step at or above `raw`: 1, 2, 2.5 or 5 × 10ⁿ, or a power of two for bytes."""
    if binary:
        return 2.0 ** math.ceil(math.log2(raw))
    power = 10.0 ** math.floor(math.log10(raw))
    return next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= raw * 0.999)
