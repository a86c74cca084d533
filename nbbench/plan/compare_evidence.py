"""Two evidence folders side by side: whether they may be compared, and the figures of both."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbbench.evidence import Folder


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure in both folders; None where a folder does not have it."""

    name: str
    workload: str
    unit: str
    a: float | None
    b: float | None

    @property
    def effect(self) -> float | None:
        """log(b/a); None where a side is missing or no ratio makes sense."""
        return None if self.a is None or self.b is None else log_effect(self.a, self.b)


@dataclass(frozen=True, slots=True)
class EvidenceComparison:
    """Two folders; `reasons` why they are not comparable (none when they are), and all their figures.

    `unchecked` are the conditions that one of them does not record.
    """

    a: Folder
    b: Folder
    reasons: tuple[str, ...]
    unchecked: tuple[str, ...]
    figures: tuple[FigureRow, ...]


def compare_evidence(a: Folder, b: Folder) -> EvidenceComparison:
    """Hold `b` against `a`: what tests assert first, then what moved most."""
    one, other = dict(a.conditions), dict(b.conditions)
    damage = (("A", a.damage), ("B", b.damage))
    reasons = [f"{side} is damaged: {'; '.join(found[:3])}" for side, found in damage if found]
    reasons += [f"{n} differs ({one[n]} / {other[n]})" for n in one if n in other and one[n] != other[n]]
    left, right = ({(f.name, f.workload, f.unit): f.value for f in side.figures} for side in (a, b))
    rows = [FigureRow(*key, left.get(key), right.get(key)) for key in dict.fromkeys([*left, *right])]
    if not left.keys() & right.keys():
        reasons.append("they have no figure in common")
    unchecked = tuple(name for name in {**one, **other} if name not in one or name not in other)
    return EvidenceComparison(a, b, tuple(reasons), unchecked, tuple(sorted(rows, key=_place)))


def _place(row: FigureRow) -> tuple[bool, bool, float]:
    return row.effect is None, not row.name.startswith("check: "), -abs(row.effect or 0.0)


def log_effect(a: float, b: float) -> float | None:
    """log(b/a); infinite from or to zero, None where signs make a ratio meaningless."""
    if a == b:
        return 0.0
    if a < 0 or b < 0:
        return None
    if a == 0:
        return math.inf
    return math.log(b) - math.log(a) if b else -math.inf
