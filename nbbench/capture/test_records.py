"""The record of the pytest plugin (nbbench/capture/evidence_plugin): copied without credentials, and read.

A record may be cut short: a killed run ends in half a line.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nbbench.captured import CallUsage, OperatorCost, TestRecord, TestRun
from nbbench.record.redact import redact_value

_SCHEMA = 1
_USAGE = {field.name: field.default for field in dataclasses.fields(CallUsage)}
# Both logs may take 12 MB of a folder's 20, a profile 5.
MAX_RECORD_BYTES = 2_000_000
# The plugin bounds its lines well below this; a longer one is somebody else's.
_MAX_LINE = 4_000_000


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
    """The run that these lines tell of. Lines that cannot be used are counted and left out."""
    record = _Record()
    for data in lines:
        if not data.strip():
            continue
        try:
            line = json.loads(data)
            if not isinstance(line, dict) or line.get("schema") != _SCHEMA:
                raise ValueError("not a line of this schema")
            record.take(str(line["kind"]), line)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            record.unreadable += 1
    return record.run()


class _Record:
    """Collects lines; those of several xdist workers come interleaved."""

    def __init__(self) -> None:
        self.session: dict[str, Any] = {}
        self.phases: dict[str, list[Mapping[str, Any]]] = {}  # by nodeid, in the order of their beginning
        self.workers: dict[str, str] = {}
        self.terminated: dict[str, Mapping[str, Any]] = {}
        self.uncollected: list[str] = []
        self.exit_statuses: list[int] = []
        self.operators: dict[str, list[float]] = {}
        self.problems: list[str] = []
        self.unreadable = 0

    def take(self, kind: str, line: Mapping[str, Any]) -> None:
        """One line; raises ValueError, TypeError or KeyError where it lacks what it should have."""
        if kind == "session_start":
            self.session = {"started": True, **line, **self.session}
        elif kind in ("start", "phase"):
            nodeid = str(line["nodeid"])
            if kind == "phase":
                _ = line["phase"], line["outcome"], _float(line["duration_s"])  # all there, or no phase
                self.phases.setdefault(nodeid, []).append(line)
            self.workers[nodeid] = str(line.get("worker", ""))
            self.phases.setdefault(nodeid, [])
        elif kind == "session_finish":
            self.exit_statuses.append(int(_float(line["exit_status"])))
            self.session |= {"torch": line["torch"]} if line.get("torch") else {}
        elif kind == "collect_error":
            self.uncollected.append(str(line["nodeid"]))
        elif kind == "terminated":
            self.terminated[str(line.get("worker", ""))] = line
        elif kind == "profile":
            for row in line["operators"]:
                total = self.operators.setdefault(str(row["operator"]), [0, 0.0, 0.0])
                for place, name in enumerate(("calls", "self_s", "total_s")):
                    total[place] += _float(row[name])
        elif kind == "problem":
            self.problems.append(f"{line['where']}: {line['message']}")

    def run(self) -> TestRun:
        """What the lines add up to."""
        ranked = sorted(self.operators.items(), key=lambda item: -item[1][1])
        cores = self.session.get("cores", 0)
        return TestRun(
            started=bool(self.session.get("started")),
            tests=tuple(self._tests()),
            uncollected=tuple(self.uncollected),
            exit_status=max(self.exit_statuses, default=None),
            cores=cores if isinstance(cores, int) else 0,
            capture_off=self.session.get("capture") == "no",
            operators=tuple(OperatorCost(name, int(n), own, total) for name, (n, own, total) in ranked),
            problems=tuple(dict.fromkeys(self.problems)),
            unreadable=self.unreadable,
            **{name: str(self.session.get(name, "")) for name in ("python", "pytest", "torch")},
        )

    def _tests(self) -> Iterator[TestRecord]:
        for nodeid, phases in self.phases.items():
            ended = any(phase["phase"] == "teardown" for phase in phases)
            last = self.terminated.get(self.workers[nodeid], {}) if not ended else {}
            telling = next((p for p in phases if p["outcome"] != "passed"), {})
            call: Mapping[str, Any] = next((p for p in phases if p["phase"] == "call"), {})
            yield TestRecord(
                nodeid=nodeid,
                outcome=_outcome(phases) if ended else "interrupted",
                duration_s=sum(_float(p["duration_s"]) for p in phases),
                message=str(telling.get("message", "")),
                longrepr=str(telling.get("longrepr", "")),
                usage=_usage(call.get("usage")),
                held=_pairs(call.get("held")),
                stdout="".join(str(p.get("stdout", "")) for p in (*phases, last)),
                stderr="".join(str(p.get("stderr", "")) for p in (*phases, last)),
            )


def _outcome(phases: Iterable[Mapping[str, Any]]) -> str:
    word = "passed"
    for phase in phases:
        outcome = phase["outcome"]
        if outcome == "failed":
            return "failed" if phase["phase"] == "call" else "error"
        if "xfail" in phase:
            word = "xfailed" if outcome == "skipped" else "xpassed"
        elif outcome == "skipped":
            word = "skipped"
    return word


def _usage(plain: Any) -> CallUsage | None:
    if not isinstance(plain, dict) or not plain:
        return None
    found: dict[str, Any] = {}
    for name, default in _USAGE.items():
        try:
            value = _float(plain.get(name, default))
        except (ValueError, TypeError):
            continue
        found[name] = int(value) if isinstance(default, int) else value
    return CallUsage(**found)


def _pairs(plain: Any) -> tuple[tuple[str, str], ...]:
    rows = plain if isinstance(plain, list) else []
    return tuple((str(row[0]), str(row[1])) for row in rows if isinstance(row, list) and len(row) == 2)


def _float(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
