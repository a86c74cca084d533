"""Two evidence folders side by side: whether they may be compared, and the figures of both."""

from __future__ import annotations

from typing import Any

from nbbench import units
from nbbench.evidence import Folder
from nbbench.plan.exported import log_effect
from nbbench.report.blocks import Block, Table, Title
from nbbench.words import plural

_SHOWN = 60  # figures of an export of the whole suite are some 180; --json has every one


def differences(a: Folder, b: Folder) -> list[str]:
    """Why the two cannot be compared; empty where nothing speaks against it."""
    one, other = dict(a.conditions), dict(b.conditions)
    sides = (("A", a.damage), ("B", b.damage))
    found = [f"{side} is damaged: {'; '.join(damage[:3])}" for side, damage in sides if damage]
    found += [f"{n} differs ({one[n]} / {other[n]})" for n in one if n in other and one[n] != other[n]]
    both = any(None not in row["values"] for row in figure_rows(a, b))
    return found if both else [*found, "they have no figure in common"]


def figure_rows(a: Folder, b: Folder) -> list[dict[str, Any]]:
    """Every figure with its value in A and in B (None where a folder does not have it) and log(B/A).

    What tests assert comes first, then what moved most.
    """
    left, right = ({(f.name, f.workload, f.unit): f.value for f in side.figures} for side in (a, b))
    rows: list[dict[str, Any]] = []
    for key in dict.fromkeys([*left, *right]):
        one, other = left.get(key), right.get(key)
        effect = None if one is None or other is None else log_effect(one, other)
        named = dict(zip(("name", "workload", "unit"), key, strict=True))
        rows.append({**named, "values": (one, other), "effect": effect})
    return sorted(
        rows,
        key=lambda r: (r["effect"] is None, not r["name"].startswith("check: "), -abs(r["effect"] or 0.0)),
    )


def comparison_blocks(a: Folder, b: Folder) -> list[Block]:
    """Whether they are comparable, what each is, then the figures."""
    reasons, figures = differences(a, b), figure_rows(a, b)
    both = [row for row in figures if None not in row["values"]]
    said = "NOT COMPARABLE" if reasons else f"{plural(len(both), 'figure')} in both"
    names = ("kind", "cluster", "commit", "verdict")
    pairs: list[tuple[str, str, str]] = [(name, getattr(a, name), getattr(b, name)) for name in names]
    code, its = ("" if f.exit_code is None else str(f.exit_code) for f in (a, b))
    pairs.append(("exit code", code, its))
    one, other = dict(a.conditions), dict(b.conditions)
    for name in {**one, **other}:
        same = one.get(name) == other.get(name)
        pairs.append((name, one.get(name, ""), "the same" if same else other.get(name, "")))
    cells = [(name, left or "not recorded", right or "not recorded") for name, left, right in pairs]
    blocks: list[Block] = [Title(f"{a.stamp} against {b.stamp}: {said}"), f"A: {a.path}\nB: {b.path}"]
    blocks += [f"NOT COMPARABLE: {reason}." for reason in reasons]
    blocks.append(Table(("", "A", "B"), cells))
    rows = [_cells(row) for row in both[:_SHOWN]]
    blocks += [Table(("figure", "A", "B", "B / A"), rows, right=(1, 2, 3))] if rows else []
    if more := len(figures) - len(rows):
        blocks.append(f"{more} more: they moved less, or one folder alone has them; --json has every one.")
    notes = [f"{name}: {text}" for name, side in (("A", a), ("B", b)) for text in side.problems]
    if unchecked := [name for name in {**one, **other} if name not in one or name not in other]:
        notes.append(f"not recorded in both, so not checked: {', '.join(unchecked)}")
    notes.append("one value against one value tells little of times; a gate repeats runs")
    return blocks + [f"note: {note}" for note in notes]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    one, other = row["values"]
    test = row["workload"].rpartition("::")[2]
    ratio = f"{other / one:.4g}" if one else units.format_change(row["effect"])
    name = f"{row['name']} [{test}]" if test else row["name"]
    return name, *(units.format_value(value, row["unit"]) for value in (one, other)), ratio
