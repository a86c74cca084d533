"""Figures that tests print: bandwidths, times, ratios, memory, throughput, each with its source line; and
what they assert, from pytest's own account of what held and what did not.

Only what is plainly a figure counts: a number with a known unit, or `label: number` at the end of a
line. Numbers inside words, versions, paths and counters of the subject's chatter are left alone.
"""

import ast
import itertools
import math
import operator
import re
from collections.abc import Iterable, Iterator

from nbbench.captured import Check, Figure, TestRecord

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
    **{f"{p}{w}/s": ("throughput", f"{p}{w}/s") for p in ("k", "M", "G") for w in ("Pixels", "pixels")},
    **{f"M {word}/s": ("throughput", f"M {word}/s") for word in ("evals", "ops", "points", "pixels")},
}
_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,15})?(?:[eE][-+]?\d{1,3})?"
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
# Not within a word, a version or a path; the unit ends there too.
_QUANTITY = re.compile(rf"(?<![\w.,/\-+])~?(?P<number>{_NUMBER})[ \t]?(?P<unit>{_UNIT})(?![\w/*^])")
_BARE = re.compile(rf"^\W*(?P<label>[A-Za-z][\w /()\-]{{0,60}}?)\s*[:=]\s*(?P<number>{_NUMBER})\s*$")
_SIZE = re.compile(r"(?<![\w.])(?P<size>\d{2,5})\s?[×xX]\s?(?P=size)(?![\w.×])")
_DTYPE = re.compile(r"(?i)\bfloat(?:16|32|64)\b")
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
    texts = ((text, test.nodeid) for test in tests for text in (test.stdout, test.stderr, test.message))
    return tuple(
        itertools.islice((f for text, test in texts for f in parse_figures(text, test)), _MAX_FIGURES)
    )


def parse_figures(text: str, test: str = "") -> Iterator[Figure]:
    """The figures of a text, line by line."""
    context = (0, "")  # what a heading (`Memory usage for 2048×2048 (float64):`) says of the lines under it
    for raw in text.splitlines():
        line = raw[:_MAX_LINE].rstrip()
        if line.startswith("["):  # a tagged log line: the subject's chatter, the same at every run
            continue
        sizes = {int(match["size"]) for match in _SIZE.finditer(line)}
        dtypes = {match[0].lower() for match in _DTYPE.finditer(line)}
        named = (sizes.pop() if len(sizes) == 1 else 0, dtypes.pop() if len(dtypes) == 1 else "")
        if line.endswith(":"):
            context = named
            continue
        if line and not line[0].isspace():
            context = (0, "")
        yield from _line_figures(line, test, named[0] or context[0], named[1] or context[1])


def _line_figures(line: str, test: str, size: int, dtype: str) -> Iterator[Figure]:
    # Sizes and demands are blanked, not cut, so that places in the line stay true.
    rest = _DEMAND.sub(_blank, _SIZE.sub(_blank, line))
    found = [(m["number"], *_UNITS[m["unit"]], m.start(), m.end()) for m in _QUANTITY.finditer(rest)]
    if not found and (bare := _BARE.match(rest)):
        found = [(bare["number"], "value", "", bare.start("number"), bare.end())]
    end = 0
    for number, kind, unit, start, stop in found:
        label = _label(rest[end:start], dtype)
        parts = [f"{size}²" if size else "", dtype, label or kind]
        if label and kind not in ("value", "percent", "ratio") and kind not in label.lower():
            parts.append(kind)
        mantissa, _, exponent = number.lower().partition("e")
        resolution = 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        name, value = " ".join(filter(None, parts)), float(number.replace(",", ""))
        yield Figure(name, value, unit, kind, line.strip(), test, size, dtype, resolution)
        end = stop


def _label(before: str, dtype: str) -> str:
    """The words in front of a number, from the last separator on, without a dtype that is named anyway."""
    words = _LABEL.findall(re.split(r"[,;|]", before)[-1].strip(" \t:=~-•*"))
    label = words[-1] if words else ""
    if label.count("(") > label.count(")"):
        outside, _, inside = label.rpartition("(")  # `4 threads (speedup: 1.9x)`: the bracket is the label
        label = inside if inside.strip(" :") else outside
    label = " ".join(
        (_DTYPE.sub("", label) if dtype else label).strip(" -.:")[-60:].replace("()", "").split()
    )
    return label if re.search("[A-Za-z]", label) else ""


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


