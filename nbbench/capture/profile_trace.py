"""The profiler's trace made small enough for an evidence folder, still a trace that viewers open."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MAX_TRACE_BYTES = 5 * 1024 * 1024  # what the subject's automation commits at most
# A trace is parsed as a whole; beyond this that would take several GB of memory.
MAX_RAW_BYTES = 300 * 1024 * 1024
_RESERVE = 64 * 1024  # metadata and the note about what was dropped
_KEPT_KEYS = ("schemaVersion", "displayTimeUnit", "baseTimeNanoseconds", "traceName")


def trimmed_trace(
    path: Path, operators: Iterable[Mapping[str, Any]] = (), limit: int = MAX_TRACE_BYTES
) -> tuple[bytes | None, str]:
    """The Chrome trace at `path` within `limit` bytes, and a note about what was dropped.

    The longest events stay, whatever names threads stays too, and `operators` (a summary over
    all events) is added under `nbbench`. None, with the reason, when there is no usable trace.
    """
    try:
        size = path.stat().st_size
        if size > MAX_RAW_BYTES:
            return None, f"{path.name} is left out: {size:,} bytes are too many to trim"
        trace = json.loads(path.read_bytes(), parse_constant=lambda _: None)  # strict JSON has no NaN
    except FileNotFoundError:
        return None, f"{path.name} was not written: the test ended before its profile did"
    except (OSError, ValueError, RecursionError) as error:
        return None, f"{path.name} is left out: it cannot be read ({type(error).__name__})"
    events = trace.get("traceEvents") if isinstance(trace, dict) else None
    if not isinstance(events, list):
        return None, f"{path.name} is left out: it is no trace"
    return _fit(trace, [e for e in events if isinstance(e, dict)], list(operators), limit)


def _fit(
    trace: Mapping[str, Any], events: list[dict[str, Any]], operators: list[Any], limit: int
) -> tuple[bytes, str]:
    timed = sorted((e for e in events if e.get("ph") == "X"), key=_duration, reverse=True)
    names = [e for e in events if e.get("ph") == "M"]
    room = limit - _RESERVE - len(_dump(operators))
    kept: list[dict[str, Any]] = []
    for event in (*names, *timed):
        room -= len(_dump(event)) + 1
        if room < 0:
            break
        kept.append(event)
    shown = sum(e.get("ph") == "X" for e in kept)
    shortest = _duration(timed[shown - 1]) if 0 < shown < len(timed) else 0.0
    summary = {
        "events": len(timed),
        "events_kept": shown,
        "shortest_kept_us": shortest,
        "other_events_dropped": len(events) - len(timed) - (len(kept) - shown),
        "operators": operators,
    }
    kept.sort(key=lambda e: (e.get("ph") != "M", _number(e.get("ts"))))
    head = {key: trace[key] for key in _KEPT_KEYS if isinstance(trace.get(key), str | int | float)}
    data = _dump({**head, "nbbench": summary, "traceEvents": kept})
    dropped = len(timed) - shown
    note = f"the trace keeps the {shown:,} longest of {len(timed):,} events" if dropped else ""
    return data, f"{note} (those below {shortest:g} µs are dropped)" if dropped else ""


def _duration(event: Mapping[str, Any]) -> float:
    return _number(event.get("dur"))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
