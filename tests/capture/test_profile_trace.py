"""Traces of the profiler, made small enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nbbench.capture.profile_trace import trimmed_trace


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


def test_a_small_trace_stays_whole(tmp_path: Path) -> None:
    events = [{"ph": "M", "name": "thread_name"}, event(1, 5.0), event(0, 2.5)]
    data, note = trimmed_trace(write(tmp_path / "profile.json", events), [{"operator": "aten::mul"}])
    assert data is not None and not note
    trace = json.loads(data)
    assert [e["name"] for e in trace["traceEvents"]] == ["thread_name", "aten::op0", "aten::op1"]
    assert trace["nbbench"]["operators"] == [{"operator": "aten::mul"}] and trace["schemaVersion"] == 1


def test_of_a_large_one_the_longest_events_stay_and_what_went_is_said(tmp_path: Path) -> None:
    events = [{"ph": "M", "name": "process_name"}, *(event(i, float(i)) for i in range(2_000))]
    data, note = trimmed_trace(write(tmp_path / "profile.json", events), limit=200_000)
    assert data is not None and len(data) <= 200_000
    trace = json.loads(data)
    kept = [e["dur"] for e in trace["traceEvents"] if e["ph"] == "X"]
    assert trace["traceEvents"][0]["name"] == "process_name"
    assert sorted(kept) == [float(i) for i in range(2_000 - len(kept), 2_000)] and len(kept) > 300
    assert trace["nbbench"]["events"] == 2_000 and trace["nbbench"]["events_kept"] == len(kept)
    assert f"keeps the {len(kept):,} longest of 2,000 events" in note


def test_numbers_that_are_none_become_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(
        '{"traceEvents": [{"ph": "X", "dur": NaN, "ts": 1}, {"ph": "X", "dur": 1, "ts": Infinity}]}'
    )
    data, _ = trimmed_trace(path)
    assert data is not None
    json.loads(data, parse_constant=lambda name: 1 / 0)


def test_what_is_no_trace_is_named(tmp_path: Path) -> None:
    for content, why in ((b"", "cannot be read"), (b"[1]", "no trace"), (b'{"traceEvents": 3}', "no trace")):
        path = tmp_path / "profile.json"
        path.write_bytes(content)
        data, note = trimmed_trace(path)
        assert data is None and why in note
    data, note = trimmed_trace(tmp_path / "missing.json")
    assert data is None and "was not written" in note
