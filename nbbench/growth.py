"""How exact work grows with a parameter: counts at several of its values, and the law behind them; no I/O.

A law is a polynomial with rational coefficients that every point fits without any residual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from nbbench.model import Phase

HELD_OUT = 2
"""So many points a law is not made from, but only checked against."""
_NEAR = Fraction(1, 20)
ORDER_TRACK = "track_order_"
"""What the names of the series of orders begin with."""


class Quantity(StrEnum):
    """What is counted of a run: of tensors in a warm run, of Python (steps) by phase."""

    BYTES = "bytes"
    OPERATIONS = "operations"
    PEAK = "peak live bytes"
    UPCAST = "upcast bytes"
    CONSTRUCT = "host steps, construct"
    FIRST = "host steps, first run"  # what a warm run does not do
    WARM = "host steps, warm run"

    @property
    def phase(self) -> Phase:
        """The phase in which it is counted."""
        return {Quantity.CONSTRUCT: Phase.CONSTRUCT, Quantity.FIRST: Phase.FIRST}.get(self, Phase.WARM)

    @property
    def of_host(self) -> bool:
        """Whether it is Python's work, which differs from one Python to the next."""
        return self in STEPS.values()

    @property
    def metric(self) -> str:
        """The name of the series of its order: `track_order_steps_warm_run`."""
        name = f"steps_{self.phase}" if self.of_host else self.value
        return ORDER_TRACK + name.replace(" ", "_")


STEPS = {
    Phase.CONSTRUCT: Quantity.CONSTRUCT,
    Phase.FIRST: Quantity.FIRST,
    Phase.WARM: Quantity.WARM,
}
"""The steps of each phase."""


class LineCounts(NamedTuple):
    """What one source line of the subject counts at each value of the parameter."""

    quantity: Quantity
    path: str
    line: int
    function: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScaledWork:
    """What the workloads of one scale counted on one tree, a figure for each of the parameter's `values`.

    `lines` are those whose counts are not the same for all values. `error` says why there is nothing.
    """

    scale: str
    parameter: str
    python: str
    values: tuple[int, ...] = ()
    totals: tuple[tuple[Quantity, tuple[int, ...]], ...] = ()
    lines: tuple[LineCounts, ...] = ()
    error: str = ""

    @property
    def laws(self) -> dict[Quantity, Law]:
        """The law of each quantity."""
        return {quantity: fit_law(self.values, counts) for quantity, counts in self.totals}

    @property
    def orders(self) -> dict[Quantity, int]:
        """The order of each quantity whose law tells one: the highest of its own and its lines'.

        A sum grows at least as its parts do, also where another part follows no law.
        """
        found = {quantity: law.order for quantity, law in self.laws.items()}
        return {
            quantity: max(order, *(o for _, o in self.line_orders(quantity)), 0)
            for quantity, order in found.items()
            if order is not None
        }

    def line_orders(self, quantity: Quantity) -> list[tuple[LineCounts, int]]:
        """The lines that follow a law of this quantity, with their orders; what grows fastest comes first."""
        mine = [(line, fit_law(self.values, line.counts)) for line in self.lines if line.quantity is quantity]
        found = [(line, law.degree) for line, law in mine if law.exact]
        return sorted(found, key=lambda one: (-one[1], -one[0].counts[-1], one[0].path, one[0].line))


@dataclass(frozen=True, slots=True)
class Law:
    """A polynomial through all points: `coefficients`, that of the lowest power first.

    Where there is none the coefficients are empty, and `residual` is the largest distance that the nearest
    polynomial of degree `limit` (by least squares) leaves, as a share of the largest count. `near` is the
    lowest degree of which one comes as near as a twentieth of the whole rise, None where none does.
    """

    coefficients: tuple[Fraction, ...]
    limit: int
    residual: float = 0.0
    near: int | None = None

    @property
    def exact(self) -> bool:
        """Whether every point fits without any residual."""
        return bool(self.coefficients)

    @property
    def degree(self) -> int:
        """The highest power of an exact law."""
        return len(self.coefficients) - 1

    @property
    def order(self) -> int | None:
        """The power with which it grows; None where neither a law nor a near one tells."""
        return self.degree if self.exact else self.near

    def at(self, value: int) -> Fraction:
        """What the law lets expect at a value of the parameter."""
        return sum((c * value**power for power, c in enumerate(self.coefficients)), Fraction(0))


def fit_law(values: Sequence[int], counts: Sequence[int]) -> Law:
    """The polynomial through all points, of a degree that leaves HELD_OUT of them to check it.

    By Newton's divided differences, exact in rational numbers: a polynomial of degree d goes through all
    points if and only if the differences of every order above d are nought (D. Knuth, The Art of Computer
    Programming 2, section 4.6.4).
    """
    limit = max(len(values) - 1 - HELD_OUT, 0)
    differences, column = [], [Fraction(count) for count in counts]
    for order in range(1, len(values) + 1):
        differences.append(column[0])
        column = [(b - a) / (values[i + order] - values[i]) for i, (a, b) in enumerate(pairwise(column))]
    degree = max((order for order, one in enumerate(differences) if one), default=0)
    if degree > limit:
        return _nearest(values, counts, limit)
    found: list[Fraction] = []
    for order in range(degree, -1, -1):  # found * (x - value) + difference
        shifted = [Fraction(0), *found]
        found = [a - values[order] * b for a, b in zip(shifted, [*found, Fraction(0)], strict=True)]
        found[0] += differences[order]
    return Law(tuple(found[: degree + 1]), limit)


def _nearest(values: Sequence[int], counts: Sequence[int], limit: int) -> Law:
    """How far the nearest polynomials stay away."""
    rise, near, left = max(counts) - min(counts), None, [Fraction(count) for count in counts]
    for degree, left in enumerate(_left_over(values, counts, limit)):
        if near is None and max(map(abs, left)) <= _NEAR * rise:
            near = degree
    return Law((), limit, float(max(map(abs, left)) / max(map(abs, counts))), near)


def _left_over(values: Sequence[int], counts: Sequence[int], limit: int) -> Iterator[list[Fraction]]:
    """What least squares leave of each point, for the degrees 0 … limit.

    By orthogonal polynomials, exact in rational numbers (G. Forsythe, J. SIAM 5, 1957, pages 74-88).
    """
    left = [Fraction(count) for count in counts]
    before, now, norm_before = [Fraction(0)] * len(values), [Fraction(1)] * len(values), Fraction(1)
    for _ in range(limit + 1):
        norm = sum((p * p for p in now), Fraction(0))
        share = sum((y * p for y, p in zip(left, now, strict=True)), Fraction(0)) / norm
        left = [y - share * p for y, p in zip(left, now, strict=True)]
        yield left
        middle = sum((x * p * p for x, p in zip(values, now, strict=True)), Fraction(0)) / norm
        again = [(x - middle) * p for x, p in zip(values, now, strict=True)]
        before, now, norm_before = (
            now,
            [a - norm / norm_before * b for a, b in zip(again, before, strict=True)],
            norm,
        )
