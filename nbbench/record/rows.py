"""Between the nouns of nbbench and the rows of the tables; no database access here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from nbbench.evidence import EvidenceFigure, Folder
from nbbench.ledger import FunctionCost, Ledger, LedgerLine
from nbbench.model import (
    Benchmark,
    Cause,
    ChangePoint,
    Commit,
    Decision,
    Event,
    EventDirection,
    FlagState,
    Phase,
    ProcessRecord,
    Result,
    SeriesKey,
    to_plain,
)
from nbbench.record.schema import clean
from nbbench.record.side_files import LedgerFile, function_from, line_from

AnyRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the results tree as the database remembers it.

    `path` is relative to the tree, with slashes, so that every checkout of the same results
    means the same file. A bad file has the status `bad` and its `error`; `stale` ones are
    read again whatever their content.
    """

    path: str
    kind: str  # results, benchmarks, telemetry, ledger, decision
    size: int
    mtime_ns: int
    sha256: str
    status: str = "ok"
    error: str = ""


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """A ledger with the tree, the commit and the torch version that it was measured with."""

    tree: str
    commit: str
    torch: str
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How far a series moves by itself (A/A), as a relative change, from `n` repeats."""

    key: SeriesKey
    floor: float
    n: int
    measured_at: datetime


def dumps(value: Any) -> str:
    """JSON in ASCII, which keeps every text whole on both engines."""
    return json.dumps(value, separators=(",", ":"))


def pairs(text: str) -> tuple[tuple[str, Any], ...]:
    """Pairs that `dumps` wrote."""
    return tuple((name, value) for name, value in json.loads(text))


def series_digest(key: SeriesKey) -> str:
    """What stands for a series' key in the database."""
    names = [clean(part) for part in (key.benchmark, key.version, key.machine, key.environment)]
    return hashlib.sha256(dumps([*names, key.params]).encode("ascii")).hexdigest()


def decision_digest(decision: Decision) -> str:
    """What tells a decision from every other, so that importing it twice keeps one."""
    return hashlib.sha256(dumps(to_plain(decision)).encode("ascii")).hexdigest()


def pack(samples: tuple[float, ...]) -> bytes | None:
    """Samples as little-endian float64; NULL for none."""
    return struct.pack(f"<{len(samples)}d", *samples) if samples else None


def unpack(data: bytes | None) -> tuple[float, ...]:
    """Samples that `pack` wrote."""
    return struct.unpack(f"<{len(data) // 8}d", data) if data else ()


def series_key(row: AnyRow) -> SeriesKey:
    """The key of a row with the columns of `read.series_columns`."""
    return SeriesKey(row.name, row.version, pairs(row.params), row.machine, row.environment)


def result_row(result: Result, source_id: int, series_id: int, commit_id: int) -> dict[str, Any]:
    """A result as a row; a figure that is NaN is none."""
    return {
        "source_id": source_id,
        "series_id": series_id,
        "commit_id": commit_id,
        "status": result.status.value,
        "value": _no_nan(result.value),
        "ci_lo": _no_nan(result.ci_lo),
        "ci_hi": _no_nan(result.ci_hi),
        "number": result.number,
        "started_at": result.started_at,
        "duration_s": _no_nan(result.duration_s),
        "samples": pack(result.samples),
    }


def commit_row(commit: Commit) -> dict[str, Any]:
    """A commit as a row."""
    return {f.name: getattr(commit, f.name) for f in dataclasses.fields(Commit)}


def commit_from(row: AnyRow) -> Commit:
    """A commit from its row."""
    return Commit(row.hash, row.tree, row.date, row.subject, row.position)


def benchmark_row(benchmark: Benchmark) -> dict[str, Any]:
    """A benchmark as a row."""
    plain = {f.name: getattr(benchmark, f.name) for f in dataclasses.fields(Benchmark)}
    return plain | {name: dumps(plain[name]) for name in ("param_names", "params")}


def benchmark_from(row: AnyRow) -> Benchmark:
    """A benchmark from its row."""
    params = tuple(tuple(values) for values in json.loads(row.params))
    names = tuple(json.loads(row.param_names))
    return Benchmark(row.name, row.version, row.unit, row.kind, names, params, row.description)


def record_row(record: ProcessRecord, source_id: int, line: int) -> dict[str, Any]:
    """A telemetry record as a row."""
    row = {f.name: getattr(record, f.name) for f in dataclasses.fields(ProcessRecord)}
    commit = row.pop("commit")
    extra = dumps(to_plain(record.extra))
    return row | {"source_id": source_id, "line": line, "commit_hash": commit, "extra": extra}


def record_from(row: AnyRow) -> ProcessRecord:
    """A telemetry record from its row."""
    plain = {f.name: getattr(row, f.name) for f in dataclasses.fields(ProcessRecord) if f.name != "commit"}
    for name in ("wall_s", "user_s", "system_s", "others_cpu_s", "steal_s"):
        plain[name] = _nan(plain[name])
    return ProcessRecord(commit=row.commit_hash, **plain | {"extra": pairs(row.extra)})


_LEDGER_FIELDS = [f.name for f in dataclasses.fields(Ledger) if str(f.type) in ("str", "int")]


