"""Two evidence folders side by side."""

from __future__ import annotations

from nbbench import units
from nbbench.plan.compare_evidence import EvidenceComparison
from nbbench.report.blocks import Block, Table, Title
from nbbench.words import plural

_SHOWN = 60  # figures of an export of the whole suite are some 180; --json has every one


def comparison_blocks(comparison: EvidenceComparison) -> list[Block]:
    """Whether they are comparable, what each is, then the figures, what moved most first."""
    a, b = comparison.a, comparison.b
    both = [row for row in comparison.figures if row.a is not None and row.b is not None]
    said = "NOT COMPARABLE" if comparison.reasons else f"{plural(len(both), 'figure')} in both"
    pairs = [(name, *(str(getattr(side, name) or "") for side in (a, b))) for name in ("kind", "cluster")]
    pairs += [("commit", a.commit[:12], b.commit[:12]), ("verdict", a.verdict, b.verdict)]
    pairs += [("exit code", *("" if side.exit_code is None else str(side.exit_code) for side in (a, b)))]
    one, other = dict(a.conditions), dict(b.conditions)
    for name in {**one, **other}:
        same = one.get(name) == other.get(name)
        pairs.append((name, one.get(name, ""), "the same" if same else other.get(name, "")))
    pairs = [(name, left or "not recorded", right or "not recorded") for name, left, right in pairs]
    blocks: list[Block] = [Title(f"{a.stamp} against {b.stamp}: {said}"), f"A: {a.path}\nB: {b.path}"]
    blocks += [f"NOT COMPARABLE: {reason}." for reason in comparison.reasons]
    blocks.append(Table(("", "A", "B"), pairs))
    rows = [
        (
            f"{row.name} [{test}]" if (test := row.workload.rpartition("::")[2]) else row.name,
            *(units.format_value(value, row.unit) for value in (row.a, row.b)),
            f"{row.b / row.a:.4g}" if row.a and row.b is not None else units.format_change(row.effect),
        )
        for row in both[:_SHOWN]
    ]
    if rows:
        blocks.append(Table(("figure", "A", "B", "B / A"), rows, right=(1, 2, 3)))
    if more := len(comparison.figures) - len(rows):
        blocks.append(f"{more} more: they moved less, or one folder alone has them; --json has every one.")
    notes = [f"{name}: {text}" for name, side in (("A", a), ("B", b)) for text in side.problems]
    if comparison.unchecked:
        notes.append(f"not recorded in both, so not checked: {', '.join(comparison.unchecked)}")
    notes.append("one value against one value tells little of times; a gate repeats runs")
    return blocks + [f"note: {note}" for note in notes]
