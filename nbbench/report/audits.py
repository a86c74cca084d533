"""The roofline in figures, and the dtype audit: a row a case, then what was wider or warned about."""

from collections.abc import Mapping, Sequence
from typing import Any

from nbbench import units
from nbbench.ledger import Roof
from nbbench.model import to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.words import plural
from nbbench.work.roofs import WRITE_ALLOCATE, Achieved, Bound, with_write_allocate

_HEAD = (
    "workload",
    "time",
    "work",
    "achieved",
    "roof",
    "ceiling",
    "of it",
    "dispatch",
    "an operation",
    "alive",
)
_MEANING = {
    Bound.DISPATCH: "calling operations takes the larger part of the time: fewer, larger operations help",
    Bound.CACHE: "the working set fits in the last-level cache, whose own bandwidth is the ceiling",
    Bound.PARTLY: "operations find their operands in the cache, though the working set does not fit",
    Bound.MEMORY: "operations stream through memory: STREAM's best figure is the ceiling",
}


def roofline_blocks(title: str, roof: Roof, rows: Sequence[Achieved], notes: Sequence[str]) -> list[Block]:
    """Ceilings, one row a workload, and what each roof means."""
    traffic, there = with_write_allocate(roof), {row.bound for row in rows}
    rates = [
        (name, *(units.format_value(rate, "B/s") for rate in (getattr(roof, name), traffic[name])))
        for name in WRITE_ALLOCATE
    ]
    return [
        Title(f"{title}: {roofline_headline(rows)}"),
        _machine_line(roof),
        Table(("kernel", "STREAM", "with write-allocate"), rates, right=(1, 2)),
        Table(_HEAD, [_cells(row) for row in rows], right=(1, 2, 3, 5, 6, 7, 8, 9)),
        "\n".join(f"{bound}: {meaning}" for bound, meaning in _MEANING.items() if bound in there),
        *(f"note: {note}" for note in notes),
    ]


def roofline_payload(roof: Roof, rows: Sequence[Achieved], notes: Sequence[str]) -> dict[str, Any]:
    """The same as JSON-ready values."""
    return {
        "roof": {**to_plain(roof), "with_write_allocate": with_write_allocate(roof)},
        "workloads": [{**to_plain(row), "fraction": row.fraction} for row in rows],
        "headline": roofline_headline(rows),
        "notes": list(notes),
    }


def _machine_line(roof: Roof) -> str:
    """How the ceilings were taken."""
    beyond = roof.array_bytes >= 4 * roof.cache_bytes  # as STREAM asks
    small = "" if beyond else " (less than four times the cache: memory's figures may be too high)"
    return (
        f"{plural(roof.threads, 'thread')}, arrays of {units.format_bytes(roof.array_bytes)}{small}, "
        f"last-level cache {units.format_bytes(roof.cache_bytes) if roof.cache_bytes else 'unknown'}; "
        f"an operation costs {units.format_seconds(roof.op_s)}"
    )


def _cells(row: Achieved) -> list[str]:
    return [
        row.workload,
        units.format_seconds(row.seconds),
        units.format_bytes(row.bytes),
        units.format_value(row.rate, "B/s"),
        str(row.bound),
        units.format_value(row.ceiling, "B/s") if row.ceiling else "-",
        f"{row.fraction:.0%}" if row.fraction is not None else "-",
        f"{min(row.dispatch_share, 1.0):.0%}",
        units.format_bytes(row.operation_bytes),
        units.format_bytes(row.working_set_bytes),
    ]


def roofline_headline(rows: Sequence[Achieved]) -> str:
    """The workload that comes nearest to its roof, in one sentence."""
    held = [row for row in rows if row.fraction is not None]
    if not held:
        return "no workload has a bandwidth ceiling here: calling operations takes the time"
    near = max(held, key=lambda row: row.fraction or 0.0)
    return f"nearest to its roof: {near.workload} at {near.fraction:.0%} of the {near.bound} ceiling"


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
