"""Decisions as files that git can merge."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import UTC, datetime, timedelta, timezone

import pytest

from nbbench.errors import HostError
from nbbench.model import Decision, FlagState
from nbbench.record.asv_values import BadFileError, read_bytes
from nbbench.record.decisions import parse_decision, read_decisions, write_decision


def read_one(path):
    return parse_decision(read_bytes(path), path)


DECISION = Decision(
    event="0123abcd-slower",
    plan="PERF-PYTORCH-004",
    state=FlagState.ACKNOWLEDGED,
    reason="accepted für now",
    person="Ünal",
    date=datetime(2025, 10, 15, 11, 35, 31, 5, UTC),
    expires=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_a_decision_survives(tmp_path):
    path = write_decision(tmp_path / "decisions", DECISION)
    assert path.name == "20251015T113531Z-0123abcd-slower-acknowledged.decision"
    assert read_one(path) == DECISION
    text = path.read_text(encoding="ascii")
    assert text.endswith("}\n")
    assert text.count("\n") == 11  # one field a line
    assert json.loads(text)["schema"] == 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_without_an_end(tmp_path):
    forever = dataclasses.replace(DECISION, expires=None)
    assert read_one(write_decision(tmp_path, forever)) == forever


def test_no_file_is_replaced(tmp_path):
    first = write_decision(tmp_path, DECISION)
    second = write_decision(tmp_path, dataclasses.replace(DECISION, reason="another"))
    third = write_decision(tmp_path, DECISION)
    assert [first.stem[-12:], second.stem[-14:], third.stem[-14:]] == [
        "acknowledged", "acknowledged-2", "acknowledged-3",
    ]  # fmt: skip
    assert read_one(first) == DECISION
    assert len(read_decisions(tmp_path)) == 3


def test_names_are_ascii_and_short(tmp_path):
    odd = dataclasses.replace(
        DECISION, event="../ünsafe name/" * 50, date=DECISION.date.astimezone(timezone(timedelta(hours=5)))
    )
    path = write_decision(tmp_path, odd)
    assert path.parent == tmp_path
    assert path.name.isascii()
    assert path.name.startswith("20251015T113531Z-.._")
    assert len(path.name) < 150
    assert read_one(path) == odd


def test_bad_files_are_skipped_and_named(tmp_path):
    good = write_decision(tmp_path, DECISION)
    plain = json.loads(good.read_text())
    broken = {
        "a.decision": b"", "b.decision": b"{", "c.decision": b"[]", "d.decision": b"\xff",
        "e.decision": b"[" * 100_000,
        "f.decision": json.dumps(plain | {"schema": 2}).encode(),
        "g.decision": json.dumps(plain | {"state": "unheard of"}).encode(),
        "h.decision": json.dumps(plain | {"date": "2025-10-15T11:35:31"}).encode(),
        "i.decision": json.dumps(plain | {"reason": 5}).encode(),
        "j.decision": json.dumps({k: v for k, v in plain.items() if k != "person"}).encode(),
        "k.decision": json.dumps(plain | {"expires": 5}).encode(),
    }  # fmt: skip
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "README.md").write_text("no decision")
    assert read_decisions(tmp_path) == [DECISION]
    for name in broken:
        with pytest.raises(BadFileError) as bad:
            read_one(tmp_path / name)
        assert bad.value.reason and "\n" not in bad.value.reason
    with pytest.raises(BadFileError, match="empty"):
        read_one(tmp_path / "a.decision")
    with pytest.raises(BadFileError, match="cannot be read"):
        read_one(tmp_path / "nowhere.decision")


def test_decisions_come_by_date(tmp_path):
    days = [dataclasses.replace(DECISION, date=DECISION.date + timedelta(days=n)) for n in (3, 1, 2)]
    for decision in days:
        write_decision(tmp_path, decision)
    assert read_decisions(tmp_path) == sorted(days, key=lambda d: d.date)
    assert read_decisions(tmp_path / "nowhere") == []


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write a decision"):
        write_decision(tmp_path / "file" / "decisions", DECISION)

    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    with pytest.raises(HostError, match="Operation not permitted"):
        write_decision(tmp_path, DECISION)
    assert os.listdir(tmp_path) == ["file"]
