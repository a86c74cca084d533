"""One series' history as an SVG chart: where things stand and what they say; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from nbbench import units
from nbbench.model import ChangePoint, Commit, Point, Series, Status
from nbbench.report.axis import axis_for
from nbbench.words import day, truncate

LEFT, RIGHT, TOP, BOTTOM = 84, 10, 18, 24
# More points than this are closer than a pixel; the extremes of each bucket are kept.
_MAX_POINTS = 400
_BAND = 4.0  # half the width of a change's mark, so that a single commit shows
_LABEL_WIDTH = 92.0
_EDGE = 8.0  # room for half a dot at both ends


class Chart:
    """The chart of `series` with its `changes` marked, each with the id of its event.

    Coordinates start at the upper left corner of the plot. `commits` gives dates and subjects by full hash;
    `focus` is the event whose chart it is. Without positions the points are spread evenly.
    """

    left, top = LEFT, TOP

    def __init__(
        self,
        series: Series,
        changes: Sequence[tuple[str, ChangePoint]],
        commits: Mapping[str, Commit],
        *,
        focus: str = "",
        width: int = 760,
        height: int = 210,
    ) -> None:
        self.series, self.focus, self.width, self.height = series, focus, width, height
        self.plot_width, self.plot_height = width - LEFT - RIGHT, height - TOP - BOTTOM
        self._commits = commits
        places = [point.position for point in series.points]
        ordered = all(a < b for a, b in pairwise(places))
        own = {p.commit: p.position if ordered else i for i, p in enumerate(series.points)}
        self._first, self._last = min(own.values(), default=0), max(own.values(), default=0)
        known = {c.hash: c.position for c in commits.values() if c.position} if ordered else {}
        self._positions = known | own
        self.good = [point for point in series.points if _finite(point)]
        self.dots = _thinned(self.good)
        self.failed = [point for point in series.points if point.status is Status.FAILED]
        self.changes = [(e, c) for e, c in changes if {c.lo_commit, c.hi_commit} <= self._positions.keys()]
        levels = [v for _, c in changes for v in (c.before, c.after) if math.isfinite(v)]
        self.axis = axis_for([*(float(p.value or 0) for p in self.good), *levels], series.unit)

    def x(self, commit: str) -> float:
        """The commit's place across the plot."""
        span = self._last - self._first
        share = (self._positions.get(commit, 0) - self._first) / span if span else 0.5
        return round(_EDGE + (self.plot_width - 2 * _EDGE) * min(1.0, max(0.0, share)), 1)

    def y(self, value: float | None) -> float:
        """The value's place down the plot."""
        return round(self.plot_height * (1 - self.axis.at(value or 0.0)), 1)

    def band(self, change: ChangePoint) -> tuple[float, float]:
        """Where the mark of a change begins, and its width: the commits in which the culprit lies."""
        lo, hi = self.x(change.lo_commit), self.x(change.hi_commit)
        return round(lo - _BAND, 1), round(hi - lo + 2 * _BAND, 1)

    def said(self, point: Point) -> str:
        """What a dot says: commit, date, subject, value."""
        value = units.format_value(point.value, self.series.unit) if _finite(point) else str(point.status)
        known = self._commits.get(point.commit)
        about = f" {day(known.date)} {truncate(known.subject, 60)}" if known else ""
        return f"{point.commit[:8]}{about}: {value}"

    @property
    def line(self) -> str:
        """The path through the dots; a commit without a figure interrupts it."""
        kept = {id(point) for point in self.dots}
        parts = []
        pen_down = False
        for point in self.series.points:
            if id(point) in kept:
                parts.append(f"{'L' if pen_down else 'M'}{self.x(point.commit)} {self.y(point.value)}")
            pen_down = _finite(point) and (pen_down or id(point) in kept)
        return "".join(parts)

    @property
    def levels(self) -> list[str]:
        """Lines on both sides of each change, up to the next, at the values that the detector found."""
        placed = sorted(
            (self.x(c.lo_commit), self.x(c.hi_commit), c.before, c.after) for _, c in self.changes
        )
        lines = [(0.0, lo, before) for lo, _, before, _ in placed[:1]]
        ends = [*(lo for lo, *_ in placed[1:]), float(self.plot_width)]
        lines += [(hi, end, after) for (_, hi, _, after), end in zip(placed, ends, strict=False)]
        return [f"M{a} {self.y(v)}H{b}" for a, b, v in lines if b > a and math.isfinite(v)]

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Labels as far apart as they need to be: the date, or the commit where the date repeats."""
        marks: list[tuple[float, str]] = []
        previous = ""
        for point in self.series.points:
            at = self.x(point.commit)
            if (marks and at - marks[-1][0] < _LABEL_WIDTH) or at > self.plot_width - 30:
                continue
            known = self._commits.get(point.commit)
            date = day(known.date) if known else ""
            marks.append((at, date if date and date != previous else point.commit[:8]))
            previous = date
        return marks

    @property
    def note(self) -> str:
        """How many points there are and are drawn, and what kind of axis it is."""
        drawn = len(self.dots) < len(self.good)
        parts = [f"{len(self.good)} points"]
        parts += [f"{len(self.dots)} drawn (the extremes of each stretch)"] if drawn else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += ["logarithmic axis"] if self.axis.log else []
        parts += [] if self.axis.log or self.axis.lo == 0 else ["axis does not start at 0"]
        return ", ".join(parts)


def _thinned(points: Sequence[Point]) -> list[Point]:
    if len(points) <= _MAX_POINTS:
        return list(points)
    size = math.ceil(len(points) / (_MAX_POINTS // 2))
    kept: list[Point] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        ends = {id(choose(bucket, key=lambda p: p.value or 0.0)) for choose in (min, max)}
        kept += [point for point in bucket if id(point) in ends]
    return kept


def _finite(point: Point) -> bool:
    return point.status is Status.OK and point.value is not None and math.isfinite(point.value)
