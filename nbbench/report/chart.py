"""One series' history as the parts of an SVG chart; numbers only, the template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nbbench import units
from nbbench.model import ChangePoint, Commit, EventDirection, Point, Series, Status
from nbbench.report.axis import Axis, axis_for
from nbbench.report.events import commit_range
from nbbench.words import day, truncate

LEFT, RIGHT, TOP, BOTTOM = 84, 10, 18, 24
# More points than this are closer than a pixel; the extremes of each bucket are kept.
_MAX_POINTS = 400
_BAND = 4.0  # half the width of a change's mark, so that a single commit shows
_LABEL_WIDTH = 92.0
_EDGE = 8.0  # room for half a dot at both ends
TONES = {
    EventDirection.REGRESSION: "worse",
    EventDirection.IMPROVEMENT: "better",
    EventDirection.CHANGE: "changed",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot or a label: `x` and `y` inside the plot, text for people."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Band:
    """A change point: the commits in which the culprit lies, from `x` on, and what it says."""

    x: float
    width: float
    tone: str
    focus: bool
    label: str
    text: str

    @property
    def middle(self) -> float:
        """Where its label stands."""
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything the template needs; coordinates of the plot start at its upper left corner."""

    title: str
    context: str
    width: int
    height: int
    line: str
    levels: tuple[str, ...]
    dots: tuple[Mark, ...]
    failed: tuple[Mark, ...]
    bands: tuple[Band, ...]
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    note: str
    left: int = LEFT
    top: int = TOP

    @property
    def plot_width(self) -> int:
        """The width of the plot itself."""
        return self.width - LEFT - RIGHT

    @property
    def plot_height(self) -> int:
        """The height of the plot itself."""
        return self.height - TOP - BOTTOM


def build_chart(
    series: Series,
    changes: Sequence[tuple[str, ChangePoint]],
    commits: Mapping[str, Commit],
    *,
    focus: str = "",
    width: int = 760,
    height: int = 210,
) -> Chart:
    """The chart of `series` with its `changes` (an event's id each) marked.

    `commits` gives dates and subjects by full hash; `focus` is the event whose chart it is.
    """
    good = [point for point in series.points if _finite(point)]
    levels = [v for _, c in changes for v in (c.before, c.after) if math.isfinite(v)]
    axis = axis_for([*(float(p.value or 0) for p in good), *levels], series.unit)
    plot = _Plot(series, commits, axis, width - LEFT - RIGHT, height - TOP - BOTTOM)
    kept = _thinned(good)
    who = {p.commit: _who(p.commit, commits) for p in series.points}
    return Chart(
        title=series.key.label,
        context=f"{series.key.machine} · {series.key.environment}",
        width=width,
        height=height,
        line=_line(series.points, {id(point) for point in kept}, plot),
        levels=_levels([change for _, change in changes], plot),
        dots=tuple(
            plot.mark(p, f"{who[p.commit]}: {units.format_value(p.value, series.unit)}") for p in kept
        ),
        failed=tuple(
            Mark(plot.x(p.commit) or 0.0, plot.height - 4.0, f"{who[p.commit]}: failed")
            for p in series.points
            if p.status is Status.FAILED
        ),
        bands=tuple(band for event, c in changes if (band := _band(event, c, focus, plot)) is not None),
        x_ticks=_x_ticks(series.points, commits, plot),
        y_ticks=tuple(Mark(0.0, plot.y(v), units.format_value(v, series.unit)) for v in axis.ticks()),
        note=_note(series, len(good), len(kept), axis),
    )


