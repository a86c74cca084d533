"""How exact work grows with a parameter: counts at several of its values, and the law behind them; no I/O.

A law is a polynomial with rational coefficients that every point fits without any residual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from nbbench.model import Phase

HELD_OUT = 2
"""So many points a law is not made from, but only checked against."""
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
    def of_host(self) -> bool:
        """Whether it is Python's work."""
        return self in STEPS.values()

    @property
    def metric(self) -> str:
        """The name of the series of its order: `track_order_host_steps_warm_run`."""
        return ORDER_TRACK + self.replace(",", "").replace(" ", "_")


STEPS = {Phase.CONSTRUCT: Quantity.CONSTRUCT, Phase.FIRST: Quantity.FIRST, Phase.WARM: Quantity.WARM}
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
    def laws(self) -> "dict[Quantity, Law]":
        """The law of each quantity."""
        return {quantity: fit_law(self.values, counts) for quantity, counts in self.totals}

    @property
    def orders(self) -> dict[Quantity, int]:
        """The order of each quantity; where it follows no law, the highest of its lines' that do.

        A sum grows at least as its parts, also where another part depends on chance or on the data.
        """
        found = {}
        for quantity, law in self.laws.items():
            lines = self.line_orders(quantity) if law.order is None else []
            if (order := lines[0][1] if lines else law.order) is not None:
                found[quantity] = order
        return found

    def line_orders(self, quantity: Quantity) -> list[tuple[LineCounts, int]]:
        """The lines of a quantity whose order can be told, with it; what grows fastest comes first."""
        mine = [(line, fit_law(self.values, line.counts)) for line in self.lines if line.quantity is quantity]
        found = [(line, law.order) for line, law in mine if law.order is not None]
        return sorted(found, key=lambda one: (-one[1], -one[0].counts[-1], one[0].path, one[0].line))


@dataclass(frozen=True, slots=True)
class Law:
    """A polynomial through all points: `coefficients`, that of the lowest power first.

    Where there is none the coefficients are empty, and `residual` is the largest distance, as a share of the
    largest count, that the polynomial of degree `limit` through the smaller values leaves. `order` is the
    power with which the counts grow: a polynomial that a single point checks tells it, too. None else.
    """

    coefficients: tuple[Fraction, ...]
    limit: int
    order: int | None
    residual: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether every point fits without any residual."""
        return bool(self.coefficients)

    def at(self, value: int) -> Fraction:
        """What the polynomial lets expect at a value of the parameter."""
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
    found = Law(_expanded(differences[: min(degree, limit) + 1], values), limit, degree)
    if degree <= limit:
        return found
    left = max(abs(found.at(value) - count) for value, count in zip(values, counts, strict=True))
    told = degree if degree < len(values) - 1 else None
    return Law((), limit, told, float(left / max(map(abs, counts))))


def _expanded(differences: Sequence[Fraction], values: Sequence[int]) -> tuple[Fraction, ...]:
    """The coefficients of a polynomial that Newton's form gives."""
    found: list[Fraction] = []
    for difference, value in reversed(list(zip(differences, values, strict=False))):
        times_x, times_value = [Fraction(0), *found], [*found, Fraction(0)]
        found = [a - value * b for a, b in zip(times_x, times_value, strict=True)]
        found[0] += difference
    return tuple(found[: len(differences)])
