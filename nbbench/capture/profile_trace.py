"""The profiler's trace made small enough for an evidence folder, still one that viewers open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbbench.record.atomic import write_bytes
from nbbench.record.redact import redact_value

MAX_TRACE_BYTES = 5 * 1024 * 1024  # what the subject's automation commits at most
# A trace is parsed as a whole; beyond this that would take several GB of memory.
_MAX_RAW_BYTES = 300 * 1024 * 1024
_RESERVE = 1024  # metadata and the note about what was dropped
_KEPT_KEYS = ("schemaVersion", "displayTimeUnit", "baseTimeNanoseconds", "traceName")


def keep_trace(path: Path, folder: Path, secrets: tuple[str, ...]) -> list[str]:
    """Write the trace at `path` into the folder, small enough and without credentials; gives notes.

    Raises HostError when the disk refuses.
    """
    try:
        found, note = trimmed_trace(path)
    except FileNotFoundError:
        return [f"{path.name} was not written: the test ended before its profile did"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        return [f"{path.name} is left out: it is no trace that can be read ({error})"]
    write_bytes(folder / path.name, _dump(redact_value(found, secrets)))
    return [note] if note else []


def trimmed_trace(path: Path, limit: int = MAX_TRACE_BYTES) -> tuple[dict[str, Any], str]:
    """The Chrome trace at `path` within `limit` bytes, and a note about what was dropped.

    The longest events stay, and whatever names threads stays too. Raises OSError, ValueError or TypeError
    for a file that is no trace.
    """
    if path.stat().st_size > _MAX_RAW_BYTES:
        raise ValueError(f"{path.stat().st_size:,} bytes are too many to trim")
    trace = json.loads(path.read_bytes(), parse_constant=lambda _: None)  # strict JSON has no NaN
    events = [event for event in trace["traceEvents"] if isinstance(event, dict)]
    timed = sorted((e for e in events if e.get("ph") == "X"), key=lambda e: _number(e, "dur"), reverse=True)
    names = [event for event in events if event.get("ph") == "M"]
    room, kept = limit - _RESERVE, []
    for event in (*names, *timed):
        room -= len(_dump(event)) + 1
        if room < 0:
            break
        kept.append(event)
    dropped = max(0, len(timed) + len(names) - len(kept))
    kept.sort(key=lambda event: (event.get("ph") != "M", _number(event, "ts")))
    head = {key: trace[key] for key in _KEPT_KEYS if key in trace}
    note = f"{path.name} keeps the {len(timed) - dropped:,} longest of {len(timed):,} events"
    return {**head, "traceEvents": kept}, note if dropped else ""


def _number(event: Mapping[str, Any], name: str) -> float:
    value = event.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
