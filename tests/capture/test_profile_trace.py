"""Traces of the profiler, made small enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nbbench.capture.test_records import keep_trace, trimmed_trace


def write(path: Path, events: list[Any], **more: Any) -> Path:
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events, **more}))
    return path


def event(number: int, duration: float) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": f"aten::op{number}",
        "ts": number,
        "dur": duration,
        "tid": 1,
        "args": {"x": "y" * 200},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "evidence").mkdir()
    return tmp_path / "evidence"


def test_a_small_trace_stays_whole(tmp_path: Path, folder: Path) -> None:
    events = [{"ph": "M", "name": "thread_name"}, event(1, 5.0), event(0, 2.5)]
    assert keep_trace(write(tmp_path / "profile.json", events), folder, ()) == []
    trace = json.loads((folder / "profile.json").read_text())
    assert [e["name"] for e in trace["traceEvents"]] == ["thread_name", "aten::op0", "aten::op1"]
    assert trace["schemaVersion"] == 1


def test_of_a_large_one_the_longest_events_stay_and_what_went_is_said(tmp_path: Path) -> None:
    events = [{"ph": "M", "name": "process_name"}, *(event(i, float(i)) for i in range(2_000))]
    trace, note = trimmed_trace(write(tmp_path / "profile.json", events), limit=200_000)
    assert len(json.dumps(trace, separators=(",", ":"))) <= 200_000
    kept = [e["dur"] for e in trace["traceEvents"] if e["ph"] == "X"]
    assert trace["traceEvents"][0]["name"] == "process_name"
    assert sorted(kept) == [float(i) for i in range(2_000 - len(kept), 2_000)] and len(kept) > 300
    assert f"keeps the {len(kept):,} longest of 2,000 events" in note


def test_a_credential_in_a_trace_is_taken_out(tmp_path: Path, folder: Path) -> None:
    secret = "correct-horse-" + "Xy7" * 5
    keep_trace(write(tmp_path / "profile.json", [{**event(0, 1.0), "name": secret}]), folder, (secret,))
    assert secret not in (folder / "profile.json").read_text()


def test_numbers_that_are_none_become_strict_json(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(
        '{"traceEvents": [{"ph": "X", "dur": NaN, "ts": 1}, {"ph": "X", "dur": 1, "ts": Infinity}]}'
    )
    assert keep_trace(path, folder, ()) == []
    json.loads((folder / "profile.json").read_text(), parse_constant=lambda name: 1 / 0)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"traceEvents": 3}', b"{}"])
def test_what_is_no_trace_is_named(tmp_path: Path, folder: Path, content: bytes) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(content)
    (note,) = keep_trace(path, folder, ())
    assert "profile.json is left out" in note and list(folder.iterdir()) == []


def test_a_trace_that_was_never_written_is_said(tmp_path: Path, folder: Path) -> None:
    (note,) = keep_trace(tmp_path / "profile.json", folder, ())
    assert "was not written" in note
