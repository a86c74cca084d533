"""The dtype audit for people: a row a case, then what was wider or warned about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbbench.report.blocks import Block, Table, Title

_HEAD = ("case", "dtype", "inputs", "outputs", "warnings", "verdict", "why")
_LINES = 5  # lines shown a case


def dtypes_blocks(snapshot: Mapping[str, Any]) -> list[Block]:
    """The headline, the table of cases, then what each one has to tell."""
    told = [
        "\n".join([f"{case['case']} {case['dtype']}", *(f"- {line}" for line in details)])
        for case in snapshot["cases"]
        if (details := _details(case))
    ]
    return [Title(_headline(snapshot)), Table(_HEAD, _rows(snapshot), right=(4,)), *told]


def _headline(snapshot: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in snapshot["counts"].items())
    return f"dtype audit of {snapshot['commit']['hash'][:8]}: {snapshot['verdict']} ({counts})"


def _rows(snapshot: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            case["case"],
            case["dtype"],
            _tensors(case["inputs"]),
            _tensors(case["outputs"]),
            str(sum(row["count"] for row in case["warnings"])),
            case["verdict"],
            case["reason"],
        ]
        for case in snapshot["cases"]
    ]


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> str:
    """`float32 (3,)`, or each tensor where they differ."""
    shown = dict.fromkeys(f"{t['dtype']} ({', '.join(map(str, t['shape']))})" for t in tensors)
    return " · ".join(shown) or "-"


def _details(case: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, title in (("upcasts", "wider"), ("narrowed", "narrower")):
        rows = case[key]
        for row in rows[:_LINES]:
            where = f"{row['path']}:{row['line']} {row['function']}" if row["path"] else "the call itself"
            lines.append(
                f"{title}: {where}: {row['count']} {row['operation']} → {row['dtype']}, {row['bytes']:,} B"
            )
        if len(rows) > _LINES:
            lines.append(f"… and {len(rows) - _LINES} more {title}")
    lines += [f"{row['count']}× {row['message']}" for row in case["warnings"]]
    return lines
