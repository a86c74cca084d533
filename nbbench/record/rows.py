"""Series and files in rows; what follows the nouns field by field is in `schema`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from nbbench.model import SeriesKey
from nbbench.record.shapes import AnyRow, dumps
from nbbench.record.values import storable


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
    names = (storable(part) for part in (key.benchmark, key.version, key.machine, key.environment))
    return digest_of(*names, [value for _, value in key.params])


def series_key(row: AnyRow, names: tuple[str, ...], values: tuple[str, ...]) -> SeriesKey:
    """The key of a row with the columns of `read.series_columns`."""
    if len(names) != len(values):
        names = tuple(f"param{i + 1}" for i in range(len(values)))  # asv's own default
    return SeriesKey(
        row.name, row.version, tuple(zip(names, values, strict=True)), row.machine, row.environment
    )
