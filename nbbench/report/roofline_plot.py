"""The roofline as a picture, drawn by matplotlib (an optional dependency)."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nbbench.errors import HostError
from nbbench.ledger import Roof
from nbbench.report.roofline import machine_line
from nbbench.work.roofs import Achieved, Bound, memory_ceiling

# Colours that colour-blind readers tell apart (Okabe and Ito, 2008); the shapes do for grey print.
_STYLES = {
    Bound.MEMORY: ("#0072B2", "o"),
    Bound.PARTLY: ("#009E73", "s"),
    Bound.CACHE: ("#D55E00", "^"),
    Bound.DISPATCH: ("#000000", "D"),
}
_GB = 1e9
_MIB = 2**20


def matplotlib_figure() -> Any:
    """A new figure. Raises HostError when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise HostError("a picture needs matplotlib", hint="pip install 'nbbench[plot]'") from error
    return Figure(figsize=(11, 6), layout="constrained")


def draw(kind: str, title: str, roof: Roof, rows: Sequence[Achieved]) -> bytes:
    """The picture as `png`, `svg` or `html` (the SVG inside a page).

    Raises HostError when matplotlib is not installed.
    """
    figure = matplotlib_figure()
    import matplotlib

    # Text stays text, and the same figures give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nbbench", "font.size": 9}):
        _fill(figure.add_subplot(), title, roof, rows)
        stream = io.BytesIO()
        form = "png" if kind == "png" else "svg"
        figure.savefig(stream, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
    return _page(title, stream.getvalue()) if kind == "html" else stream.getvalue()


def _fill(axes: Any, title: str, roof: Roof, rows: Sequence[Achieved]) -> None:
    frame = _Frame.around(roof, rows)
    _roofs(axes, roof, frame)
    for number, row in enumerate(rows, 1):
        colour, marker = _STYLES[row.bound]
        at = (row.operation_bytes / _MIB, row.rate / _GB)
        axes.plot(*at, color=colour, marker=marker, linestyle="none",
                  label=f"{number}  {row.workload} ({row.bound})")  # fmt: skip
        axes.annotate(str(number), at, xytext=(4, 3), textcoords="offset points", color=colour)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(frame.left / _MIB, frame.right / _MIB),
        ylim=(frame.bottom / _GB, frame.top / _GB),
        xlabel="bytes that one operation touches (MiB)",
        ylabel="bandwidth: bytes of the ledger / time (GB/s)",
        title=f"{title}\n{machine_line(roof)}",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, frameon=False)


def _roofs(axes: Any, roof: Roof, frame: _Frame) -> None:
    """Measured curve, STREAM's line, the cache's end and the slope of dispatch."""
    memory = memory_ceiling(roof) / _GB
    axes.axhline(memory, color="#0072B2", linestyle="--", linewidth=1.2)
    axes.annotate(f"memory (STREAM): {memory:.3g} GB/s", (frame.left / _MIB, memory), xytext=(4, 4),
                  textcoords="offset points", color="#0072B2")  # fmt: skip
    if roof.curve:
        sizes, rates = [size / _MIB for size, _ in roof.curve], [rate / _GB for _, rate in roof.curve]
        axes.plot(sizes, rates, color="#555555", linewidth=1.8, label="add on arrays touched again and again")
    if roof.op_s:
        sizes = [frame.left, min(frame.right, frame.top * roof.op_s)]
        axes.plot([x / _MIB for x in sizes], [x / roof.op_s / _GB for x in sizes], color="#000000",
                  linestyle=":", label=f"dispatch: {roof.op_s * 1e6:.2g} µs an operation")  # fmt: skip
    if roof.cache_bytes:
        axes.axvline(roof.cache_bytes / _MIB, color="#999999", linewidth=0.8)
        axes.annotate("last-level cache", (roof.cache_bytes / _MIB, frame.bottom / _GB), xytext=(3, 4),
                      textcoords="offset points", rotation=90, color="#666666")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the axes hold, in bytes and bytes per second, with room around it."""

    left: float
    right: float
    bottom: float
    top: float

    @classmethod
    def around(cls, roof: Roof, rows: Sequence[Achieved]) -> _Frame:
        sizes = [*(row.operation_bytes for row in rows), *(size for size, _ in roof.curve)]
        rates = [memory_ceiling(roof), *(row.rate for row in rows)]
        return cls(
            min(sizes) / 2,
            max([*sizes, roof.cache_bytes]) * 2,
            min(rates) / 2,
            max([*rates, *(rate for _, rate in roof.curve)]) * 2,
        )


def _page(title: str, svg: bytes) -> bytes:
    body = svg.decode()
    picture = body[body.index("<svg") :]
    head = f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"{head}\n{picture}\n".encode()
