"""The exact difference of work between two ledgers of one workload."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, zip_longest
from operator import attrgetter
from statistics import median
from typing import Any

from nbbench.compiled import COMPILED_SERIES
from nbbench.config import ImageTolerance
from nbbench.host import HOST_TRACK
from nbbench.ledger import IMAGE, ImageChange, Ledger, LedgerLine
from nbbench.metrics import least_change, least_effect
from nbbench.work.line_match import LineMatch, SiteNames

ROUNDING = ImageTolerance()
_RECOMPOSED_SHARE = 0.01  # a few scalar operations more or less are no other program
WORK_FLOOR = 0.001  # the ledger is exact: 0.1 % is far above a few scalar operations

_Lines = Sequence[LedgerLine]


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
    def calls(self) -> int:
        """Calls more."""
        return self.count_after - self.count_before

    @property
    def rank(self) -> tuple[float, int]:
        """Sorts the largest first: bytes to the tenth that is shown, then calls (of scalars, say)."""
        return -round(abs(self.delta), 1), -abs(self.calls)


@dataclass(frozen=True, slots=True)
class LedgerDiff:
    """Two ledgers of one workload, the lines that differ, and how far their images lie apart.

    `moved_lines` counts the sites that cost something and stand elsewhere in head.
    """

    base: Ledger
    head: Ledger
    lines: tuple[LineChange, ...]
    moved_lines: int
    image: ImageChange
    image_ratio: float

    @property
    def workload(self) -> str:
        """The workload that both ran."""
        return self.head.workload

    @property
    def effect(self) -> float:
        """log(after/before) of the bytes per pixel; 0 when equal."""
        return log_ratio(self.base.bytes_per_pixel, self.head.bytes_per_pixel)

    @property
    def ops_effect(self) -> float:
        """log(after/before) of the operations."""
        return log_ratio(self.base.ops, self.head.ops)

    @property
    def cost_effect(self) -> float:
        """log(after/before) of bytes and operations together."""
        return log_ratio(self.base.cost_bytes, self.head.cost_bytes)

    @property
    def telling(self) -> str:
        """The unit in which the work moved by what counts: bytes, or operations where bytes did not.

        '' where nothing did. Where the two disagree (a loop that became tensors), the cost of both decides.
        """
        effects = {"B/pixel": self.effect, "operations": self.ops_effect}
        moved = {unit: effect for unit, effect in effects.items() if abs(effect) > least_effect(unit)}
        if len(moved) == 2 and self.effect * self.ops_effect < 0:
            counts = abs(self.cost_effect) > least_effect("B/pixel")
            moved = {u: effect for u, effect in moved.items() if counts and effect * self.cost_effect > 0}
        return next(iter(moved), "")

    @property
    def peak_effect(self) -> float:
        """log(after/before) of the peak of live tensors; 0 where a ledger does not have it."""
        before, after = self.base.peak_live_bytes, self.head.peak_live_bytes
        return log_ratio(before, after) if before > 0 and after > 0 else 0.0

    @property
    def grew(self) -> bool:
        """Whether the peak of live tensors moved by what counts."""
        moved = abs(self.head.peak_live_bytes - self.base.peak_live_bytes)
        unit = "B (exact)"
        return abs(self.peak_effect) > least_effect(unit) and moved >= least_change(unit)

    @property
    def upcasts(self) -> bool:
        """Whether values became wider than asked for (or ceased to be)."""
        moved = abs(self.head.upcast_per_pixel - self.base.upcast_per_pixel)
        return moved > 0.01 * max(self.base.bytes_per_pixel, 1.0)

    @property
    def retyped(self) -> bool:
        """Whether the output has another dtype (a default dtype was changed)."""
        before, after = self.base.output_dtype, self.head.output_dtype
        return before != after and bool(before and after)

    @property
    def recomposed(self) -> bool:
        """Whether other operations do a share of the work; renamed or moved code does not count."""
        calls: defaultdict[tuple[str, str], int] = defaultdict(int)
        sizes: defaultdict[tuple[str, str], float] = defaultdict(float)
        for line in self.lines:
            calls[line.op, line.dtype] += line.calls
            sizes[line.op, line.dtype] += line.delta
        moved, other = sum(map(abs, sizes.values())), sum(map(abs, calls.values()))
        bytes_, ops = self.base.bytes_per_pixel, self.base.ops
        return moved > _RECOMPOSED_SHARE * bytes_ or other > _RECOMPOSED_SHARE * ops

    @property
    def new_image(self) -> bool:
        """Whether head computes another image, beyond rounding: base and head are not like for like."""
        return self.image is ImageChange.DIFFERENT

    @property
    def equal(self) -> bool:
        """Same bytes, operations and upcasts."""
        before, after = (
            (one.bytes_per_pixel, one.ops, one.upcast_per_pixel) for one in (self.base, self.head)
        )
        return before == after

    @property
    def changed(self) -> bool:
        """Whether anything of tensors differs: bytes, operations, their kinds, other counts, the image."""
        counts = tensor_counts(self.base) != tensor_counts(self.head)
        return not self.equal or self.recomposed or counts or self.new_image

    @property
    def figures(self) -> dict[str, Any]:
        """The totals of both sides and what follows from them, as JSON can hold it; without the lines."""
        found: dict[str, Any] = {"workload": self.workload, "pixels": self.head.pixels}
        for when, one in (("before", self.base), ("after", self.head)):
            found |= {
                f"bytes_{when}": one.bytes_per_pixel,
                f"ops_{when}": one.ops,
                f"upcast_{when}": one.upcast_per_pixel,
                f"peak_{when}": one.peak_live_bytes,
                f"peak_line_{when}": list(one.peak_line),
                f"dtype_{when}": one.output_dtype,
            }
        names = ("effect", "ops_effect", "peak_effect", "retyped", "upcasts", "image_ratio", "moved_lines")
        return found | {name: getattr(self, name) for name in names} | {"image": str(self.image)}


def tensor_counts(ledger: Ledger) -> list[tuple[str, float]]:
    """What else was counted of a ledger's tensors, by the name of its metric."""
    return [one for one in ledger.counts if not one[0].startswith((HOST_TRACK, *COMPILED_SERIES))]


