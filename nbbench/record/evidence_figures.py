"""The figures of an evidence folder's metrics.json, whoever wrote it; no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nbbench.evidence import EvidenceFigure

_MAX_FIGURES = 2_000
_USAGE = {
    "elapsed_s": ("elapsed", "seconds"),
    "user_s": ("user time", "seconds"),
    "system_s": ("system time", "seconds"),
    "max_rss_bytes": ("largest resident memory", "bytes"),
    "minor_faults": ("minor faults", "faults"),
}
_LEDGER = {
    "ops": ("ledger ops", "operations"),
    "bytes_per_pixel": ("ledger bytes_per_pixel", "B/pixel"),
    "peak_live_bytes": ("ledger peak_live_bytes", "B (exact)"),
}
_HEAD_KEYS = frozenset({"schema", "stamp", "cluster", "commit", "exit_code", "tree", "status", "verdict"})


def figures_of(metrics: Mapping[str, Any]) -> Iterator[EvidenceFigure]:
    """The figures of a metrics.json: of an export (`series`), of a capture (`figures`), or any number.

    Series and named figures come first; of other documents every number, named by its path.
    """
    known = ("series", "figures", "metrics", "checks")
    seen: dict[tuple[str, str], int] = {}
    for count, figure in enumerate(_all_figures(metrics, known)):
        if count >= _MAX_FIGURES:
            return
        key = figure.name, figure.workload
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:  # a test prints the same label again: the second, the third …
            figure = replace(figure, name=f"{figure.name} #{seen[key]}")
        yield figure


def _all_figures(metrics: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[EvidenceFigure]:
    for key in known:
        for item in _items(metrics.get(key)):
            if figure := _named(item):
                yield replace(figure, name=f"check: {figure.name}") if key == "checks" else figure
    for test in _items(metrics.get("tests")):
        yield from _picked(test, {"duration_s": ("duration", "seconds")}, str(test.get("test", "")))
    yield from _trials(metrics.get("diagnosis"))
    for ledger in _items(metrics.get("ledgers")):
        if not ledger.get("error"):
            yield from _picked(ledger, _LEDGER, str(ledger.get("workload", "")))
    usage = metrics.get("usage")
    yield from _picked(usage if isinstance(usage, Mapping) else {}, _USAGE, "the whole run")
    ceilings = metrics.get("ceiling_bytes_per_s")
    for name, value in ceilings.items() if isinstance(ceilings, Mapping) else ():
        yield from _picked({"rate": value}, {"rate": (f"{name} ceiling", "B/s")}, "")
    if not str(metrics.get("schema", "")).startswith("nbbench.metrics"):
        yield from _flattened("", metrics)


def _trials(diagnosis: Any) -> Iterator[EvidenceFigure]:
    """The experiment on malloc of a capture: both settings' times and faults, and the penalty."""
    if not isinstance(diagnosis, Mapping):
        return
    yield from _picked(diagnosis, {"copy_bytes_per_s": ("copy ceiling", "B/s")}, "diagnosis")
    for trial in _items(diagnosis.get("trials")):
        what = f"{trial.get('size')}² {trial.get('dtype')}"
        yield from _picked(trial, {"penalty": (f"malloc penalty {what}", "ratio")}, "diagnosis")
        for setting in ("default", "pinned"):
            timing = trial.get(setting)
            wanted = {
                "wall_s": (f"time {what}, {setting} malloc", "seconds"),
                "minor_faults": (f"minor faults {what}, {setting} malloc", "faults"),
            }
            yield from _picked(timing if isinstance(timing, Mapping) else {}, wanted, "diagnosis")


def _items(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, Mapping))


def _picked(
    item: Mapping[str, Any], wanted: Mapping[str, tuple[str, str]], workload: str
) -> Iterator[EvidenceFigure]:
    for key, (name, unit) in wanted.items():
        if (number := _number(item.get(key))) is not None:
            yield EvidenceFigure(name, number, unit, workload)


def _named(item: Mapping[str, Any]) -> EvidenceFigure | None:
    value = _number(item.get("value"))
    name = item.get("series") or item.get("name")
    if value is None or not name or item.get("status", "ok") != "ok":
        return None
    extra = [f"{item['size']}²"] if item.get("size") else []
    extra += [str(item["dtype"])] if item.get("dtype") else []
    text = str(name) + "".join(f" {word}" for word in extra if word not in str(name))
    workload = item.get("test") or item.get("workload") or ""
    low, high = _number(item.get("value_lo")), _number(item.get("value_hi"))
    spread = (high - low) / 2 if low is not None and high is not None else _number(item.get("resolution"))
    asked = {">": True, "<": False}.get(str(item.get("op") or "")[:1])
    return EvidenceFigure(
        text, value, str(item.get("unit") or ""), str(workload), max(0.0, spread or 0.0), asked
    )


def _flattened(prefix: str, value: Any, depth: int = 0) -> Iterator[EvidenceFigure]:
    if (number := _number(value)) is not None and prefix:
        yield EvidenceFigure(prefix, number)
    elif depth < 8 and isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in pairs:
            if depth or key not in _HEAD_KEYS:
                yield from _flattened(f"{prefix}.{key}" if prefix else str(key), item, depth + 1)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
