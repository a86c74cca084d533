"""Two evidence folders side by side."""

from __future__ import annotations

from collections.abc import Sequence

from nbbench import units
from nbbench.plan.compare_evidence import FLOOR, EvidenceComparison, FigureRow
from nbbench.report.blocks import Block, Table, Title
from nbbench.words import truncate

NOT_COMPARABLE = "NOT COMPARABLE"
_SHOWN = 60  # figures of an export of the whole suite are some 180; --json has every one
_CELL = 60
_CAVEAT = f"one value against one value, floor {FLOOR * 100:g} % (exact counters: none); a gate repeats runs"


def comparison_blocks(comparison: EvidenceComparison, *, all_figures: bool = False) -> list[Block]:
    """The headline, why they are not comparable, conditions, then the figures that moved most."""
    a, b = comparison.a, comparison.b
    rows = [
        ("kind", a.kind, b.kind),
        ("cluster", a.cluster, b.cluster),
        ("commit", a.commit[:12], b.commit[:12]),
        ("verdict", a.verdict, b.verdict),
        ("exit code", *("" if side.exit_code is None else str(side.exit_code) for side in (a, b))),
    ]
    for row in comparison.conditions:
        left, right = row.apart() if row.same is False else (row.a, "the same" if row.same else row.b)
        rows.append((row.name, left, right))
    cells = [(name, *(truncate(side or "not recorded", _CELL) for side in sides)) for name, *sides in rows]
    blocks: list[Block] = [Title(_headline(comparison)), f"A: {a.path}\nB: {b.path}"]
    blocks += [f"{NOT_COMPARABLE}: {reason}." for reason in comparison.reasons]
    blocks.append(Table(("", "A", "B"), cells))
    blocks += _figures(comparison, None if all_figures else _SHOWN)
    return blocks + [f"note: {note}" for note in (*comparison.notes, _CAVEAT)]


def _headline(comparison: EvidenceComparison) -> str:
    names = f"{comparison.a.stamp} against {comparison.b.stamp}"
    if not comparison.comparable:
        return f"{names}: {NOT_COMPARABLE}"
    both = [row for row in comparison.figures if row.effect is not None and row.rank < 2]
    both = both or [row for row in comparison.figures if row.effect is not None]
    better, worse = (sum(row.better == side for row in both) for side in ("b", "a"))
    return f"{names}: of {len(both)} figures in both, {better} better in B, {worse} worse"


def _figures(comparison: EvidenceComparison, limit: int | None) -> list[Block]:
    both = [row for row in comparison.figures if row.a is not None and row.b is not None]
    blocks: list[Block] = []
    if both:
        rows = [_figure_cells(row) for row in both[:limit]]
        blocks.append(Table(("figure", "A", "B", "B / A", "better"), rows, right=(1, 2, 3)))
        if len(both) > len(rows):
            blocks.append(f"{len(both) - len(rows)} more figures moved less; --all shows them.")
    for side, only in (
        ("A", [row.name for row in comparison.figures if row.b is None]),
        ("B", [row.name for row in comparison.figures if row.a is None]),
    ):
        more = f" and {len(only) - 5} more" if len(only) > 5 else ""
        blocks += [f"Only {side} has {', '.join(only[:5])}{more}."] if only else []
    return blocks


def _figure_cells(row: FigureRow) -> Sequence[str]:
    test = row.workload.rpartition("::")[2]
    name = f"{row.name} [{test}]" if test else row.name
    ratio = f"{row.b / row.a:.4g}" if row.a and row.b is not None else units.format_change(row.effect)
    values = (units.format_value(value, row.unit) for value in (row.a, row.b))
    return name, *values, ratio, {"a": "A", "b": "B"}.get(row.better, row.better)
