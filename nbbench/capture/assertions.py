"""What tests assert: `a >= b` with its figures, from pytest's own account of what held and what did not."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable

from nbbench.captured import Check, TestRecord

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
    tree, named = _comparison(_WRAPPED.sub(r"\g<inner>", expression)), _comparison(source)
    if tree is None:
        return None
    left, right = tree.left, tree.comparators[0]
    op = _OPERATORS[type(tree.ops[0])]
    if named is not None and isinstance(named.left, ast.Constant):  # `3.5 <= ratio`
        left, right, op = right, left, _FLIPPED[op]
        named = ast.Compare(named.comparators[0], named.ops, [named.left])
    value, threshold = _evaluate(left), _evaluate(right)
    if value is None or threshold is None:
        return None
    passed = _TRUTH[op](value, threshold)
    base = _factor(right, named)
    if base is not None and base[0] != 0:
        value, threshold = value / base[0], base[1]
    name = " ".join(source.split())
    if named is not None:
        name = _ratio_name(named) if base is not None else ast.unparse(named.left)
    text = f"assert {' '.join((source or expression).split())}"
    return Check(name or "asserted", op, threshold, value, passed, text, test)


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


def _factor(node: ast.expr, named: ast.Compare | None) -> tuple[float, float] | None:
    """(base, factor) of a product of two numbers: the factor is the source's constant, or looks like one."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
        return None
    a, b = _evaluate(node.left), _evaluate(node.right)
    if a is None or b is None:
        return None
    by_hand = min((node.left, node.right), key=lambda side: len(ast.unparse(side)))
    source = named.comparators[0] if named is not None else None
    if isinstance(source, ast.BinOp) and isinstance(source.left, ast.Constant):
        by_hand = node.left
    elif isinstance(source, ast.BinOp) and isinstance(source.right, ast.Constant):
        by_hand = node.right
    return (b, a) if by_hand is node.left else (a, b)


def _ratio_name(named: ast.Compare) -> str:
    right = named.comparators[0]
    if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult):
        base = next((s for s in (right.left, right.right) if not isinstance(s, ast.Constant)), right)
        return f"{ast.unparse(named.left)} / {ast.unparse(base)}"
    return ast.unparse(named.left)
