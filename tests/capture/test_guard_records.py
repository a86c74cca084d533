"""The copy of the tests' record: redacted string by string, valid JSON, bounded."""

from __future__ import annotations

import json
from pathlib import Path

from nbbench.capture.test_records import MAX_RECORD_BYTES, copy_record
from nbbench.record.redact import secret_values

SECRET = 'quo"te\\back-' + "Zx9" * 5


def copied(tmp_path: Path, *lines: object) -> tuple[list[dict], str]:
    source = tmp_path / "record.jsonl"
    source.write_text("".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in lines))
    note = copy_record(source, tmp_path / "copy.log", secret_values({"MY_TOKEN": SECRET}))
    return [json.loads(line) for line in (tmp_path / "copy.log").read_text().splitlines()], note


def test_secrets_go_wherever_they_stand_and_the_rest_stays(tmp_path: Path) -> None:
    line = {"kind": "phase", "n": 1.5, "out": {f"a {SECRET}": [f"say {SECRET}!", None, True, "千"]}}
    told, note = copied(tmp_path, line)
    assert told == [
        {"kind": "phase", "n": 1.5, "out": {"a <redacted>": ["say <redacted>!", None, True, "千"]}}
    ]
    assert note == ""


def test_a_line_that_was_cut_off_is_left_out_and_said_so(tmp_path: Path) -> None:
    told, note = copied(tmp_path, {"a": 1}, '{"out": "' + SECRET)
    assert told == [{"a": 1}]
    assert note.startswith("1 lines of the test records are left out")


def test_a_long_record_is_bounded_and_short_lines_go_on(tmp_path: Path) -> None:
    long = [{"out": "word " * 100_000}] * 5
    told, note = copied(tmp_path, *long, {"kind": "end"})
    assert (tmp_path / "copy.log").stat().st_size <= MAX_RECORD_BYTES
    assert told[-1] == {"kind": "end"}
    assert note.startswith("2 lines")


def test_no_record_no_file(tmp_path: Path) -> None:
    assert copy_record(tmp_path / "none", tmp_path / "copy.log", ()) == ""
    assert not (tmp_path / "copy.log").exists()
