"""Between series, results and files and their rows; what follows the nouns field by field is in `schema`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from nbbench.model import Result, SeriesKey, Status
from nbbench.record.shapes import AnyRow, dumps, pack, unpack
from nbbench.record.values import clean

STATUS = {status.value: status for status in Status}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a results tree as the database remembers it.

    `path` is relative to the tree, with slashes. A file that cannot be used has the status `bad` and its
    `error`.
    """

    path: str
    kind: str  # results, benchmarks, telemetry, ledger, decision
    size: int
    mtime_ns: int
    sha256: str
    status: str = "ok"
    error: str = ""


def digest_of(*parts: Any) -> str:
    """What stands for texts of any length in the database."""
    return hashlib.sha256(dumps(parts).encode("ascii")).hexdigest()


def series_digest(key: SeriesKey) -> str:
    """What stands for a series in the database; the names of parameters are the benchmark's."""
    names = (clean(part) for part in (key.benchmark, key.version, key.machine, key.environment))
    return digest_of(*names, [value for _, value in key.params])


def series_key(row: AnyRow, names: tuple[str, ...], values: tuple[str, ...]) -> SeriesKey:
    """The key of a row with the columns of `read.series_columns`."""
    if len(names) != len(values):
        names = tuple(f"param{i + 1}" for i in range(len(values)))  # asv's own default
    return SeriesKey(
        row.name, row.version, tuple(zip(names, values, strict=True)), row.machine, row.environment
    )


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


def result_from(row: AnyRow, key: SeriesKey) -> Result:
    """A result of a series from its row, which has the commit's hash and the unit, too."""
    return Result(
        key=key,
        commit=row.hash,
        status=STATUS[row.status],
        value=row.value,
        unit=row.unit,
        samples=unpack(row.samples),
        number=row.number,
        ci_lo=row.ci_lo,
        ci_hi=row.ci_hi,
        started_at=row.started_at,
        duration_s=row.duration_s,
    )


def _no_nan(value: float | None) -> float | None:
    return None if value != value else value
