"""Two evidence folders side by side: whether they may be compared, and how their figures differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbbench.evidence import EvidenceFigure, FolderContent
from nbbench.metrics import Better, is_exact, unit_better

# Conditions in the order in which a reader asks for them.
# Twins with the same facts differ by the name that results have for them.
CONDITIONS = ("machine", "machine name", "threads", "torch", "python", "flags", "command", "dtype")
# One value against one value: a smaller difference says nothing (the policy's default floor).
FLOOR = 0.03
_SHORT = 40  # characters of a condition that are shown whole


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """One condition in both folders; `same` is None where one of them does not record it."""

    name: str
    a: str
    b: str
    same: bool | None

    def apart(self) -> tuple[str, str]:
        """Both sides; of long lists (flags, a command) only the words that one side alone has."""
        if max(len(self.a), len(self.b)) <= _SHORT:
            return self.a, self.b
        separator = ", " if self.name == "machine" else " "
        left, right = self.a.split(separator), self.b.split(separator)
        only_a = separator.join(word for word in left if word not in right)
        only_b = separator.join(word for word in right if word not in left)
        return only_a or "nothing more", only_b or "nothing more"


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure in both folders; `effect` is log(b/a), None where no ratio makes sense.

    `better` is `a`, `b`, `equal`, `within the floor`, or empty where the unit does not tell.
    """

    name: str
    workload: str
    unit: str
    a: float | None
    b: float | None
    effect: float | None = None
    better: str = ""

    @property
    def rank(self) -> int:
        """0: what a test asserts; 1: figures of tests and series; 2: the run; 3: its diagnosis."""
        if self.name.startswith("check: "):
            return 0
        return {"the whole run": 2, "diagnosis": 3}.get(self.workload, 1)


@dataclass(frozen=True, slots=True)
class EvidenceComparison:
    """Everything about two folders; `reasons` why they are not comparable, empty when they are."""

    a: FolderContent
    b: FolderContent
    reasons: tuple[str, ...]
    conditions: tuple[ConditionRow, ...]
    figures: tuple[FigureRow, ...]
    notes: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """Whether nothing speaks against comparing the two."""
        return not self.reasons


def compare_evidence(
    a: FolderContent, b: FolderContent, damage_a: tuple[str, ...] = (), damage_b: tuple[str, ...] = ()
) -> EvidenceComparison:
    """Hold `b` against `a`. `damage_*` says what of a folder's files disagrees with its checksums."""
    rows = [_condition(name, dict(a.conditions), dict(b.conditions)) for name in CONDITIONS]
    conditions = tuple(row for row in rows if row.name != "machine name" or (row.a and row.b))
    damage = (("A", damage_a), ("B", damage_b))
    reasons = [f"{side} is damaged: {'; '.join(found[:3])}" for side, found in damage if found]
    reasons += [f"{row.name} differs ({' / '.join(row.apart())})" for row in conditions if row.same is False]
    left, right = ({(f.name, f.workload, f.unit): f for f in side.figures} for side in (a, b))
    figures = [_row(key, left.get(key), right.get(key)) for key in dict.fromkeys([*left, *right])]
    if not any(row.a is not None and row.b is not None for row in figures):
        reasons.append("they have no figure in common")
    unknown = [row.name for row in conditions if row.same is None]
    notes = [f"not checked, because not recorded in both: {', '.join(unknown)}"] if unknown else []
    for name, side in (("A", a), ("B", b)):
        notes += [f"{name} has no {', '.join(side.missing)}"] if side.missing else []
        notes += [f"{name}: {problem}" for problem in side.problems]
        if side.exit_code:
            notes.append(f"{name} ended with exit code {side.exit_code}: its figures may be partial")
    return EvidenceComparison(
        a, b, tuple(reasons), conditions, tuple(sorted(figures, key=_place)), tuple(notes)
    )


def _place(row: FigureRow) -> tuple[bool, int, float]:
    """Pairs first: what tests assert, what they print, the run, its diagnosis; of each what moved most."""
    moved = 0.0 if row.effect is None or row.better == "equal" else abs(row.effect)
    return row.effect is None, row.rank, -moved


def _condition(name: str, a: dict[str, str], b: dict[str, str]) -> ConditionRow:
    left, right = a.get(name, ""), b.get(name, "")
    if name == "dtype":
        left, right = _shared(left, right), _shared(right, left)
    return ConditionRow(name, left, right, left == right if left and right else None)


def _shared(own: str, other: str) -> str:
    """`workload:dtype` of the workloads that both folders have; a single dtype stays as it is."""
    workloads = {word.partition(":")[0] for word in other.split()}
    return " ".join(word for word in own.split() if ":" not in word or word.partition(":")[0] in workloads)


def _row(key: tuple[str, str, str], left: EvidenceFigure | None, right: EvidenceFigure | None) -> FigureRow:
    a, b = (None if figure is None else figure.value for figure in (left, right))
    if left is None or right is None or a is None or b is None:
        return FigureRow(*key, a, b)
    effect, unit, direction = log_effect(a, b), key[2], unit_better(key[2])
    if left.more_is_better is not None:
        direction = Better.HIGHER if left.more_is_better else Better.LOWER
    if effect is None:
        better = ""
    elif abs(a - b) <= left.resolution + right.resolution:  # no more than what was printed tells
        better = "equal"
    elif abs(effect) <= math.log1p(FLOOR) and not is_exact(unit):
        better = "within the floor"
    elif direction in (Better.LOWER, Better.HIGHER):
        better = "b" if (effect > 0) is (direction is Better.HIGHER) else "a"
    else:
        better = ""
    return FigureRow(*key, a, b, effect, better)


def log_effect(a: float, b: float) -> float | None:
    """log(b/a); infinite from or to zero, None where signs make a ratio meaningless."""
    if a == b:
        return 0.0
    if a < 0 or b < 0:
        return None
    if a == 0:
        return math.inf
    return math.log(b) - math.log(a) if b else -math.inf
