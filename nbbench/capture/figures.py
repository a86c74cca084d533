"""Figures that tests print: bandwidths, times, ratios, memory, throughput, each with its source line.

Only what is plainly a figure counts: a number with a known unit, or `label: number` at the end of a
line. Numbers inside words, versions, paths and counters of the subject's chatter are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from nbbench.captured import Figure, TestRecord

# Unit as printed → (kind, unit that is kept). `GB/s` stays as printed: tests mean 1e9 or 2**30 by it.
_UNITS = {
    **{f"{p}{b}/s": ("bandwidth", f"{p}{b}/s") for p in ("", "k", "K", "M", "G", "T") for b in ("B", "iB")},
    **{f"{p}{b}": ("memory", f"{p}{b}") for p in ("k", "K", "M", "G") for b in ("B", "iB")},
    "bytes": ("memory", "B"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), ("time", "s")),
    **dict.fromkeys(("ms", "milliseconds"), ("time", "ms")),
    **dict.fromkeys(("µs", "μs", "us", "microseconds"), ("time", "µs")),
    "ns": ("time", "ns"),
    **dict.fromkeys(("x", "×"), ("ratio", "x")),
    "%": ("percent", "%"),
    **{name: ("throughput", name) for name in ("GFLOPS", "GFLOP/s", "MFLOPS", "pixels/s", "it/s", "M/s")},
    **{f"{p}Pixels/s": ("throughput", f"{p}Pixels/s") for p in ("k", "M", "G")},
    **{f"{p}pixels/s": ("throughput", f"{p}pixels/s") for p in ("k", "M", "G")},
    **{f"M {word}/s": ("throughput", f"M {word}/s") for word in ("evals", "ops", "points", "pixels")},
}
_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,15})?(?:[eE][-+]?\d{1,3})?"
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
# Not within a word, a version or a path; the unit ends there too.
_QUANTITY = re.compile(rf"(?<![\w.,/\-+])~?(?P<number>{_NUMBER})[ \t]?(?P<unit>{_UNIT})(?![\w/*^])")
_BARE = re.compile(rf"^\W*(?P<label>[A-Za-z][\w /()\-]{{0,60}}?)\s*[:=]\s*(?P<number>{_NUMBER})\s*$")
_SIZE = re.compile(r"(?<![\w.])(?P<size>\d{2,5})\s?[×xX]\s?(?P=size)(?![\w.×])")
_DTYPE = re.compile(r"(?i)\bfloat(?P<bits>16|32|64)\b")
# What a test demands is no figure: `(expected ≥ 0.5x)`, `below 30% threshold`.
_DEMAND = re.compile(
    rf"(?i)(?P<word>expected|requires?|required|needs?|must be|below|under|above|over|exceeds"
    rf"|at least|at most|target|threshold|limit|not in)[^\w<>=≤≥~\[]{{0,3}}(?P<op>>=|<=|≥|≤|>|<|~)?"
    rf"\s*\[?\s*~?(?P<number>{_NUMBER})\s?(?P<unit>{_UNIT})?(?![\w/])"
)
_LABEL = re.compile(r"[A-Za-z0-9][\w /()\-.]*")
_MAX_LINE = 400
_MAX_FIGURES = 2_000  # a test prints a page; a flood is chatter


def figures_of(tests: Iterable[TestRecord]) -> tuple[Figure, ...]:
    """Every figure that the tests printed, and that the messages of failing ones hold."""
    found: list[Figure] = []
    for test in tests:
        for text in (test.stdout, test.stderr, test.message):
            found.extend(parse_figures(text, test.nodeid))
    return tuple(found[:_MAX_FIGURES])


def parse_figures(text: str, test: str = "") -> Iterator[Figure]:
    """The figures of a text, line by line."""
    context = (0, "")  # what a heading (`Memory usage for 2048×2048 (float64):`) says of the lines under it
    for raw in text.splitlines():
        line = raw[:_MAX_LINE].rstrip()
        if line.startswith("["):  # a tagged log line: the subject's chatter, the same at every run
            continue
        size, dtype = _size_of(line), _dtype_of(line)
        if line.endswith(":"):
            context = size, dtype
            continue
        if line and not line[0].isspace():
            context = (0, "")
        yield from _line_figures(line, test, size or context[0], dtype or context[1])


def _line_figures(line: str, test: str, size: int, dtype: str) -> Iterator[Figure]:
    # Sizes and demands are blanked, not cut, so that places in the line stay true.
    rest = _DEMAND.sub(_blank, _SIZE.sub(_blank, line))
    matches = list(_QUANTITY.finditer(rest))
    end = 0
    for match in matches:
        kind, unit = _UNITS[match["unit"]]
        label = _label(rest[end : match.start()])
        end = match.end()
        yield _figure(match["number"], unit, kind, label, line, test, size, dtype)
    if not matches and (bare := _BARE.match(rest)):
        yield _figure(bare["number"], "", "value", bare["label"], line, test, size, dtype)


def _figure(
    number: str, unit: str, kind: str, label: str, line: str, test: str, size: int, dtype: str
) -> Figure:
    if dtype:  # the name says it already
        label = _DTYPE.sub("", label)
    label = " ".join(label.replace("()", "").split())
    label = label if re.search("[A-Za-z]", label) else ""
    parts = [f"{size}²" if size else "", dtype, label or kind]
    if label and kind not in ("value", "percent", "ratio") and kind not in label.lower():
        parts.append(kind)
    return Figure(
        name=" ".join(part for part in parts if part),
        value=float(number.replace(",", "")),
        unit=unit,
        kind=kind,
        line=line.strip(),
        test=test,
        size=size,
        dtype=dtype,
        resolution=_resolution(number),
    )


def _resolution(number: str) -> float:
    """Half a unit of the last digit of a printed number: 0.0005 for `0.123`."""
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (int(exponent or 0) - decimals)


def _size_of(line: str) -> int:
    """The edge of the square detector that a line names (`512×512`); 0 for none or several."""
    sizes = {int(match["size"]) for match in _SIZE.finditer(line)}
    return sizes.pop() if len(sizes) == 1 else 0


def _dtype_of(line: str) -> str:
    kinds = {f"float{match['bits']}" for match in _DTYPE.finditer(line)}
    return kinds.pop() if len(kinds) == 1 else ""


def _label(before: str) -> str:
    """The words in front of a number, from the last separator on."""
    part = re.split(r"[,;|]", before)[-1]
    words = _LABEL.findall(part.strip(" \t:=~-•*"))
    label = words[-1] if words else ""
    if label.count("(") > label.count(")"):
        opening = label.rindex("(")  # `4 threads (speedup: 1.9x)`: what the bracket holds is the label
        label = label[opening + 1 :] if label[opening + 1 :].strip(" :") else label[:opening]
    return label.strip(" -.:")[-60:]


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def times(figures: Sequence[Figure]) -> dict[int, Figure]:
    """The time of each size that stands on a line with a bandwidth, or alone: seconds only."""
    paired = {f.line for f in figures if f.kind == "bandwidth"}
    found = {f.size: f for f in figures if f.kind == "time" and f.unit == "s" and f.size}
    return found | {f.size: f for f in found.values() if f.line in paired}
