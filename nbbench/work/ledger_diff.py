"""The exact difference of work between two ledgers of one workload."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import chain, zip_longest
from statistics import median

from nbbench.config import ImageTolerance
from nbbench.ledger import ImageChange, Ledger, LedgerLine
from nbbench.work.line_match import LineMatch, SiteNames

# What weighs an operation against bytes where the two disagree (a loop that became tensors): an
# operation without bytes costs dispatch time only, about 5 µs, in which a core moves about 50 kB at 10 GB/s.
BYTES_PER_OPERATION = 50_000
ROUNDING = ImageTolerance()
_RECOMPOSED_SHARE = 0.01  # a few scalar operations more or less are no other program

WORK_FLOOR = 0.001  # the ledger is exact: 0.1 % is far above a few scalar operations


@dataclass(frozen=True, slots=True)
class LineChange:
    """What an operation at one site costs before and after, in bytes per pixel and counts.

    `where` is `path:line` in the newer tree (in the older one where `gone`), `was` that in the
    older tree (empty where the line is new). `site` is what was matched: a line that both trees
    have, whether or not it ran, or the lines of a function that only one of them has: with a diff
    of the trees these are paired one by one, without it they are one change together.
    """

    where: str
    function: str
    op: str
    dtype: str
    count_before: int
    count_after: int
    before: float
    after: float
    was: str = ""
    site: str = ""
    gone: bool = False  # the newer tree has no such line

    @property
    def delta(self) -> float:
        """Bytes per pixel more."""
        return self.after - self.before

    @property
    def rank(self) -> tuple[float, int]:
        """Sorts the largest first: bytes to the tenth that is shown, then calls (of scalars, say)."""
        return -round(abs(self.delta), 1), -abs(self.count_after - self.count_before)


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
    image: ImageChange
    image_ratio: float
    dtype_before: str
    dtype_after: str
    lines: tuple[LineChange, ...]
    pixels: int
    moved_lines: int = 0  # sites that cost something and stand elsewhere in head
    peak_line_before: tuple[str, int, str] = ("", 0, "")
    peak_line_after: tuple[str, int, str] = ("", 0, "")
    dtypes: tuple[tuple[str, float, float], ...] = ()  # dtype, bytes per pixel before and after

    @property
    def effect(self) -> float:
        """log(after/before) of the bytes; 0 when equal."""
        return log_ratio(self.bytes_before, self.bytes_after)

    @property
    def ops_effect(self) -> float:
        """log(after/before) of the operations."""
        return log_ratio(self.ops_before, self.ops_after)

    @property
    def cost_effect(self) -> float:
        """log(after/before) of bytes and operations together."""
        return log_ratio(*self.costs)

    @property
    def costs(self) -> tuple[float, float]:
        """Bytes and operations together before and after, as bytes."""
        return (
            self.bytes_before * self.pixels + self.ops_before * BYTES_PER_OPERATION,
            self.bytes_after * self.pixels + self.ops_after * BYTES_PER_OPERATION,
        )

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
    def new_image(self) -> bool:
        """Whether head computes another image, beyond rounding: base and head are not like for like."""
        return self.image is ImageChange.DIFFERENT

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


def diff_ledgers(
    base: Ledger, head: Ledger, match: LineMatch | None = None, tolerance: ImageTolerance = ROUNDING
) -> LedgerDiff:
    """Compare two ledgers; their lines are matched by `match`, or by function where there is none.

    `tolerance` says how far their images may lie apart (the subject's profile has it).

    Where a function's total of an operation and dtype is what it was, its lines are no change:
    neither moved code nor code that only reads differently is one.
    """
    changes, moved = _line_changes(base, head, match)
    image, ratio = compare_images(base, head, tolerance)
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
        moved_lines=moved,
        peak_line_before=base.peak_line,
        peak_line_after=head.peak_line,
        dtypes=_dtypes(base, head),
    )


def _dtypes(base: Ledger, head: Ledger) -> tuple[tuple[str, float, float], ...]:
    before, after = dict(base.bytes_by_dtype), dict(head.bytes_by_dtype)
    return tuple(
        (name, before.get(name, 0) / base.pixels, after.get(name, 0) / head.pixels)
        for name in sorted(before.keys() | after.keys())
    )


@dataclass(slots=True)
class _Sides:
    """The ledger lines of one site, operation and dtype in base and head."""

    old: list[LedgerLine] = field(default_factory=list)
    new: list[LedgerLine] = field(default_factory=list)

    def by_line(self, pixels: tuple[int, int], match: LineMatch) -> list[_Sides]:
        """The rewritten lines of a function one by one, so that each that pays is named.

        Lines of one hunk that has as many as before belong together, then those that cost the same on both
        sides, then those of any hunk, then what is left in its order.
        """
        even, rest = self._by_hunk(match, even=True)
        same, rest = rest._of_equal_cost(pixels)
        uneven, rest = rest._by_hunk(match, even=False)
        return same + [sides for part in (*even, *uneven, rest) for sides in part._in_order(pixels)]

    def _by_hunk(self, match: LineMatch, *, even: bool) -> tuple[list[_Sides], _Sides]:
        """The lines of each hunk that has some on both sides, and the others."""
        hunks: dict[tuple[str, int, bool] | None, _Sides] = defaultdict(_Sides)
        for line in self.old:
            hunks[match.hunk(line, of_head=False)].old.append(line)
        for line in self.new:
            hunks[match.hunk(line, of_head=True)].new.append(line)
        found, rest = [], _Sides()
        for key, sides in hunks.items():
            if sides.old and sides.new and key is not None and (key[2] or not even):
                found.append(sides)
            else:
                rest.old += sides.old
                rest.new += sides.new
        return found, rest

    def _of_equal_cost(self, pixels: tuple[int, int]) -> tuple[list[_Sides], _Sides]:
        """Pairs of lines with equal calls and bytes, in their order, and the other lines."""
        pairs, rest = [], _Sides()
        for tag, old, new in self._runs(pixels):
            if tag == "equal":
                pairs += [_Sides(*pair) for pair in zip(old, new, strict=True)]
            else:
                rest.old += chain.from_iterable(old)
                rest.new += chain.from_iterable(new)
        return pairs, rest

    def _in_order(self, pixels: tuple[int, int]) -> list[_Sides]:
        """As many lines as before belong together in their order, else as their costs suggest."""
        old, new = _lines(self.old), _lines(self.new)
        if len(old) == len(new):
            return [_Sides(*pair) for pair in zip(old, new, strict=True)]
        pairs: list[tuple[list[LedgerLine], list[LedgerLine]]] = []
        for _, before, after in self._runs(pixels):
            pairs += zip_longest(before, after, fillvalue=[])
        return [_Sides(*pair) for pair in pairs]

    def _runs(
        self, pixels: tuple[int, int]
    ) -> list[tuple[str, list[list[LedgerLine]], list[list[LedgerLine]]]]:
        """Lines of both sides in their order, cut where their costs begin or cease to be equal."""
        old, new = _lines(self.old), _lines(self.new)
        costs = [
            [(sum(x.count for x in line), round(_total(line) / size, 6)) for line in side]
            for side, size in ((old, pixels[0]), (new, pixels[1]))
        ]
        codes = SequenceMatcher(None, costs[0], costs[1], autojunk=False).get_opcodes()
        return [(tag, old[a:b], new[c:d]) for tag, a, b, c, d in codes]


def _lines(entries: Iterable[LedgerLine]) -> list[list[LedgerLine]]:
    """The entries of each source line, in the order of the source."""
    lines: dict[tuple[str, int], list[LedgerLine]] = defaultdict(list)
    for entry in entries:
        lines[entry.path, entry.line].append(entry)
    return [lines[place] for place in sorted(lines)]


def _is_line(site: str) -> bool:
    """Whether a site is a line that both trees have, and not what is left of a function."""
    return site.rpartition(":")[2].isdigit()


def _line_changes(base: Ledger, head: Ledger, match: LineMatch | None) -> tuple[list[LineChange], int]:
    """The changes, largest first, and how many sites moved."""
    names = SiteNames(base.lines, head.lines, match)
    sites: dict[tuple[str, str, str], _Sides] = defaultdict(_Sides)
    for line in base.lines:
        sites[names.base(line), line.op, line.dtype].old.append(line)
    for line in head.lines:
        sites[names.head(line), line.op, line.dtype].new.append(line)
    found: dict[tuple[tuple[str, str], str, str], list[LineChange]] = defaultdict(list)
    pixels = base.pixels, head.pixels
    for (site, op, dtype), sides in sites.items():
        line = max(sides.new or sides.old, key=lambda entry: entry.bytes)
        function = (line.path, line.function) if sides.new else names.function(line)
        parts = sides.by_line(pixels, match) if match is not None and not _is_line(site) else [sides]
        found[function, op, dtype] += [_line_change(names, site, part, pixels) for part in parts]
    changes = [c for group in found.values() if not _balanced(group) for c in group if _differs(c)]
    changes.sort(key=lambda c: (*c.rank, c.where, c.op, c.dtype))
    ran = [c for group in found.values() for c in group if c.count_before and c.count_after]
    places = {(c.was, c.where) for c in ran}
    return changes, sum(was != where for was, where in places)


def _differs(change: LineChange) -> bool:
    return bool(change.delta) or change.count_before != change.count_after


def _balanced(group: list[LineChange]) -> bool:
    """Whether the lines of a function do as much as before, one more and another less."""
    counts = sum(c.count_after - c.count_before for c in group)
    before, after = sum(c.before for c in group), sum(c.after for c in group)
    return counts == 0 and math.isclose(before, after, rel_tol=1e-12)


def _line_change(names: SiteNames, site: str, sides: _Sides, pixels: tuple[int, int]) -> LineChange:
    old = max(sides.old, key=lambda line: line.bytes, default=None)
    new = max(sides.new, key=lambda line: line.bytes, default=None)
    shown = new or old
    assert shown is not None
    was, where = names.places(site, old, new)
    return LineChange(
        where=where or was,
        function=shown.function,
        op=shown.op,
        dtype=shown.dtype,
        count_before=sum(line.count for line in sides.old),
        count_after=sum(line.count for line in sides.new),
        before=_total(sides.old) / pixels[0],
        after=_total(sides.new) / pixels[1],
        was=was,
        site=site,
        gone=not where,
    )


def _total(lines: Iterable[LedgerLine]) -> int:
    return sum(line.bytes for line in lines)


def compare_images(
    base: Ledger, head: Ledger, tolerance: ImageTolerance = ROUNDING
) -> tuple[ImageChange, float]:
    """How the images differ, and the ratio of their sums head/base (nan where undefined)."""
    ratio = math.nan
    if base.image_sum and head.image_sum and float(base.image_sum) != 0:
        ratio = float(head.image_sum) / float(base.image_sum)
    if base.image_digest == head.image_digest:
        return ImageChange.SAME_BITS, ratio
    pairs = list(zip(base.image_blocks, head.image_blocks, strict=False))
    apart = [abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if a != b]
    apart += [0.0] * (len(pairs) - len(apart))
    changed = len(base.image_blocks) != len(head.image_blocks) or not all(map(math.isfinite, apart))
    changed = changed or (bool(apart) and median(apart) > tolerance.median)
    changed = changed or (bool(apart) and max(apart) > tolerance.block)
    return ImageChange.DIFFERENT if changed else ImageChange.WITHIN_ROUNDING, ratio