def finite_or_none(value: float | None) -> float | None:
    """A figure; None for one that is not finite."""
    return value if value is not None and math.isfinite(value) else None


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

    `tolerance` says how far their images may lie apart (the subject's profile has it). Where a function's
    total of an operation and dtype is what it was, its lines are no change: neither moved code nor code that
    only reads differently is one.
    """
    changes, moved = _line_changes(base, head, match)
    return LedgerDiff(base, head, tuple(changes), moved, *compare_images(base, head, tolerance))


def _line_changes(base: Ledger, head: Ledger, match: LineMatch | None) -> tuple[list[LineChange], int]:
    """The changes, largest first, and how many sites moved."""
    names = SiteNames(base.lines, head.lines, match)
    sites: dict[tuple[str, str, str], tuple[list[LedgerLine], list[LedgerLine]]] = defaultdict(
        lambda: ([], [])
    )
    for line in base.lines:
        sites[names.base(line), line.op, line.dtype][0].append(line)
    for line in head.lines:
        sites[names.head(line), line.op, line.dtype][1].append(line)
    found: dict[tuple[tuple[str, str], str, str], list[LineChange]] = defaultdict(list)
    pixels = base.pixels, head.pixels
    for (site, op, dtype), (old, new) in sites.items():
        line = max(new or old, key=lambda entry: entry.bytes)
        function = (line.path, line.function) if new else names.function(line)
        whole = match is None or site.rpartition(":")[2].isdigit()  # a line that both trees have
        parts = [(old, new)] if whole else _by_line(old, new, pixels)
        found[function, op, dtype] += [_line_change(names, site, *part, pixels) for part in parts]
    changes = [c for group in found.values() if not _balanced(group) for c in group if c.delta or c.calls]
    changes.sort(key=lambda c: (*c.rank, c.where, c.op, c.dtype))
    ran = [c for group in found.values() for c in group if c.count_before and c.count_after]
    places = {(c.was, c.where) for c in ran}
    return changes, sum(was != where for was, where in places)


def _by_line(old: _Lines, new: _Lines, pixels: tuple[int, int]) -> list[tuple[_Lines, _Lines]]:
    """The rewritten lines of a function one by one, so that each that pays is named.

    As many lines as before belong together in their order, else those of equal cost, and what lies between.
    """
    sides = [_source_lines(entries) for entries in (old, new)]
    if len(sides[0]) == len(sides[1]):
        return list(zip(*sides, strict=True))
    costs = [
        [(sum(x.count for x in line), round(_total(line) / size, 6)) for line in side]
        for side, size in zip(sides, pixels, strict=True)
    ]
    pairs: list[tuple[_Lines, _Lines]] = []
    for _, a, b, c, d in SequenceMatcher(None, costs[0], costs[1], autojunk=False).get_opcodes():
        pairs += zip_longest(sides[0][a:b], sides[1][c:d], fillvalue=())
    return pairs


def _source_lines(entries: _Lines) -> list[_Lines]:
    """The entries of each source line, in the order of the source."""
    place = attrgetter("path", "line")
    return [list(line) for _, line in groupby(sorted(entries, key=place), key=place)]


def _balanced(group: list[LineChange]) -> bool:
    """Whether the lines of a function do as much as before, one more and another less."""
    before, after = sum(c.before for c in group), sum(c.after for c in group)
    return sum(c.calls for c in group) == 0 and math.isclose(before, after, rel_tol=1e-12)


def _line_change(
    names: SiteNames, site: str, old: _Lines, new: _Lines, pixels: tuple[int, int]
) -> LineChange:
    ends = [max(side, key=lambda line: line.bytes, default=None) for side in (old, new)]
    shown = ends[1] or ends[0]
    assert shown is not None
    was, where = names.places(site, *ends)
    return LineChange(
        where=where or was,
        function=shown.function,
        op=shown.op,
        dtype=shown.dtype,
        count_before=sum(line.count for line in old),
        count_after=sum(line.count for line in new),
        before=_total(old) / pixels[0],
        after=_total(new) / pixels[1],
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
    if IMAGE in (*base.varies, *head.varies):  # it is another one in each run
        return ImageChange.WITHIN_ROUNDING, ratio
    pairs = list(zip(base.image_blocks, head.image_blocks, strict=False))
    apart = [abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if a != b]
    apart += [0.0] * (len(pairs) - len(apart))
    changed = len(base.image_blocks) != len(head.image_blocks) or not all(map(math.isfinite, apart))
    changed = changed or (bool(apart) and (median(apart) > tolerance.median or max(apart) > tolerance.block))
    return ImageChange.DIFFERENT if changed else ImageChange.WITHIN_ROUNDING, ratio