def ledger_rows(file: LedgerFile, source_id: int) -> list[dict[str, Any]]:
    """The ledgers of a file as rows."""
    return [
        {name: getattr(ledger, name) for name in _LEDGER_FIELDS}
        | {
            "source_id": source_id,
            "workload": workload,
            "tree": file.tree,
            "commit_hash": file.commit,
            "torch": file.torch,
            "bytes_by_dtype": dumps(ledger.bytes_by_dtype),
            "image_blocks": pack(ledger.image_blocks),
            "lines": _packed(ledger.lines),
            "peak_line": dumps(ledger.peak_line),
            "notes": dumps(ledger.notes),
            "functions": _packed(ledger.functions),
        }
        for workload, ledger in file.workloads.items()
    ]


def ledger_from(row: AnyRow) -> StoredLedger:
    """A ledger from its row; without lines and functions where the query left them out."""
    path, line, function = json.loads(row.peak_line or '["", 0, ""]')
    ledger = Ledger(
        **{name: getattr(row, name) for name in _LEDGER_FIELDS},
        bytes_by_dtype=pairs(row.bytes_by_dtype),
        image_blocks=unpack(row.image_blocks),
        lines=tuple(line_from(cells) for cells in _unpacked(row, "lines")),
        peak_line=(path, line, function),
        functions=tuple(function_from(cells) for cells in _unpacked(row, "functions")),
        notes=tuple(json.loads(row.notes or "[]")),
    )
    return StoredLedger(row.tree, row.commit_hash, row.torch, ledger)


def _packed(costs: tuple[LedgerLine, ...] | tuple[FunctionCost, ...]) -> bytes:
    return zlib.compress(dumps([dataclasses.astuple(cost) for cost in costs]).encode("ascii"))


def _unpacked(row: AnyRow, name: str) -> list[list[Any]]:
    packed = getattr(row, name, None)
    return json.loads(zlib.decompress(packed)) if packed else []


def event_row(event: Event, ordinal: int) -> dict[str, Any]:
    """An event as a row, without its change points."""
    row = {f.name: getattr(event, f.name) for f in dataclasses.fields(Event) if f.name != "changes"}
    named = {name: str(getattr(event, name)) for name in ("cause", "direction", "phase")}
    return row | named | {"ordinal": ordinal, "evidence": dumps(event.evidence)}


def event_from(row: AnyRow, changes: list[ChangePoint]) -> Event:
    """An event from its row and its change points."""
    plain = {f.name: getattr(row, f.name) for f in dataclasses.fields(Event) if f.name != "changes"}
    plain |= {
        "cause": Cause(row.cause),
        "phase": Phase(row.phase),
        "direction": EventDirection(row.direction),
    }
    plain["evidence"] = tuple(json.loads(row.evidence))
    return Event(**plain | {"effect": _nan(row.effect)}, changes=tuple(changes))


_CHANGE_FLOATS = ("before", "after", "effect", "effect_lo", "effect_hi", "p_value")


def change_row(change: ChangePoint, event: str, ordinal: int, series_id: int) -> dict[str, Any]:
    """A change point as a row."""
    row = {f.name: getattr(change, f.name) for f in dataclasses.fields(ChangePoint) if f.name != "key"}
    row["direction"] = change.direction.value
    return row | {"event_id": event, "ordinal": ordinal, "series_id": series_id}


def change_from(row: AnyRow, key: SeriesKey) -> ChangePoint:
    """A change point from its row."""
    plain = {f.name: getattr(row, f.name) for f in dataclasses.fields(ChangePoint) if f.name != "key"}
    plain |= {name: _nan(plain[name]) for name in _CHANGE_FLOATS}
    return ChangePoint(key=key, **plain | {"direction": EventDirection(row.direction)})


def decision_row(decision: Decision) -> dict[str, Any]:
    """A decision as a row."""
    row = {f.name: getattr(decision, f.name) for f in dataclasses.fields(Decision)}
    return row | {"state": decision.state.value, "digest": decision_digest(decision)}


def decision_from(row: AnyRow) -> Decision:
    """A decision from its row."""
    state = FlagState(row.state)
    return Decision(row.event, row.plan, state, row.reason, row.person, row.date, row.expires)


def folder_row(folder: Folder) -> dict[str, Any]:
    """An evidence folder as a row, without its figures."""
    row = {f.name: getattr(folder, f.name) for f in dataclasses.fields(Folder) if f.name != "figures"}
    return row | {"commit_hash": row.pop("commit")}


def folder_from(row: AnyRow, figures: tuple[EvidenceFigure, ...]) -> Folder:
    """An evidence folder from its row and its figures."""
    later = {name: getattr(row, name) or "" for name in ("kind", "verdict", "machine")}
    place = row.path, row.stamp, row.cluster, row.commit_hash, row.sha256
    return Folder(*place, **later, exit_code=row.exit_code, figures=figures)


def figure_rows(folder: Folder) -> list[dict[str, Any]]:
    """The figures of a folder as rows."""
    return [
        dataclasses.asdict(figure) | {"folder": folder.path, "ordinal": ordinal}
        for ordinal, figure in enumerate(folder.figures)
    ]


def _no_nan(value: float | None) -> float | None:
    """PostgreSQL would keep NaN, and sort it above everything."""
    return None if value != value else value


def _nan(value: float | None) -> float:
    """SQLite keeps NaN as NULL."""
    return math.nan if value is None else value
