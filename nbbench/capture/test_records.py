"""The record of the pytest plugin (nbbench/capture/evidence_plugin): copied without credentials, and read;
the profiler's trace, made small enough for an evidence folder.

A record may be cut short: a killed run ends in half a line.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbbench.captured import TestRecord, TestRun
from nbbench.record.atomic import write_bytes
from nbbench.record.redact import redact_value

# Both logs may take 7 MB of a folder's 20, a profile 5.
MAX_RECORD_BYTES = 2_000_000
# The plugin bounds its lines well below this; a longer one is somebody else's.
_MAX_LINE = 4_000_000
_SESSION = (
    *("python", "executable", "packages", "packages_after", "pytest", "torch", "cores", "capture_off"),
    "exit_status",
)


def copy_record(source: Path, target: Path, secrets: tuple[str, ...]) -> str:
    """Copy the JSON lines without credentials; returns a note about lines left out, or nothing.

    Every string is redacted by itself, so that a line stays JSON. Nothing is written when there is no
    record. Raises OSError when the disk refuses.
    """
    if not source.exists():
        return ""
    written = left_out = 0
    target.unlink(missing_ok=True)  # the command may have put a link there
    with source.open("rb") as stream, target.open("xb") as copy:
        while line := stream.readline(_MAX_LINE):
            try:
                found = redact_value(json.loads(line), secrets)
                clean = (json.dumps(found, ensure_ascii=False) + "\n").encode("utf-8", "replace")
            except ValueError:  # the run was killed while it wrote this line
                clean = b""
            if not clean or written + len(clean) > MAX_RECORD_BYTES:
                left_out += 1
                continue
            written += copy.write(clean)
    return f"{left_out} lines of the test records are left out: too long, or cut off" if left_out else ""


def read_test_records(path: Path) -> TestRun:
    """The run that a record tells of; an empty one when there is no file."""
    try:
        with path.open("rb") as stream:
            return parse_test_records(iter(lambda: stream.readline(_MAX_LINE), b""))
    except FileNotFoundError:
        return TestRun()
    except OSError as error:
        return TestRun(problems=(f"the plugin's record cannot be read: {error.strerror or error}",))


def parse_test_records(lines: Iterable[bytes]) -> TestRun:
    """The run that these lines tell of. Lines that cannot be used are left out, and counted."""
    known: dict[str, Any] = {"problems": []}
    unreadable = 0
    tests: dict[str, TestRecord] = {}  # by nodeid, in the order of their beginning
    for data in filter(bytes.strip, lines):
        try:
            _take(msgspec.json.decode(data, type=dict[str, Any]), known, tests)
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, RecursionError):
            unreadable += 1
    if unreadable:
        known["problems"].append(f"{unreadable} lines of the test records could not be read")
    return msgspec.convert({**known, "tests": tuple(tests.values())}, TestRun)


def _take(line: Mapping[str, Any], known: dict[str, Any], tests: dict[str, TestRecord]) -> None:
    """One line; those of several workers of xdist come interleaved, and the controller repeats beginnings."""
    kind = line["kind"]
    if kind == "start":
        tests.setdefault(msgspec.convert(line["nodeid"], str), TestRecord(line["nodeid"], "interrupted"))
    elif kind == "test":
        test = msgspec.convert(line, TestRecord)
        if test.nodeid not in tests or tests[test.nodeid].outcome == "interrupted":
            tests[test.nodeid] = test
    elif kind in ("session_start", "session_finish"):
        session = {name: line[name] for name in _SESSION if name in line}
        msgspec.convert(session, TestRun)
        known.update(session, started=True)
    elif kind == "collect_error":
        known["problems"].append(f"{line['nodeid']} could not be collected")
    elif kind == "problem":
        known["problems"].append(f"the pytest plugin met a problem: {line['text']}")


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
