"""One series' history as the parts of an SVG chart; numbers only, the template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nbbench import units
from nbbench.model import ChangePoint, Commit, Point, Series, Status
from nbbench.report.axis import Axis, axis_for
from nbbench.report.view import commit_range
from nbbench.words import clean, day, truncate

LEFT, RIGHT, TOP, BOTTOM = 84, 10, 18, 24
# More points than this are closer than a pixel; the extremes of each bucket are kept.
_MAX_POINTS = 400
_BAND = 4.0  # half the width of a change's mark, so that a single commit shows
_LABEL_WIDTH = 92.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot or a label: `x` and `y` inside the plot, text for people."""

    x: str
    y: str
    text: str


@dataclass(frozen=True, slots=True)
class Band:
    """A change point: the commits in which the culprit lies."""

    x: str
    width: str
    middle: str
    tone: str  # worse, better
    focus: bool
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class MarkedChange:
    """A change point with its event; `recovered_by` is the commit that took it back, if any."""

    event: str
    change: ChangePoint
    recovered_by: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything the template needs; coordinates of the plot start at its upper left corner."""

    title: str
    context: str
    width: int
    height: int
    plot_width: int
    plot_height: int
    line: str
    spread: str
    levels: tuple[str, ...]
    dots: tuple[Mark, ...]
    failed: tuple[Mark, ...]
    bands: tuple[Band, ...]
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    note: str
    left: int = field(default=LEFT)
    top: int = field(default=TOP)


def build_chart(
    series: Series,
    changes: Sequence[MarkedChange],
    commits: Mapping[str, Commit],
    *,
    focus: str = "",
    width: int = 760,
    height: int = 210,
) -> Chart:
    """The chart of `series` with its `changes` marked.

    `commits` gives dates and subjects by full hash; `focus` is the event whose chart it is.
    """
    frame = _Frame.around(series, changes, commits, width, height)
    good = [point for point in series.points if _finite(point)]
    kept = _thinned(good)
    bad = [point for point in series.points if point.status is Status.FAILED]
    return Chart(
        title=clean(series.key.label),
        context=clean(f"{series.key.machine} · {series.key.environment}"),
        width=width,
        height=height,
        plot_width=frame.width,
        plot_height=frame.height,
        line=_line(series.points, {id(point) for point in kept}, frame),
        spread=_spread(kept, frame),
        levels=_levels(changes, frame),
        dots=tuple(_dot(point, series.unit, commits, frame) for point in kept),
        failed=tuple(
            Mark(frame.x(point.commit), _n(frame.height - 4), f"{_who(point.commit, commits)}: failed")
            for point in bad
        ),
        bands=tuple(_bands(changes, focus, frame)),
        x_ticks=_x_ticks(series.points, commits, frame),
        y_ticks=tuple(
            Mark("0", frame.y(value), units.format_value(value, series.unit)) for value in frame.axis.ticks()
        ),
        note=_note(series, good, kept, frame.axis),
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """The map from commits and values to the plot."""

    axis: Axis
    positions: Mapping[str, int]
    first: int
    last: int
    width: int
    height: int

    @classmethod
    def around(
        cls,
        series: Series,
        changes: Sequence[MarkedChange],
        commits: Mapping[str, Commit],
        width: int,
        height: int,
    ) -> _Frame:
        values = [point.value for point in series.points if _finite(point) and point.value is not None]
        shown = [v for m in changes for v in (m.change.before, m.change.after) if math.isfinite(v)]
        ordered = all(a.position < b.position for a, b in zip(series.points, series.points[1:], strict=False))
        # Without positions (imported data) the points are spread evenly.
        positions = {p.commit: p.position if ordered else i for i, p in enumerate(series.points)}
        first, last = min(positions.values(), default=0), max(positions.values(), default=0)
        if ordered:
            positions = {c.hash: c.position for c in commits.values() if c.position} | positions
        size = (width - LEFT - RIGHT, height - TOP - BOTTOM)
        return cls(axis_for([*values, *shown], series.unit), positions, first, last, *size)

    def offset(self, commit: str) -> float | None:
        """The commit's place across the plot; None for a commit that is not on it."""
        position = self.positions.get(commit)
        if position is None:
            return None
        inner = self.width - 16  # room for half a dot at both ends
        span = self.last - self.first
        share = (position - self.first) / span if span else 0.5
        return 8 + inner * min(1.0, max(0.0, share))

    def x(self, commit: str) -> str:
        return _n(self.offset(commit) or 0.0)

    def y(self, value: float) -> str:
        return _n(self.height * (1 - self.axis.at(value)))


