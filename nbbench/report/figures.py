"""Facts as Plotly figures: plain dicts, which the browser draws.

A colour that begins with `--` is the page's variable of that name, so that figures follow its theme. Text
that Plotly shows is escaped here, since Plotly reads some HTML in it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from nbbench import units
from nbbench.ledger import Ledger, Roof
from nbbench.model import ChangePoint, Commit, EventDirection, Point, Series, Status
from nbbench.report.blocks import Chart
from nbbench.report.events import commit_range, interval, moved
from nbbench.words import day, for_html, plural
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.work.roofs import Achieved, Bound, memory_ceiling

# From this ratio on, a linear axis flattens the smaller level into a line at the bottom.
_LOG_RATIO = 8.0
_MANY = 5_000  # points: from here on WebGL draws them
_TICKS = 6
_SYMBOLS = {"seconds": "s", "bytes": "B", "B (exact)": "B", "B (mapped)": "B"}
_TONES = {EventDirection.REGRESSION: "--worse", EventDirection.IMPROVEMENT: "--better"}
# Colours that colour-blind readers tell apart (Okabe and Ito, 2008); the shapes do for grey print.
_BOUNDS = {
    Bound.MEMORY: ("#0072B2", "circle"),
    Bound.PARTLY: ("#009E73", "square"),
    Bound.CACHE: ("#D55E00", "triangle-up"),
    Bound.DISPATCH: ("--ink", "diamond"),
}


def history_figure(
    series: Series, changes: Sequence[tuple[str, ChangePoint]], commits: Mapping[str, Commit], focus: str = ""
) -> Chart:
    """One series along the commits, with its `changes` (each with the id of its event) as bands.

    `commits` gives dates and positions by full hash; `focus` is the event whose figure it is. Each dot
    has its commit in `customdata`, for which the page knows a name.
    """
    places = _places(series, commits)
    good = [float(p.value or 0.0) for p in series.points if _finite(p)]
    failed = [p for p in series.points if p.status is Status.FAILED]
    shown = [(e, c) for e, c in changes if {c.lo_commit, c.hi_commit} <= places.keys()]
    values = good + [v for _, c in shown for v in (c.before, c.after) if math.isfinite(v)]
    log = min(values, default=0.0) > 0 and max(values) >= _LOG_RATIO * min(values)
    line = _dots(series.points, places, series.unit)
    line |= {"mode": "lines+markers", "type": "scattergl" if len(good) > _MANY else "scatter"}
    line |= {"line": {"color": "--line", "width": 1}, "marker": {"color": "--line", "size": 6}}
    marks = _dots(failed, places, series.unit) | {"y": [min(values, default=0.0)] * len(failed)}
    marks |= {"mode": "markers", "marker": {"symbol": "x", "color": "--worse", "size": 9}}
    some = series.points[:: max(1, math.ceil(len(series.points) / _TICKS))]
    ticks = [(places[p.commit], day(commits[p.commit].date)) for p in some if p.commit in commits]
    suffix = _SYMBOLS.get(series.unit, f" {for_html(series.unit)}" if series.unit else "")
    layout = {
        "xaxis": {"tickmode": "array", "tickvals": [x for x, _ in ticks], "ticktext": [d for _, d in ticks]},
        "yaxis": {
            **({"type": "log", "dtick": "D2"} if log else {}),
            "tickformat": "~s",
            "ticksuffix": suffix,
        },
        "shapes": [_band(c, places, e == focus) for e, c in shown],
        "annotations": [_said(e, c, places) for e, c in shown if e == focus or len(shown) == 1],
        "showlegend": False,
        "margin": {"l": 90, "r": 10, "t": 24, "b": 30},
        "height": 240,
    }
    note = [series.key.machine, series.key.environment, plural(len(good), "point")]
    note += [f"{len(failed)} failed"] * bool(failed) + ["logarithmic axis"] * log
    data = [line, *_levels([c for _, c in shown], places), *([marks] if failed else [])]
    return Chart(series.key.label, data, layout, " · ".join(note))


def _finite(point: Point) -> bool:
    return point.status is Status.OK and point.value is not None and math.isfinite(point.value)


def _places(series: Series, commits: Mapping[str, Commit]) -> dict[str, int]:
    """Positions of the branch where they are known and rise, else places in the series."""
    rising = all(a.position < b.position for a, b in pairwise(series.points))
    own = {p.commit: p.position if rising else i for i, p in enumerate(series.points)}
    return ({c.hash: c.position for c in commits.values() if c.position} if rising else {}) | own


def _dots(points: Sequence[Point], places: Mapping[str, int], unit: str) -> dict[str, Any]:
    """Points with their commits and words; without a figure they interrupt a line."""
    return {
        "x": [places[p.commit] for p in points],
        "y": [p.value if _finite(p) else None for p in points],
        "customdata": [p.commit[:8] for p in points],
        "text": [for_html(units.format_value(p.value, unit) if _finite(p) else p.status) for p in points],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _levels(changes: Sequence[ChangePoint], places: Mapping[str, int]) -> list[dict[str, Any]]:
    """Lines on both sides of each change, up to the next, at the values that the detector found."""
    placed = sorted((places[c.lo_commit], places[c.hi_commit], c.before, c.after) for c in changes)
    ends = [*(lo for lo, *_ in placed[1:]), max(places.values(), default=0)]
    lines = [(min(places.values()), lo, before) for lo, _, before, _ in placed[:1]]
    lines += [(hi, end, after) for (_, hi, _, after), end in zip(placed, ends, strict=False)]
    dashed = {"mode": "lines", "hoverinfo": "skip", "line": {"color": "--ink", "width": 1.2, "dash": "dash"}}
    return [
        {"x": [start, end], "y": [value, value], **dashed}
        for start, end, value in lines
        if end > start and math.isfinite(value)
    ]


def _band(change: ChangePoint, places: Mapping[str, int], focus: bool) -> dict[str, Any]:
    """The commits in which the culprit lies."""
    return {
        "type": "rect",
        "layer": "below",
        "yref": "paper",
        "x0": places[change.lo_commit] - 0.4,
        "x1": places[change.hi_commit] + 0.4,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": _TONES.get(change.direction, "--line"),
        "opacity": 0.3 if focus else 0.15,
    }


def _said(event: str, change: ChangePoint, places: Mapping[str, int]) -> dict[str, Any]:
    where = commit_range(change.lo_commit, change.hi_commit)
    return {
        "x": (places[change.lo_commit] + places[change.hi_commit]) / 2,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": _TONES.get(change.direction, "--line")},
        "text": for_html(moved(change)),
        "hovertext": for_html(f"{event} {where}: {interval(change.effect_lo, change.effect_hi)}"),
    }


def cost_icicle(one: Ledger) -> Chart:
    """Where one workload's bytes go: file, function, line with its operation; widths are bytes a pixel."""
    return _icicle(f"{one.workload}: bytes a pixel by file, function and line", _bytes_by_line(one), {})


