"""Where two commits' images begin to differ: the facts of "values first differ at …".

docs/first_difference.md is the definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nbbench.model import EvidenceRecord, to_plain


class FirstReason(StrEnum):
    """Why values first differ where they do."""

    DTYPE = "dtype"
    ORDER = "order of summation"
    RANDOM = "random numbers"
    PYTHON = "a value from Python"
    OPERATION = "another operation"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """Where the values of a workload begin to differ on the way to its image, and why.

    `where` is `path:line` in head, `was` the step's place in base ('' for none); both are empty where torch
    dispatched nothing that differs. `relative` and `image` are the largest changes of an element over the
    largest element (None: cannot be compared); the image is `later` operations behind. `before` and `after`
    are what a dtype or a value was and is. `figures_before` and `figures_after` are the sum, the norm, the
    smallest and the largest element of what the step gave, in float64.
    """

    workload: str
    reason: FirstReason
    relative: float | None = None
    before: str = ""
    after: str = ""
    where: str = ""
    was: str = ""
    function: str = ""
    op: str = ""
    op_before: str = ""
    image: float | None = None
    later: int = 0
    figures_before: tuple[float, ...] = ()
    figures_after: tuple[float, ...] = ()

    @property
    def record(self) -> EvidenceRecord:
        """The difference as evidence."""
        return EvidenceRecord("first difference", to_plain(self))
