"""The dtype audit for people: a row a case, then what was wider or warned about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbbench.report.blocks import Block, Table, Title

_LINES = 5  # lines shown a case


def dtypes_blocks(snapshot: Mapping[str, Any]) -> list[Block]:
    """The headline, the table of cases, then what each one has to tell."""
    said = [
        "\n".join([f"{case['case']} {case['dtype']}", *(f"- {line}" for line in details)])
        for case in snapshot["cases"]
        if (details := _details(case))
    ]
    return [Title(_headline(snapshot)), cases_table(snapshot), *said]


def cases_table(snapshot: Mapping[str, Any]) -> Table:
    """A row a case."""
    rows = [
        (
            *(case["case"], case["dtype"], _tensors(case["inputs"]), _tensors(case["outputs"])),
            *(str(sum(row["count"] for row in case["warnings"])), case["verdict"], case["reason"]),
        )
        for case in snapshot["cases"]
    ]
    return Table(("case", "dtype", "inputs", "outputs", "warnings", "verdict", "why"), rows, right=(4,))


def audit_sentence(snapshot: Mapping[str, Any], file: str) -> str:
    """The audit in one sentence: cases by verdict, bytes computed wider than asked, the largest error."""
    cases = snapshot["cases"]
    wider = sum(row["bytes"] for case in cases for row in case["upcasts"])
    errors = [
        (case["relative_error"] / case["rounding_limit"], case["relative_error"], case["rounding_limit"])
        for case in cases
        # A fall-back to other values is judged by itself: its error is none of rounding.
        if case.get("relative_error") is not None and case.get("rounding_limit") and not case.get("fell_back")
    ]
    worst = max(errors, default=None)
    error = f", largest relative error {worst[1]:.2g} (limit {worst[2]:.2g})" if worst else ""
    bad = [
        f"{case['case']} {case['dtype']}: {case['reason']}" for case in cases if case["verdict"] != "neutral"
    ]
    shown = f"; {'; '.join(bad[:_LINES])}" if bad else ""
    return f"{_headline(snapshot)}, {wider:,} B wider than asked{error}{shown}; see {file}"


def _headline(snapshot: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in snapshot["counts"].items())
    return f"dtype audit of {snapshot['commit']['hash'][:8]}: {snapshot['verdict']} ({counts})"


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> str:
    """`float32 (3,)`, or each tensor where they differ."""
    shown = dict.fromkeys(f"{t['dtype']} ({', '.join(map(str, t['shape']))})" for t in tensors)
    return " · ".join(shown) or "-"


def _details(case: Mapping[str, Any]) -> list[str]:
    lines, rows = [], case["upcasts"]
    for row in rows[:_LINES]:
        where = f"{row['path']}:{row['line']} {row['function']}" if row["path"] else "the call itself"
        lines.append(
            f"wider: {where}: {row['count']} {row['operation']} → {row['dtype']}, {row['bytes']:,} B"
        )
    if len(rows) > _LINES:
        lines.append(f"… and {len(rows) - _LINES} more wider")
    lines += [f"{row['count']}× {row['message']}" for row in case["warnings"]]
    return lines