def _line(points: Sequence[Point], kept: set[int], frame: _Frame) -> str:
    parts = []
    pen_down = False
    for point in points:
        if id(point) in kept and point.value is not None:
            parts.append(f"{'L' if pen_down else 'M'}{frame.x(point.commit)} {frame.y(point.value)}")
            pen_down = True
        elif not _finite(point):
            pen_down = False  # a commit without a figure interrupts the line
    return "".join(parts)


def _spread(points: Sequence[Point], frame: _Frame) -> str:
    """Upright lines from the lower to the upper quartile of each point's samples."""
    parts = []
    for point in points:
        samples = sorted(sample for sample in point.samples if math.isfinite(sample))
        if len(samples) >= 3:
            lower, upper = samples[len(samples) // 4], samples[(3 * len(samples)) // 4]
            parts.append(f"M{frame.x(point.commit)} {frame.y(lower)}V{frame.y(upper)}")
    return "".join(parts)


def _levels(changes: Sequence[MarkedChange], frame: _Frame) -> tuple[str, ...]:
    """Level lines on both sides of each change, at the values that the detector settled on."""
    placed = [
        (lo, hi, frame.offset(mark.recovered_by), mark.change)
        for mark in changes
        if (lo := frame.offset(mark.change.lo_commit)) is not None
        and (hi := frame.offset(mark.change.hi_commit)) is not None
    ]
    if not placed:
        return ()
    placed.sort(key=lambda item: item[0])
    lines = [(0.0, placed[0][0], placed[0][3].before)]
    nexts = [*(lo for lo, *_ in placed[1:]), float(frame.width)]
    for (_, hi, recovered, change), end in zip(placed, nexts, strict=True):
        lines.append((hi, end if recovered is None else min(end, recovered), change.after))
    return tuple(
        f"M{_n(start)} {frame.y(value)}H{_n(end)}"
        for start, end, value in lines
        if end > start and math.isfinite(value)
    )


def _bands(changes: Sequence[MarkedChange], focus: str, frame: _Frame) -> list[Band]:
    bands = []
    for mark in changes:
        change = mark.change
        lo, hi = frame.offset(change.lo_commit), frame.offset(change.hi_commit)
        if lo is None or hi is None:
            continue
        effect = units.format_change(change.effect)
        bands.append(
            Band(
                x=_n(lo - _BAND),
                width=_n(hi - lo + 2 * _BAND),
                middle=_n((lo + hi) / 2),
                tone="worse" if change.worse else "better",
                focus=mark.event == focus,
                label=effect,
                text=clean(f"{mark.event} {commit_range(change.lo_commit, change.hi_commit)}: {effect}"),
            )
        )
    return bands


def _dot(point: Point, unit: str, commits: Mapping[str, Commit], frame: _Frame) -> Mark:
    value = point.value or 0.0
    text = f"{_who(point.commit, commits)}: {units.format_value(value, unit)}"
    if len(point.samples) > 1:
        text += f" ({len(point.samples)} samples)"
    return Mark(frame.x(point.commit), frame.y(value), text)


def _who(commit: str, commits: Mapping[str, Commit]) -> str:
    known = commits.get(commit)
    return f"{commit[:8]} {day(known.date)} {truncate(clean(known.subject), 60)}" if known else commit[:8]


def _x_ticks(points: Sequence[Point], commits: Mapping[str, Commit], frame: _Frame) -> tuple[Mark, ...]:
    """Labels as far apart as they need to be: the date, or the commit where the date repeats."""
    marks: list[Mark] = []
    previous_at, previous_date = -math.inf, ""
    for point in points:
        at = frame.offset(point.commit)
        if at is None or at - previous_at < _LABEL_WIDTH or at > frame.width - 30:
            continue
        known = commits.get(point.commit)
        date = day(known.date) if known else ""
        marks.append(Mark(_n(at), "0", date if date and date != previous_date else point.commit[:8]))
        previous_at, previous_date = at, date
    return tuple(marks)


def _note(series: Series, good: Sequence[Point], kept: Sequence[Point], axis: Axis) -> str:
    failed = sum(point.status is Status.FAILED for point in series.points)
    parts = [f"{len(good)} points"]
    if len(kept) < len(good):
        parts[0] += f", {len(kept)} drawn (the extremes of each stretch)"
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
        ends = {id(min(bucket, key=_value)), id(max(bucket, key=_value))}
        kept += [point for point in bucket if id(point) in ends]
    return kept


def _value(point: Point) -> float:
    return point.value or 0.0


def _finite(point: Point) -> bool:
    return point.status is Status.OK and point.value is not None and math.isfinite(point.value)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