class _Plot:
    """The map from commits and values to the plot; without positions the points are spread evenly."""

    def __init__(
        self, series: Series, commits: Mapping[str, Commit], axis: Axis, width: int, height: int
    ) -> None:
        self.axis, self.width, self.height = axis, width, height
        places = [point.position for point in series.points]
        ordered = all(a < b for a, b in pairwise(places))
        own = {p.commit: p.position if ordered else i for i, p in enumerate(series.points)}
        self._first, self._last = min(own.values(), default=0), max(own.values(), default=0)
        known = {c.hash: c.position for c in commits.values() if c.position} if ordered else {}
        self._positions = known | own

    def x(self, commit: str) -> float | None:
        """The commit's place across the plot; None for a commit that is not on it."""
        if (position := self._positions.get(commit)) is None:
            return None
        span = self._last - self._first
        share = (position - self._first) / span if span else 0.5
        return round(_EDGE + (self.width - 2 * _EDGE) * min(1.0, max(0.0, share)), 1)

    def y(self, value: float) -> float:
        """The value's place down the plot."""
        return round(self.height * (1 - self.axis.at(value)), 1)

    def mark(self, point: Point, text: str) -> Mark:
        """A dot for a point."""
        return Mark(self.x(point.commit) or 0.0, self.y(point.value or 0.0), text)


def _line(points: Sequence[Point], kept: set[int], plot: _Plot) -> str:
    parts = []
    pen_down = False
    for point in points:
        if id(point) in kept and point.value is not None:
            parts.append(f"{'L' if pen_down else 'M'}{plot.x(point.commit)} {plot.y(point.value)}")
            pen_down = True
        elif not _finite(point):
            pen_down = False  # a commit without a figure interrupts the line
    return "".join(parts)


def _levels(changes: Sequence[ChangePoint], plot: _Plot) -> tuple[str, ...]:
    """Level lines on both sides of each change, up to the next, at the values that the detector found."""
    ends = [(plot.x(c.lo_commit), plot.x(c.hi_commit), c) for c in changes]
    placed = [(lo, hi, c) for lo, hi, c in ends if lo is not None and hi is not None]
    placed.sort(key=lambda one: one[0])
    lines = [(0.0, lo, c.before) for lo, _, c in placed[:1]]
    nexts = [*(lo for lo, _, _ in placed[1:]), float(plot.width)]
    lines += [(hi, end, c.after) for (_, hi, c), end in zip(placed, nexts, strict=False)]
    return tuple(f"M{a} {plot.y(v)}H{b}" for a, b, v in lines if b > a and math.isfinite(v))


def _band(event: str, change: ChangePoint, focus: str, plot: _Plot) -> Band | None:
    lo, hi = plot.x(change.lo_commit), plot.x(change.hi_commit)
    if lo is None or hi is None:
        return None
    effect = units.format_change(change.effect)
    return Band(
        x=round(lo - _BAND, 1),
        width=round(hi - lo + 2 * _BAND, 1),
        tone=TONES[change.direction],
        focus=event == focus,
        label=effect,
        text=f"{event} {commit_range(change.lo_commit, change.hi_commit)}: {effect}",
    )


def _who(commit: str, commits: Mapping[str, Commit]) -> str:
    known = commits.get(commit)
    return f"{commit[:8]} {day(known.date)} {truncate(known.subject, 60)}" if known else commit[:8]


def _x_ticks(points: Sequence[Point], commits: Mapping[str, Commit], plot: _Plot) -> tuple[Mark, ...]:
    """Labels as far apart as they need to be: the date, or the commit where the date repeats."""
    marks: list[Mark] = []
    previous_at, previous_date = -math.inf, ""
    for point in points:
        at = plot.x(point.commit)
        if at is None or at - previous_at < _LABEL_WIDTH or at > plot.width - 30:
            continue
        known = commits.get(point.commit)
        date = day(known.date) if known else ""
        marks.append(Mark(at, 0.0, date if date and date != previous_date else point.commit[:8]))
        previous_at, previous_date = at, date
    return tuple(marks)


def _note(series: Series, good: int, kept: int, axis: Axis) -> str:
    failed = sum(point.status is Status.FAILED for point in series.points)
    parts = [f"{good} points" + (f", {kept} drawn (the extremes of each stretch)" if kept < good else "")]
    parts += [f"{failed} failed"] if failed else []
    parts += ["logarithmic axis"] if axis.log else []
    parts += [] if axis.log or axis.lo == 0 else ["axis does not start at 0"]
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
