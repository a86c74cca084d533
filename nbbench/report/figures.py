"""Facts as Plotly figures: plain dicts, which the browser draws.

A colour that begins with `--` is the page's variable of that name, so that figures follow its theme. Text
that Plotly shows is escaped here, since Plotly reads some HTML in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nbbench import units
from nbbench.ledger import Ledger, Roof
from nbbench.report.blocks import Chart
from nbbench.words import for_html
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.work.roofs import Achieved, Bound, memory_ceiling

# Colours that colour-blind readers tell apart (Okabe and Ito, 2008); the shapes do for grey print.
_BOUNDS = {
    Bound.MEMORY: ("#0072B2", "circle"),
    Bound.PARTLY: ("#009E73", "square"),
    Bound.CACHE: ("#D55E00", "triangle-up"),
    Bound.DISPATCH: ("--ink", "diamond"),
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
