"""What tests assert: `a >= b` with its figures, from pytest's own account of what held and what did not."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Iterable

from nbbench.captured import Check, TestRecord

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
            if (check := compare(figures, source, test.nodeid)) is not None:
                found[check.test, check.name, check.op, check.threshold] = check
    return tuple(found.values())


def _failed(longrepr: str) -> list[tuple[str, str]]:
    sources = [match["expression"] for match in _SOURCE.finditer(longrepr)]
    # `>   assert` names what `E   assert` gives in numbers; there is one of each a failure.
    source = sources[0] if len(sources) == 1 else ""
    return [(source, match["expression"]) for match in _EXPLAINED.finditer(longrepr)]


def compare(expression: str, source: str = "", test: str = "") -> Check | None:
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
