"""What a calibration keeps, when it is stale, and how it is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbbench.gate.calibration import (
    Calibration,
    calibration_path,
    read_calibration,
    write_calibration,
)
from nbbench.model import EvidenceRecord
from nbbench.report.gate_sentences import evidence_text
from nbbench.report.run_view import calibration_blocks
from nbbench.report.text import as_text
from nbbench.verdicts import SeriesNoise

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KNOWN = Calibration(
    "tower",
    "2.13.0",
    1,
    "a" * 40,
    NOW,
    {"time_run(512)": SeriesNoise(0.018, 0.011, 30)},
)


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    path = calibration_path(tmp_path, "tower")
    write_calibration(path, KNOWN)
    write_calibration(path, KNOWN)
    assert read_calibration(path) == KNOWN
    assert [p.name for p in path.parent.iterdir()] == ["tower.json"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"schema": 2}', b'{"schema": 1, "kind": "nbbench-calibration"}']
)
def test_a_file_that_cannot_be_used_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tower.json"
    assert read_calibration(path) is None
    path.write_bytes(content)
    assert read_calibration(path) is None


def test_age_torch_and_threads_make_it_stale() -> None:
    def told(torch: str, threads: int, days: int = 0) -> str:
        found = KNOWN.stale(torch, threads, NOW + timedelta(days=days))
        return evidence_text([EvidenceRecord("calibration", {"machine": "m", **found})]) if found else ""

    assert told("2.13.0", 1, 30) == ""
    assert "it is 31 days old" in told("2.13.0", 1, 31)
    assert "torch 2.13.0, not 2.14.0" in told("2.14.0", 1)
    assert "threads 1, not 2" in told("2.13.0", 2)
    assert replace(KNOWN, threads=2).stale("2.13.0", 2, NOW) == {}


def test_the_table_gives_the_noise_and_the_floor() -> None:
    series = {
        "a": SeriesNoise(0.018, 0.011, 30),
        "b": SeriesNoise(0.006, 0.002, 30),
    }
    text = as_text(calibration_blocks(series, 0.01, "0 of 60 pairs were disturbed and measured again"))
    assert "1.82 %" in text and "0.60 %" in text
    assert text.endswith("measured again")