_OPERATORS = {
    ast.GtE: (">=", operator.ge),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.Lt: ("<", operator.lt),
}
_FLIPPED = {ast.GtE: ast.LtE, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.Lt: ast.Gt}
_ARITHMETIC = {
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}
# pytest writes `E   assert 0.176 >= (0.378 * 0.5)` under the source line `>   assert …`.
_EXPLAINED = re.compile(r"^E\s+assert (?P<expression>.{3,300})$", re.MULTILINE)
_SOURCE = re.compile(r"^>\s+assert (?P<expression>.{3,300}?)(?:,\s*(?:\\|\(|f?[\"'].*))?$", re.MULTILINE)
# np.float64(0.17), torch.tensor(0.5), tensor(0.5, dtype=torch.float64)
_WRAPPED = re.compile(r"\b(?:\w+\.)?(?:tensor|float\d+|int\d+)\((?P<inner>[-+.\deE]+)(?:,[^()]*)?\)")


def checks_of(tests: Iterable[TestRecord]) -> tuple[Check, ...]:
    """The comparisons of numbers that these tests assert, each once; the last figures count."""
    found: dict[tuple[str, str, str, float], Check] = {}
    for test in tests:
        for source, figures in (*test.held, *_failed(test.longrepr)):
            if (check := read_check(figures, source, test.nodeid)) is not None:
                found[check.test, check.name, check.op, check.threshold] = check
    return tuple(found.values())


def _failed(longrepr: str) -> list[tuple[str, str]]:
    sources = [match["expression"] for match in _SOURCE.finditer(longrepr)]
    # `>   assert` names what `E   assert` gives in numbers; there is one of each a failure.
    source = sources[0] if len(sources) == 1 else ""
    return [(source, match["expression"]) for match in _EXPLAINED.finditer(longrepr)]


def read_check(expression: str, source: str = "", test: str = "") -> Check | None:
    """`0.176 >= (0.378 * 0.5)` as a check; a product on the right makes it a ratio against a factor.

    `source` is the expression with names, where it is known. None when it is not one comparison of numbers.
    """
    figures, named = _comparison(_WRAPPED.sub(r"\g<inner>", expression)), _comparison(source)
    if figures is None:
        return None
    (left, kind, right), names = figures, named
    if names is not None and isinstance(names[0], ast.Constant):  # `3.5 <= ratio`
        (left, kind, right), names = (right, _FLIPPED[kind], left), (names[2], _FLIPPED[names[1]], names[0])
    value, threshold = _evaluate(left), _evaluate(right)
    if value is None or threshold is None:
        return None
    op, holds = _OPERATORS[kind]
    passed, name = holds(value, threshold), " ".join(source.split())
    if names is not None:
        name = ast.unparse(names[0])
    base = _base(right, names[2] if names is not None else None)
    if base is not None and base[0]:
        value, threshold = value / base[0], threshold / base[0]
        name += f" / {base[1]}" if base[1] else ""
    text = f"assert {' '.join((source or expression).split())}"
    return Check(name or "asserted", op, threshold, value, passed, text, test)


def _comparison(text: str) -> tuple[ast.expr, type[ast.cmpop], ast.expr] | None:
    """The one comparison that `text` is; None for anything else."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and type(tree.ops[0]) in _OPERATORS:
        return tree.left, type(tree.ops[0]), tree.comparators[0]
    return None


def _evaluate(node: ast.expr, depth: int = 0) -> float | None:
    """A number, or a sum, difference, product or quotient of numbers; None for anything else."""
    try:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            value = float(node.value)  # type: ignore[arg-type]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and depth < 20:
            value = -(_evaluate(node.operand, depth + 1) or math.nan)
        elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and depth < 20:
            sides = (_evaluate(node.left, depth + 1), _evaluate(node.right, depth + 1))
            a, b = (math.nan if side is None else side for side in sides)
            value = _ARITHMETIC[type(node.op)](a, b)
        else:
            return None
    except (OverflowError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def _base(product: ast.expr, named: ast.expr | None) -> tuple[float, str] | None:
    """What a constant factor is multiplied with, as a figure and by name; None where nothing is.

    Without the source the shorter of two numbers is taken for the constant, for it was written by hand.
    """
    if not (isinstance(product, ast.BinOp) and isinstance(product.op, ast.Mult)):
        return None
    sides = (product.left, product.right)
    names: tuple[ast.expr | None, ast.expr | None] = (None, None)
    if isinstance(named, ast.BinOp):
        names = (named.left, named.right)
    constant = next((i for i in (0, 1) if isinstance(names[i], ast.Constant)), None)
    if constant is None:
        constant = min((0, 1), key=lambda i: len(ast.unparse(sides[i])))
    base, name = _evaluate(sides[1 - constant]), names[1 - constant]
    return None if base is None else (base, ast.unparse(name) if name is not None else "")
