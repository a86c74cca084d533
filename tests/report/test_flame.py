"""Flame views: speedscope's file format as its schema has it, and folded stacks."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import work_samples as work
from work_cases import BASE_STACKS, HEAD_STACKS, stacks

from nbbench.cli.flame import write_flame
from nbbench.ledger import StackCost
from nbbench.report.flame import (
    SPEEDSCOPE_SCHEMA,
    FlameProfile,
    difference,
    folded,
    folded_difference,
    speedscope,
)


def written(*profiles: FlameProfile) -> dict:
    return json.loads(speedscope("a → b", profiles))


def check_schema(content: dict) -> None:
    """What https://www.speedscope.app/file-format-schema.json demands of sampled profiles."""
    assert content["$schema"] == SPEEDSCOPE_SCHEMA
    assert {"profiles", "shared"} <= content.keys()
    frames = content["shared"]["frames"]
    for frame in frames:
        assert isinstance(frame["name"], str) and frame["name"]
        assert set(frame) <= {"name", "file", "line", "col"}
        assert isinstance(frame.get("line", 1), int)
    assert 0 <= content["activeProfileIndex"] < len(content["profiles"])
    for profile in content["profiles"]:
        assert profile.keys() == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert profile["type"] == "sampled"
        assert profile["unit"] in ("none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes")
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= index < len(frames) for sample in profile["samples"] for index in sample)
        assert all(weight > 0 for weight in profile["weights"])
        assert profile["endValue"] - profile["startValue"] == sum(profile["weights"])


def test_speedscope_follows_its_schema_and_keeps_every_byte() -> None:
    content = written(FlameProfile("base", tuple(BASE_STACKS)), FlameProfile("head", tuple(HEAD_STACKS)))
    check_schema(content)
    assert [p["endValue"] for p in content["profiles"]] == [120, 140]
    frames = content["shared"]["frames"]
    first = [frames[i] for i in content["profiles"][0]["samples"][0]]
    assert first[0] == {"name": "Simulator.run", "file": "nanobrag_torch/simulator.py", "line": 12}
    assert first[-1] == {"name": "mul float32"}


def test_stacks_without_bytes_or_frames() -> None:
    empty = StackCost((), "sum", "float32", 1, 8)
    content = written(FlameProfile("x", (empty, *stacks(("a.py:1 f", 0)))))
    check_schema(content)
    assert [f["name"] for f in content["shared"]["frames"]] == ["(benchmark)", "sum float32"]
    assert folded([empty]) == "(benchmark);sum float32 8\n"


def test_equal_stacks_differ_in_nothing() -> None:
    assert difference(BASE_STACKS, BASE_STACKS) == ([], [])


def test_moved_lines_are_no_difference() -> None:
    more, less = difference(BASE_STACKS, HEAD_STACKS)
    assert [(one.frames[0], one.bytes) for one in more] == [
        ("nanobrag_torch/simulator.py:33 Simulator.run", 20)
    ]
    assert less == []
    more, less = difference(HEAD_STACKS, BASE_STACKS)
    assert (more, [one.bytes for one in less]) == ([], [20])


def test_differences_add_up() -> None:
    more, less = difference(BASE_STACKS, [*HEAD_STACKS[1:], *stacks(("new.py:1 g", 7))])
    total = sum(one.bytes for one in more) - sum(one.bytes for one in less)
    assert total == (60 + 7) - 120


def test_folded_stacks_are_one_line_each_and_cannot_be_broken_by_names() -> None:
    odd = StackCost(("a;b.py:1 f\n0 0",), "mul", "float32", 1, 5)
    assert folded([odd]) == "a,b.py:1 f 0 0;mul float32 5\n"
    for text in folded_difference(BASE_STACKS, [*HEAD_STACKS, odd]).splitlines():
        before, after = text.rsplit(" ", 2)[1:]
        assert int(before) >= 0 and int(after) >= 0


@pytest.mark.parametrize(("commits", "columns"), [(1, 1), (2, 2)])
def test_folded_by_the_files_suffix(tmp_path, monkeypatch, commits, columns) -> None:
    """One column of bytes for a commit, two for base and head; they add up."""
    said: list[str] = []
    sides = iter([{"w": tuple(BASE_STACKS)}, {"w": tuple(HEAD_STACKS)}])
    monkeypatch.setattr("nbbench.subject.repository.open_subject", lambda settings: None)
    monkeypatch.setattr("nbbench.measure.ledgers.workload_stacks", lambda *_, **__: next(sides))
    app = SimpleNamespace(settings=None, say=said.append)
    path = tmp_path / "flame.folded"
    write_flame(app, path, (work.BASE, work.HEAD)[:commits], ["w"])
    rows = [row.rsplit(" ", columns) for row in path.read_text().splitlines()]
    totals = [sum(int(row[1 + column]) for row in rows) for column in range(columns)]
    assert totals == [120, 140][:commits]
    assert said == [f"wrote {path} (w)"]