def change_icicle(diff: LedgerDiff) -> Chart:
    """The newer side of a comparison; colours show what became more and what became less."""
    sizes = _bytes_by_line(diff.head)
    deltas: dict[tuple[str, ...], float] = defaultdict(float)
    for line in diff.lines:
        path, _, number = line.where.rpartition(":")
        place = (path, line.function, f"{number} {line.op} {line.dtype}")
        if not line.gone:
            deltas[place] += line.delta
    return _icicle(f"{diff.workload}: bytes a pixel, and what became more or less", sizes, deltas)


def _bytes_by_line(one: Ledger) -> dict[tuple[str, ...], float]:
    sizes: dict[tuple[str, ...], float] = defaultdict(float)
    for line in one.lines:
        place = (line.path, line.function, f"{line.line} {line.op} {line.dtype}")
        sizes[place] += line.bytes / one.pixels
    return sizes


def _icicle(
    title: str, sizes: Mapping[tuple[str, ...], float], more: Mapping[tuple[str, ...], float]
) -> Chart:
    """An icicle of places (path, function, line) by their size; code of no file is the benchmark's."""
    totals: dict[tuple[str, ...], float] = defaultdict(float)
    deltas: dict[tuple[str, ...], float] = defaultdict(float)
    for place, size in sizes.items():
        for depth in range(len(place) + 1):  # nodes are what places begin with; the whole run is ()
            totals[place[:depth]] += size
            deltas[place[:depth]] += more.get(place, 0.0)
    numbers = {node: str(number) for number, node in enumerate(totals)}
    most = max(map(abs, deltas.values()), default=0.0)
    changes = [f" ({delta:+,.1f})" if abs(delta) >= 0.05 else "" for delta in deltas.values()]
    trace: dict[str, Any] = {
        "type": "icicle",
        "ids": list(numbers.values()),
        "labels": [for_html(node[-1] or "(benchmark)") if node else "the run" for node in totals],
        "parents": [numbers[node[:-1]] if node else "" for node in totals],
        "values": [size if node in sizes else 0.0 for node, size in totals.items()],
        "text": [f"{size:,.1f} B{said}" for size, said in zip(totals.values(), changes, strict=True)],
        "hovertemplate": "%{label}<br>%{text}<extra></extra>",
        "tiling": {"orientation": "v"},
    }
    if most:
        colours = {"colorscale": "RdBu", "cmin": -most, "cmax": most}
        trace["marker"] = {"colors": list(deltas.values()), **colours}
    return Chart(title, [trace], {"margin": {"l": 4, "r": 4, "t": 24, "b": 4}, "height": 360})


