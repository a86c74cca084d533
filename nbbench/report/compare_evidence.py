"""Two evidence folders side by side."""

from __future__ import annotations

from collections.abc import Sequence

from nbbench import units
from nbbench.evidence import FolderContent
from nbbench.plan.compare_evidence import FLOOR, EvidenceComparison, FigureRow
from nbbench.report.blocks import Block, Table, Title

NOT_COMPARABLE = "NOT COMPARABLE"
_SHOWN = 60  # figures of an export of the whole suite are some 180; --json has every one
_CELL = 60
_CAVEAT = f"one value against one value, floor {FLOOR * 100:g} % (exact counters: none); a gate repeats runs"


def comparison_blocks(comparison: EvidenceComparison, *, all_figures: bool = False) -> list[Block]:
    """The headline, why they are not comparable, conditions, then the figures that moved most."""
    a, b = comparison.a, comparison.b
    blocks: list[Block] = [Title(_headline(comparison)), f"A: {a.path}\nB: {b.path}"]
    blocks += [f"{NOT_COMPARABLE}: {reason}." for reason in comparison.reasons]
    blocks.append(Table(("", "A", "B"), [*_facts(a, b), *_conditions(comparison)]))
    blocks += _figures(comparison, None if all_figures else _SHOWN)
    blocks += [f"note: {note}" for note in (*comparison.notes, _CAVEAT)]
    return blocks


def _headline(comparison: EvidenceComparison) -> str:
    names = f"{comparison.a.stamp} against {comparison.b.stamp}"
    if not comparison.comparable:
        return f"{names}: {NOT_COMPARABLE}"
    both = [row for row in comparison.figures if row.effect is not None and row.rank < 2]
    both = both or [row for row in comparison.figures if row.effect is not None]
    better = sum(row.better == "b" for row in both)
    worse = sum(row.better == "a" for row in both)
    return f"{names}: of {len(both)} figures in both, {better} better in B, {worse} worse"


def _facts(a: FolderContent, b: FolderContent) -> list[tuple[str, str, str]]:
    rows = [
        ("kind", a.kind, b.kind),
        ("cluster", a.cluster, b.cluster),
        ("commit", a.commit[:12], b.commit[:12]),
        ("verdict", a.verdict, b.verdict),
        ("exit code", _code(a.exit_code), _code(b.exit_code)),
    ]
    return [(name, left or "not recorded", right or "not recorded") for name, left, right in rows]


def _code(code: int | None) -> str:
    return "" if code is None else str(code)


def _conditions(comparison: EvidenceComparison) -> list[tuple[str, str, str]]:
    rows = []
    for row in comparison.conditions:
        left, right = row.apart() if row.same is False else (row.a, "the same" if row.same else row.b)
        rows.append((row.name, _cut(left or "not recorded"), _cut(right or "not recorded")))
    return rows


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _figures(comparison: EvidenceComparison, limit: int | None) -> list[Block]:
    both = [row for row in comparison.figures if row.a is not None and row.b is not None]
    blocks: list[Block] = []
    if both:
        rows = [_figure_cells(row) for row in both[:limit]]
        blocks.append(Table(("figure", "A", "B", "B / A", "better"), rows, right=(1, 2, 3)))
        if len(both) > len(rows):
            blocks.append(f"{len(both) - len(rows)} more figures moved less; --all shows them.")
    for side, only in (
        ("A", [row for row in comparison.figures if row.b is None]),
        ("B", [row for row in comparison.figures if row.a is None]),
    ):
        if only:
            names = ", ".join(row.name for row in only[:5])
            more = f" and {len(only) - 5} more" if len(only) > 5 else ""
            blocks.append(f"Only {side} has {names}{more}.")
    return blocks


def _figure_cells(row: FigureRow) -> Sequence[str]:
    test = row.workload.rpartition("::")[2]
    name = f"{row.name} [{test}]" if test else row.name
    ratio = f"{row.b / row.a:.4g}" if row.a and row.b is not None else units.format_change(row.effect)
    return (
        name,
        units.format_value(row.a, row.unit),
        units.format_value(row.b, row.unit),
        ratio,
        {"a": "A", "b": "B"}.get(row.better, row.better),
    )
