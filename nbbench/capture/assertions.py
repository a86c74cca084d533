"""What tests assert: `a >= b` with its figures, from pytest's account, messages and printed figures."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from nbbench.capture.figures import DEMAND, bandwidths, legacy_ratio, parse_figures, times
from nbbench.captured import Check, Figure, TestRecord

_OPERATORS: dict[type[ast.cmpop], str] = {ast.GtE: ">=", ast.LtE: "<=", ast.Gt: ">", ast.Lt: "<"}
_TRUTH: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FLIPPED = {">=": "<=", "<=": ">=", ">": "<", "<": ">"}
# pytest writes `E   assert 0.176 >= (0.378 * 0.5)` under the source line `>   assert …`.
_EXPLAINED = re.compile(r"^E\s+assert (?P<expression>.{3,300})$", re.MULTILINE)
_SOURCE = re.compile(r"^>\s+assert (?P<expression>.{3,300}?)(?:,\s*(?:\\|\(|f?[\"'].*))?$", re.MULTILINE)
# np.float64(0.17), torch.tensor(0.5), tensor(0.5, dtype=torch.float64)
_WRAPPED = re.compile(r"\b(?:\w+\.)?(?:tensor|float\d+|int\d+)\((?P<inner>[-+.\deE]+)(?:,[^()]*)?\)")
_AT_LEAST = frozenset({"below", "under", "at least", "requires", "require", "required", "needs", "need"})
_AT_MOST = frozenset({"above", "over", "exceeds", "at most", "limit"})
_PLAIN_OP = {"≥": ">=", "≤": "<="}
# Words that make a figure in per cent the asserted number itself, not a hundred times it.
_PERCENT = re.compile(r"(?i)\b(cv|percent|pct|diff)")


def checks_of(tests: Iterable[TestRecord], figures: Sequence[Figure]) -> tuple[Check, ...]:
    """The comparisons that these tests assert, each once: failing ones from pytest's own figures."""
    found: dict[tuple[str, str, str, float], Check] = {}
    for test in tests:
        own = [f for f in figures if f.test == test.nodeid]
        for check in _test_checks(test, own):
            found.setdefault((check.test, check.name, check.op, check.threshold), check)
    return tuple(found.values())


def _test_checks(test: TestRecord, figures: Sequence[Figure]) -> Iterator[Check]:
    if test.outcome == "passed":
        bound = [c for text in test.assertions if (c := _bind(text, test, figures))]
        yield from bound
        told = {f"{c.op} {c.threshold:g}" for c in bound}
        yield from (c for c in _demands(test.stdout, test) if f"{c.op} {c.threshold:g}" not in told)
        return
    explained = list(_explained(test))
    yield from explained or _demands(test.message, test)


def _explained(test: TestRecord) -> Iterator[Check]:
    """Comparisons of numbers in pytest's account of a failure."""
    sources = [match["expression"] for match in _SOURCE.finditer(test.longrepr)]
    for match in _EXPLAINED.finditer(test.longrepr):
        text = match["expression"]
        # `>   assert` names what `E   assert` gives in numbers; there is one of each a failure.
        source = sources[0] if len(sources) == 1 else ""
        if (check := compare(text, source, test.nodeid)) is not None:
            yield check


def compare(expression: str, source: str = "", test: str = "") -> Check | None:
    """`0.176 >= (0.378 * 0.5)` as a check; a product on the right makes it a ratio against a factor.

    `source` is the expression with names, where it is known. None when it is not one comparison
    of numbers.
    """
    tree, named = _comparison(_WRAPPED.sub(r"\g<inner>", expression)), _comparison(source)
    if tree is None:
        return None
    left, right = tree.left, tree.comparators[0]
    op = _OPERATORS[type(tree.ops[0])]
    name = " ".join(source.split())
    if named is not None and isinstance(named.left, ast.Constant):  # `3.5 <= ratio`
        left, right, op = right, left, _FLIPPED[op]
        named = ast.Compare(named.comparators[0], named.ops, [named.left])
    value, threshold = _evaluate(left), _evaluate(right)
    if value is None or threshold is None:
        return None
    passed = _TRUTH[op](value, threshold)
    base = _factor(right)
    if base is not None and base[0] != 0:
        value, threshold = value / base[0], base[1]
    if named is not None:
        name = _ratio_name(named) if base is not None else ast.unparse(named.left)
    text = f"assert {expression.strip()}"
    return Check(name or "asserted", op, threshold, text, test, "assertion", value, passed=passed)


def _comparison(text: str) -> ast.Compare | None:
    """The one comparison that `text` is; None for anything else."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and type(tree.ops[0]) in _OPERATORS:
        return tree
    return None


def _evaluate(node: ast.expr, depth: int = 0) -> float | None:
    """A number, or a sum, difference, product or quotient of numbers; None for anything else."""
    if depth > 20:
        return None
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        try:
            value = float(node.value)  # type: ignore[arg-type]
        except OverflowError:
            return None
        return value if math.isfinite(value) else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _evaluate(node.operand, depth + 1)
        return None if inner is None else -inner
    if not isinstance(node, ast.BinOp):
        return None
    a, b = _evaluate(node.left, depth + 1), _evaluate(node.right, depth + 1)
    if a is None or b is None:
        return None
    if isinstance(node.op, ast.Mult):
        return a * b
    if isinstance(node.op, ast.Div) and b:
        return a / b
    if isinstance(node.op, ast.Add | ast.Sub):
        return a + b if isinstance(node.op, ast.Add) else a - b
    return None


def _factor(node: ast.expr) -> tuple[float, float] | None:
    """(base, factor) of a product of two numbers: the factor is the one that looks written by hand."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
        return None
    a, b = _evaluate(node.left), _evaluate(node.right)
    if a is None or b is None:
        return None
    by_hand = min((node.left, node.right), key=lambda side: len(ast.unparse(side)))
    return (b, a) if by_hand is node.left else (a, b)


