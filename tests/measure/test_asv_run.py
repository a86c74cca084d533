"""What nbbench says of an asv that fails."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbbench.config import load_settings
from nbbench.errors import HostError
from nbbench.measure import asv_run
from nbbench.model import Commit, ProcessRecord, Result, SeriesKey, Status
from nbbench.report.run_view import spent_s


def test_the_reason_is_said_where_no_suite_could_be_imported(tmp_path: Path) -> None:
    """asv's last line names no reason; the one before it does."""
    printed = "·· Last error: the server did not start\\n·· Failed to build the project."
    code = f"import sys; print('{printed}'); sys.exit(1)"
    (tmp_path / "asv.conf.json").write_text("{}")
    settings = load_settings(tmp_path)
    with pytest.raises(HostError, match="asv run failed: the server did not start"):
        asv_run._follow([sys.executable, "-c", code], settings, {}, {}, print, lambda _: None)


def result(benchmark: str, size: str) -> Result:
    key = SeriesKey(benchmark, "1", (("size", size),), "m", "env")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    return Result(key, "a" * 40, Status.OK, 1.0, started_at=began, duration_s=40.0)


def test_a_benchmarks_time_counts_once_for_all_its_parameters() -> None:
    """H14: asv's duration is the benchmark's; six parameters do not cost six times as much."""
    assert spent_s([result("b.time_a", "1"), result("b.time_a", "2"), result("b.time_c", "1")]) == 80.0


def test_what_other_benchmarks_did_is_no_part_of_the_occasion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: neither their failures nor their disturbances; one that was killed has a record alone."""
    (tmp_path / "asv.conf.json").write_text("{}")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    stored = [result("b.time_a", "1"), result("b.time_c", "1")]
    records = [
        ProcessRecord("a" * 40, "env", name, 0, "run", began, 1.0, 1, machine="m")
        for name in ("b.time_a", "b.time_c", "b.time_killed")
    ]
    store = SimpleNamespace(results=lambda commit: stored, process_records=lambda commit: records)
    monkeypatch.setattr(asv_run, "machine_name", lambda _: "m")
    monkeypatch.setattr(asv_run, "_of_this_place", lambda _, results, bench: results[:1])
    commits = [Commit("a" * 40, "t", began, "s")]
    found = asv_run.look_back(load_settings(tmp_path), store, commits, ["time_a"], began)  # type: ignore[arg-type]
    assert [record.benchmark for record in found.records] == ["b.time_a", "b.time_killed"]
    assert found.tried
