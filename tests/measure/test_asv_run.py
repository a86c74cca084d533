"""What nbbench says of an asv that fails."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbbench.config import checkout_settings, load_settings
from nbbench.errors import HostError
from nbbench.measure import asv_run
from nbbench.model import Commit, ProcessRecord, Result, SeriesKey, Status
from nbbench.report.run_view import spent_s
from nbbench.subject.profile import load_profile


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


@pytest.mark.parametrize(
    ("bench", "device", "asked"),
    [
        ((), "cpu", ["--bench", "^usual"]),
        ((), "cuda", []),
        (("mine", "other"), "cpu", ["--bench", "mine", "--bench", "other"]),
    ],
)
def test_without_a_choice_the_usual_benchmarks_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bench: tuple[str, ...],
    device: str,
    asked: list[str],
) -> None:
    """Acceptance is of one commit: a history is measured without it, a GPU with everything."""
    (tmp_path / "asv.conf.json").write_text("{}")
    (tmp_path / "pyproject.toml").write_text('[tool.nbbench.subject]\nrun_bench = "^usual"\n')
    monkeypatch.setenv("NBBENCH_DEVICE", device)
    monkeypatch.setattr(asv_run, "ensure_machine", lambda _: "m")
    commands: list[list[str]] = []
    monkeypatch.setattr(asv_run, "_follow", lambda command, *_: commands.append(command) or 0)
    settings = load_settings(tmp_path)
    asv_run.measure_commits(settings, [], asv_run.AsvChoice(bench), show=print, detail=print)
    (command,) = commands
    assert [word for at, word in enumerate(command) if "--bench" in (word, command[at - 1])] == asked


def test_the_usual_benchmarks_of_the_suite_are_those_of_a_history() -> None:
    usual = re.compile(load_profile(checkout_settings(Path(__file__).parents[2])).run_bench)
    for name in (
        "bandwidth.Warm.time_run",
        "compiled.Compile.track_first_run",
        "vectorisation.Counts.track_x",
    ):
        assert usual.search(name)
    for name in ("acceptance.Run.time_run", "c_ratio.CRatio.track_time_ratio", "compiled.Gain.x", "cuda.F.x"):
        assert not usual.search(name) and not usual.search(f"{name}(4, 512, 'float32')")


def test_a_machine_of_a_name_of_its_own_is_known_with_its_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Criteria ask how many cores it has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings: Any = SimpleNamespace(machine="box")
    assert asv_run.ensure_machine(settings) == "box"
    kept = json.loads((tmp_path / ".asv-machine.json").read_text())["box"]
    assert kept["machine"] == "box" and {"arch", "cpu", "num_cpu", "os", "ram"} < set(kept)
    (tmp_path / ".asv-machine.json").write_text("{")
    with pytest.raises(HostError, match="what this machine is"):
        asv_run.ensure_machine(settings)
