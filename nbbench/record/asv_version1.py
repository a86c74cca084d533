"""asv's result files of version 1 (before asv 0.5), converted in memory as `asv update` converts them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_STATS = ("ci_99_a", "ci_99_b", "q_25", "q_75", "number", "repeat")
_NAMED = ("version", "started_at", "duration")
COLUMNS = ("result", "params", *_NAMED, *(f"stats_{name}" for name in _STATS), "samples")
_NOT_IN_NAMES = re.compile('[<>:"/\\^|?*\x00-\x1f]')


def from_version1(old: Mapping[str, Any]) -> dict[str, Any]:
    """A result file of version 1 as one of version 2, without profiles.

    Raises KeyError, TypeError, ValueError or AttributeError for one that asv would not convert.
    """
    keys = {"version": "benchmark_version"}
    by_name = {column: old.get(keys.get(column, column), {}) for column in _NAMED}
    kept = ("commit_hash", "date", "params", "python", "requirements")
    return {
        **{name: old[name] for name in kept},
        "env_name": old.get("env_name", _environment(old["python"], old["requirements"])),
        "result_columns": list(COLUMNS),
        "results": {
            name: _row(value, {column: found.get(name) for column, found in by_name.items()})
            for name, value in sorted(old["results"].items())
        },
        "version": 2,
    }


def _row(value: Any, more: Mapping[str, Any]) -> list[Any]:
    """A benchmark's row: its value stands alone, or in an object with parameters, samples and statistics."""
    one = value if isinstance(value, dict) else {"result": value}
    stats = one.get("stats")
    stats = stats if stats is None or isinstance(stats, list) else [stats]
    result = one["result"]
    cells = {
        **more,
        "result": result if isinstance(result, list) else [result],
        "params": one.get("params") or [],
        "samples": one.get("samples"),
        "duration": _rounded(more["duration"]),
    }
    for name in _STATS:
        cells[f"stats_{name}"] = None if stats is None else [_figure(each, name) for each in stats]
    return [None if name != "params" and _is_empty(cells[name]) else cells[name] for name in COLUMNS]


def _figure(stats: Mapping[str, Any] | None, name: str) -> Any:
    if stats is None:
        return None
    if name.startswith("ci_99"):
        return _rounded(stats["ci_99"][name.endswith("b")])
    return _rounded(stats.get(name))


def _rounded(value: Any) -> Any:
    """A figure with five significant digits, as asv keeps statistics and durations."""
    return float(f"{value:.4e}") if isinstance(value, float) else value


def _is_empty(cell: Any) -> bool:
    return isinstance(cell, list) and all(part is None for part in cell)


def _environment(python: str, requirements: Mapping[str, str]) -> str:
    """asv's name of an environment of which only Python and the requirements are known."""
    parts = [f"py{python}", *(f"{name}{version or ''}" for name, version in sorted(requirements.items()))]
    return _NOT_IN_NAMES.sub("_", "-".join(parts))