def _ratio_name(named: ast.Compare) -> str:
    right = named.comparators[0]
    if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult):
        base = next((s for s in (right.left, right.right) if not isinstance(s, ast.Constant)), right)
        return f"{ast.unparse(named.left)} / {ast.unparse(base)}"
    return ast.unparse(named.left)


def _demands(text: str, test: TestRecord) -> Iterator[Check]:
    """`Scaling factor: 0.43x (expected ≥ 0.5x)`, `speedup 1.1x below 1.2x threshold`."""
    for raw in text.splitlines():
        match = DEMAND.search(raw[:400])
        measured = [f for f in parse_figures(raw[: match.start()]) if f.value == f.value] if match else []
        if match is None or not measured:
            continue
        word = match["word"].lower()
        op = _PLAIN_OP.get(match["op"] or "", match["op"] or "")
        op = op or (">=" if word in _AT_LEAST else "<=" if word in _AT_MOST else "")
        if op not in _TRUTH:
            continue
        figure, threshold = measured[-1], float(match["number"].replace(",", ""))
        if match["unit"] and match["unit"] != figure.unit:
            continue
        lo, hi = figure.value - figure.resolution, figure.value + figure.resolution
        yield Check(
            figure.name,
            op,
            threshold,
            raw.strip()[:400],
            test.nodeid,
            "message" if test.outcome == "failed" else "printed",
            figure.value,
            lo,
            hi,
            figure.unit,
            _certain(op, lo, hi, threshold),
        )


def _certain(op: str, lo: float, hi: float, threshold: float) -> bool | None:
    """Whether the comparison holds over the whole interval; None where rounding leaves it open."""
    answers = {_TRUTH[op](lo, threshold), _TRUTH[op](hi, threshold)}
    return answers.pop() if len(answers) == 1 else None


def _bind(text: str, test: TestRecord, figures: Sequence[Figure]) -> Check | None:
    """A passing test's assertion with the figures that it printed, where they are the same thing."""
    named = _comparison(text)
    if named is None:
        return None
    op = _OPERATORS[type(named.ops[0])]
    left, right = named.left, named.comparators[0]
    if isinstance(left, ast.Constant):
        left, right, op = right, left, _FLIPPED[op]
    if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult):
        return _bind_ratio(ast.Compare(left, [named.ops[0]], [right]), op, text, test, figures)
    threshold = _evaluate(right)
    if threshold is None or not isinstance(left, ast.Name):
        return None
    check = Check(left.id, op, threshold, f"assert {text}", test.nodeid, "printed")
    figure = _named(left.id, figures)
    if figure is None:
        return check
    scale = 0.01 if figure.unit == "%" and threshold <= 2 and not _PERCENT.search(left.id) else 1.0
    lo, hi = (scale * (figure.value + sign * figure.resolution) for sign in (-1, 1))
    passed = _certain(op, lo, hi, threshold)
    if passed is False:  # the test passed, so this is another figure, or another unit
        return check
    unit = "" if scale != 1.0 else figure.unit
    return replace(
        check,
        value=scale * figure.value,
        value_lo=lo,
        value_hi=hi,
        unit=unit,
        passed=passed,
        text=figure.line,
    )


def _bind_ratio(
    named: ast.Compare, op: str, text: str, test: TestRecord, figures: Sequence[Figure]
) -> Check | None:
    """`bandwidths[2048] >= bandwidths[512] * 0.5` with the printed bandwidths, or better their times."""
    right = named.comparators[0]
    assert isinstance(right, ast.BinOp)
    sides = (right.left, right.right)
    factor = next((v for s in sides if (v := _evaluate(s)) is not None), None)
    base = next((s for s in sides if _evaluate(s) is None), None)
    sizes = [_index(named.left), _index(base)] if base is not None else []
    if factor is None or len(sizes) != 2 or None in sizes:
        return None
    check = Check(_ratio_name(named), op, factor, f"assert {text}", test.nodeid, "printed")
    large, small = (size or 0 for size in sizes)
    if "bandwidth" not in ast.unparse(named.left).lower():
        return check
    timed, rates = times(figures), bandwidths(figures)
    try:
        if large in timed and small in timed:
            value, lo, hi = legacy_ratio(timed[small], timed[large])
        elif large in rates and small in rates and rates[small].value > rates[small].resolution:
            a, b = rates[large], rates[small]
            value = a.value / b.value
            lo = (a.value - a.resolution) / (b.value + b.resolution)
            hi = (a.value + a.resolution) / (b.value - b.resolution)
        else:
            return check
    except ValueError:
        return check
    return replace(check, value=value, value_lo=lo, value_hi=hi, passed=_certain(op, lo, hi, factor))


def _index(node: ast.expr | None) -> int | None:
    """The size in `bandwidths[2048]`; None for anything else."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value if type(node.slice.value) is int else None
    return None


def _named(variable: str, figures: Sequence[Figure]) -> Figure | None:
    """The one printed figure whose name holds every word of a variable's name."""
    words = {word for word in variable.lower().split("_") if word}
    found = {f.name: f for f in figures if words <= set(re.findall(r"[a-z]+|\d+", f.name.lower()))}
    if len(found) > 1:  # `ratio` beside `time ratio`: the shortest name, if it is the only such one
        shortest = sorted(found, key=lambda name: len(name.split()))
        if len(shortest[0].split()) == len(shortest[1].split()):
            return None
        return found[shortest[0]]
    return next(iter(found.values()), None)