def roofline_figure(title: str, roof: Roof, rows: Sequence[Achieved]) -> Chart:
    """Each workload's bandwidth over the bytes that one operation touches, under the machine's roofs."""
    memory, cost = memory_ceiling(roof), units.format_seconds(roof.op_s)
    sizes = [*(row.operation_bytes for row in rows), *(size for size, _ in roof.curve)]
    left, right = min(sizes) / 2, max([*sizes, roof.cache_bytes]) * 2
    slope = [(size, size / roof.op_s) for size in (left, min(right, 2 * memory * roof.op_s))]
    data = [
        _curve("memory (STREAM)", [(left, memory), (right, memory)], "--line", dash="dash"),
        _curve("add on arrays touched again and again", roof.curve, "--soft"),
        _curve(f"dispatch: {cost} an operation", slope, "--ink", dash="dot"),
    ]
    for number, row in enumerate(rows, 1):
        colour, symbol = _BOUNDS[row.bound]
        name = f"{number}  {row.workload} ({row.bound})"
        point = _curve(name, [(row.operation_bytes, row.rate)], colour)
        point |= {"mode": "markers+text", "text": [str(number)], "textposition": "top right"}
        data.append(point | {"marker": {"color": colour, "symbol": symbol}})
    axis = {"type": "log", "tickformat": "~s"}
    layout: dict[str, Any] = {
        "xaxis": {**axis, "ticksuffix": "B", "title": "bytes that one operation touches"},
        "yaxis": {**axis, "ticksuffix": "B/s", "title": "bytes of the ledger / time"},
        "margin": {"l": 90, "r": 10, "t": 24, "b": 60},
        "height": 520,
    }
    if edge := roof.cache_bytes:
        said = {"text": "last-level cache", "textangle": -90}
        line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": edge, "x1": edge, "label": said}
        layout["shapes"] = [line | {"line": {"color": "--soft", "width": 1}}]
    return Chart(title, data, layout)


def _curve(
    name: str, points: Sequence[tuple[float, float]], colour: str, dash: str = "solid"
) -> dict[str, Any]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return {
        "name": for_html(name),
        "x": xs,
        "y": ys,
        "mode": "lines",
        "line": {"color": colour, "dash": dash},
    }
