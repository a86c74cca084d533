"""Reading the record of the pytest plugin (nbbench/capture/evidence_plugin), whole or cut short."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nbbench.captured import CallUsage, OperatorCost, TestRecord, TestRun

_SCHEMA = 1
_USAGE = {field.name: field.default for field in dataclasses.fields(CallUsage)}
_STREAMS = ("stdout", "stderr", "log")
_MAX_LINE_BYTES = 16 * 2**20  # far above what the plugin writes for one phase


def read_test_records(path: Path) -> TestRun:
    """The run that a record tells of; an empty one when there is no file.

    Lines that are cut short or damaged are counted and left out: a killed run ends in one.
    """
    reader = _Reader()
    try:
        with path.open("rb") as stream:
            for line in iter(lambda: stream.readline(_MAX_LINE_BYTES), b""):
                reader.feed(line)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            reader.problems.append(f"the plugin's record cannot be read: {error.strerror or error}")
    return reader.run()


def parse_test_records(lines: Iterable[bytes]) -> TestRun:
    """The run that these lines tell of; see `read_test_records`."""
    reader = _Reader()
    for line in lines:
        reader.feed(line)
    return reader.run()


class _Reader:
    """Collects lines; the lines of several xdist workers come interleaved."""

    def __init__(self) -> None:
        self.started = False
        self.session: dict[str, Any] = {}
        self.phases: dict[str, list[Mapping[str, Any]]] = {}
        self.begun: dict[str, str] = {}  # tests by nodeid, with the worker that runs them
        self.collected = 0
        self.collect_errors: list[tuple[str, str]] = []
        self.exit_statuses: list[int] = []
        self.warnings = 0
        self.warning_texts: list[str] = []
        self.terminated: dict[str, Mapping[str, Any]] = {}
        self.operators: dict[str, list[float]] = {}
        self.profiled_s = 0.0
        self.problems: list[str] = []
        self.unreadable = 0

    def feed(self, data: bytes) -> None:
        """Take one line."""
        if not data.strip():
            return
        try:
            line = json.loads(data)
            if not isinstance(line, dict) or line.get("schema") != _SCHEMA:
                raise ValueError("not a line of this schema")
            self._take(str(line["kind"]), line)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            self.unreadable += 1

    def _take(self, kind: str, line: Mapping[str, Any]) -> None:
        if kind == "session_start":
            self.started = True
            self.session = {**line, **self.session}
        elif kind == "start":
            self.begun[str(line["nodeid"])] = str(line.get("worker", ""))
        elif kind == "phase":
            nodeid = str(line["nodeid"])
            _ = line["phase"], line["outcome"], _float(line["duration_s"])  # all there, or no phase
            self.begun.setdefault(nodeid, str(line.get("worker", "")))
            self.phases.setdefault(nodeid, []).append(line)
        elif kind == "session_finish":
            self._finish(line)
        else:
            self._take_rare(kind, line)

    def _finish(self, line: Mapping[str, Any]) -> None:
        self.exit_statuses.append(_int(line["exit_status"]))
        self.warnings += _int(line.get("warnings", 0))
        for name in ("torch", "torch_threads"):
            if line.get(name):
                self.session[name] = line[name]

    def _take_rare(self, kind: str, line: Mapping[str, Any]) -> None:
        if kind == "collected":
            self.collected = max(self.collected, _int(line["count"]))  # every worker collects all
        elif kind == "collect_error":
            self.collect_errors.append((str(line["nodeid"]), str(line["longrepr"])))
        elif kind == "warning":
            self.warning_texts.append(str(line["message"]))
        elif kind == "terminated":
            self.terminated[str(line.get("worker", ""))] = line
        elif kind == "profile":
            self.profiled_s += _float(line["self_s_in_all"])
            for row in line["operators"]:
                total = self.operators.setdefault(str(row["operator"]), [0, 0.0, 0.0])
                for place, name in enumerate(("calls", "self_s", "total_s")):
                    total[place] += _float(row[name])
        elif kind in ("problem", "note"):
            where = f"{line['where']}: " if "where" in line else ""
            self.problems.append(f"{where}{line['message']}")

    def run(self) -> TestRun:
        """What the lines add up to."""
        ranked = sorted(self.operators.items(), key=lambda item: -item[1][1])
        tests = tuple(self._tests())
        usages = [test.usage for test in tests if test.usage is not None]
        return TestRun(
            started=self.started,
            tests=tests,
            collect_errors=tuple(self.collect_errors),
            collected=self.collected,
            exit_status=max(self.exit_statuses, default=None),
            python=str(self.session.get("python", "")),
            pytest=str(self.session.get("pytest", "")),
            torch=str(self.session.get("torch", "")),
            torch_threads=max((u.torch_threads for u in usages), default=0),
            cores=_int(self.session.get("cores", 0)),
            warnings=self.warnings,
            warning_texts=tuple(dict.fromkeys(self.warning_texts)),
            terminated_by=max((_int(t.get("signal", 0)) for t in self.terminated.values()), default=0),
            capture_off=self.session.get("capture") == "no",
            operators=tuple(OperatorCost(name, int(n), own, total) for name, (n, own, total) in ranked),
            profiled_s=self.profiled_s,
            problems=tuple(dict.fromkeys(self.problems)),
            unreadable=self.unreadable,
        )

    def _tests(self) -> Iterator[TestRecord]:
        for nodeid, worker in self.begun.items():
            phases = self.phases.get(nodeid, [])
            streams = {name: "".join(str(p.get(name, "")) for p in phases) for name in _STREAMS}
            ended = any(p["phase"] == "teardown" for p in phases)
            if not ended and (last := self.terminated.get(worker)):
                for name in ("stdout", "stderr"):
                    streams[name] += str(last.get(name, ""))
            telling = next((p for p in phases if p["outcome"] != "passed"), {})
            call: Mapping[str, Any] = next((p for p in phases if p["phase"] == "call"), {})
            yield TestRecord(
                nodeid=nodeid,
                outcome=_outcome(phases) if ended else "interrupted",
                duration_s=sum(_float(p["duration_s"]) for p in phases),
                message=str(telling.get("message", "")),
                longrepr=str(telling.get("longrepr", "")),
                usage=_usage(call.get("usage")),
                numbers=_numbers(telling.get("numbers")),
                assertions=_assertions(call.get("assertions")),
                **streams,
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
    told: dict[str, Any] = {}
    for name, default in _USAGE.items():
        try:
            value = _float(plain.get(name, default))
        except (ValueError, TypeError):
            continue
        told[name] = int(value) if isinstance(default, int) else value
    return CallUsage(**told)


def _numbers(plain: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(plain, dict):
        return ()
    return tuple(
        (str(k), float(v)) for k, v in plain.items() if isinstance(v, int | float) and math.isfinite(v)
    )


def _assertions(plain: Any) -> tuple[str, ...]:
    rows = plain if isinstance(plain, list) else []
    return tuple(str(row.get("text", "")) for row in rows if isinstance(row, dict))


def _float(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not an integer")
    return value
