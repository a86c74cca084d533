"""The exact difference of work between two ledgers of one workload."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from nbbench.model import Ledger, LedgerLine

# An image has changed when its block means moved by more than rounding does: reordered float32
# sums move the median block by about 1e-6 and single blocks between Bragg peaks by up to 1e-3.
# The project's own guard is |sum ratio - 1| <= 5e-3 (docs/glossary.md).
IMAGE_MEDIAN_TOLERANCE = 1e-4
IMAGE_BLOCK_TOLERANCE = 1e-2
_RECOMPOSED_SHARE = 0.01  # a few scalar operations more or less are no other program


@dataclass(frozen=True, slots=True)
class LineChange:
    """What one function's operation costs before and after, in bytes per pixel and counts.

    `where` is `path:line` in the newer tree (in the older one where it is gone).
    """

    where: str
    function: str
    op: str
    dtype: str
    count_before: int
    count_after: int
    before: float
    after: float

    @property
    def delta(self) -> float:
        """Bytes per pixel more."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class LedgerDiff:
    """Totals before and after (bytes per pixel, operations), and the lines that differ."""

    workload: str
    bytes_before: float
    bytes_after: float
    ops_before: int
    ops_after: int
    upcast_before: float
    upcast_after: float
    peak_before: int
    peak_after: int
    image: str  # same bits, same, changed
    image_ratio: float
    dtype_before: str
    dtype_after: str
    lines: tuple[LineChange, ...]
    pixels: int

    @property
    def effect(self) -> float:
        """log(after/before) of the bytes; 0 when equal."""
        return log_ratio(self.bytes_before, self.bytes_after)

    @property
    def ops_effect(self) -> float:
        """log(after/before) of the operations."""
        return log_ratio(self.ops_before, self.ops_after)

    @property
    def upcasts(self) -> bool:
        """Whether values became wider than asked for (or ceased to be)."""
        return abs(self.upcast_after - self.upcast_before) > 0.01 * max(self.bytes_before, 1.0)

    @property
    def retyped(self) -> bool:
        """Whether the output has another dtype (a default dtype was changed)."""
        return self.dtype_before != self.dtype_after and bool(self.dtype_before and self.dtype_after)

    @property
    def recomposed(self) -> bool:
        """Whether other operations do a share of the work; renamed or moved code does not count."""
        calls: defaultdict[tuple[str, str], int] = defaultdict(int)
        sizes: defaultdict[tuple[str, str], float] = defaultdict(float)
        for line in self.lines:
            calls[line.op, line.dtype] += line.count_after - line.count_before
            sizes[line.op, line.dtype] += line.delta
        moved, other = sum(map(abs, sizes.values())), sum(map(abs, calls.values()))
        return moved > _RECOMPOSED_SHARE * self.bytes_before or other > _RECOMPOSED_SHARE * self.ops_before

    @property
    def equal(self) -> bool:
        """Same bytes, operations and upcasts."""
        before = (self.bytes_before, self.ops_before, self.upcast_before)
        return before == (self.bytes_after, self.ops_after, self.upcast_after)


def log_ratio(before: float, after: float) -> float:
    """log(after/before), 0 for equal values and ±inf from or to zero."""
    if before == after:
        return 0.0
    if before <= 0 or after <= 0:
        return math.inf if after > before else -math.inf
    return math.log(after) - math.log(before)


def diff_ledgers(base: Ledger, head: Ledger) -> LedgerDiff:
    """Compare two ledgers; lines are matched by path, function, operation and dtype.

    Line numbers do not take part, so that moved code is no change.
    """
    before, after = _by_site(base), _by_site(head)
    changes = []
    for site in before.keys() | after.keys():
        old, new = before.get(site, []), after.get(site, [])
        change = _line_change(site, old, new, base.pixels, head.pixels)
        if change.delta or change.count_before != change.count_after:
            changes.append(change)
    changes.sort(key=lambda c: (-abs(c.delta), -abs(c.count_after - c.count_before), c.where, c.op, c.dtype))
    image, ratio = compare_images(base, head)
    return LedgerDiff(
        workload=head.workload,
        bytes_before=base.bytes_per_pixel,
        bytes_after=head.bytes_per_pixel,
        ops_before=base.ops,
        ops_after=head.ops,
        upcast_before=base.upcast_bytes / base.pixels,
        upcast_after=head.upcast_bytes / head.pixels,
        peak_before=base.peak_live_bytes,
        peak_after=head.peak_live_bytes,
        image=image,
        image_ratio=ratio,
        dtype_before=base.output_dtype,
        dtype_after=head.output_dtype,
        lines=tuple(changes),
        pixels=head.pixels,
    )


Site = tuple[str, str, str, str]


def _by_site(ledger: Ledger) -> dict[Site, list[LedgerLine]]:
    sites: dict[Site, list[LedgerLine]] = defaultdict(list)
    for line in ledger.lines:
        sites[(line.path, line.function, line.op, line.dtype)].append(line)
    return sites


def _line_change(
    site: Site, old: list[LedgerLine], new: list[LedgerLine], base_pixels: int, head_pixels: int
) -> LineChange:
    path, function, op, dtype = site
    shown = max(new or old, key=lambda line: line.bytes)
    return LineChange(
        where=f"{path}:{shown.line}" if path else "(benchmark)",
        function=function,
        op=op,
        dtype=dtype,
        count_before=sum(line.count for line in old),
        count_after=sum(line.count for line in new),
        before=_total(old) / base_pixels,
        after=_total(new) / head_pixels,
    )


def _total(lines: Iterable[LedgerLine]) -> int:
    return sum(line.bytes for line in lines)


def compare_images(base: Ledger, head: Ledger) -> tuple[str, float]:
    """(`same bits`, `same` or `changed`; ratio of the sums head/base, nan where undefined)."""
    ratio = math.nan
    if base.image_sum and head.image_sum and float(base.image_sum) != 0:
        ratio = float(head.image_sum) / float(base.image_sum)
    if base.image_digest == head.image_digest:
        return "same bits", ratio
    pairs = list(zip(base.image_blocks, head.image_blocks, strict=False))
    apart = [abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if a != b]
    apart += [0.0] * (len(pairs) - len(apart))
    changed = len(base.image_blocks) != len(head.image_blocks) or not all(map(math.isfinite, apart))
    changed = changed or (bool(apart) and median(apart) > IMAGE_MEDIAN_TOLERANCE)
    changed = changed or (bool(apart) and max(apart) > IMAGE_BLOCK_TOLERANCE)
    return ("changed" if changed else "same"), ratio
