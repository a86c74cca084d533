"""`roofline` and `dtypes` without measuring: exit codes, JSON, bad input."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_project import ROOT, Project

from nbbench.model import Commit

WARM = "bandwidth.Warm.time_run"
HASH = f"{1:08x}" + "0" * 32


@pytest.fixture
def measured(project: Project) -> Project:
    """One commit with a timed series, its faults and its penalty."""
    machine = project.root / "results" / "m"
    machine.mkdir(parents=True)
    (machine / "machine.json").write_text(json.dumps({"machine": "m", "version": 1}))
    params = [["2048"], ["'float64'"]]
    units = {
        WARM: ("seconds", "time", 1.0),
        "bandwidth.Traffic.track_minor_faults": ("faults", "track", 1_400_000.0),
        "bandwidth.Traffic.track_malloc_penalty": ("ratio", "track", 3.5),
    }
    declared = {
        name: {"name": name, "version": "1", "unit": unit, "type": kind, "params": params,
               "param_names": ["size", "dtype"]}
        for name, (unit, kind, _) in units.items()
    }  # fmt: skip
    (project.root / "results" / "benchmarks.json").write_text(json.dumps({**declared, "version": 2}))
    shutil.copy(ROOT / "results" / "workloads.jsonl", project.root / "results")
    results = {name: [[value], params, "1"] for name, (_, _, value) in units.items()}
    results["bandwidth.Ceiling.track_copy_ceiling"] = [[40e9], [], "1"]
    content = {
        "commit_hash": HASH, "env_name": "env", "date": 1_700_000_000_000, "params": {"machine": "m"},
        "python": "3.11", "requirements": {}, "env_vars": {}, "results": results, "durations": {},
        "result_columns": ["result", "params", "version"], "version": 2,
    }  # fmt: skip
    (machine / f"{HASH[:8]}-env.json").write_text(json.dumps(content))
    shutil.copy(ROOT / "results" / "workloads.jsonl", project.root / "results")
    return project


class TestRoofline:
    @pytest.mark.parametrize("here_mb", ["4", "300", ""])
    def test_recorded_figures_under_the_recorded_ceiling(
        self, measured: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here_mb: str
    ) -> None:
        """A1: the cache of the machine that shows them says nothing about them."""
        monkeypatch.setenv("NBBENCH_CACHE_MB", here_mb)
        from nbbench.ledger import Ledger, LedgerLine
        from nbbench.work import roofline

        moved = 20_000_000_000
        line = LedgerLine("sim.py", 3, "run", "add", "float64", 200, moved)
        one = Ledger("bandwidth-2048-float64", 2048**2, 200, 200, moved, 0, 2**30, (), "1", "d", "float64",
                     lines=(line,))  # fmt: skip
        monkeypatch.setattr(roofline, "known_ledgers", lambda settings, commit: {one.workload: one})
        found = measured.run("roofline", "--recorded", "--json")
        assert found.exit_code == 0, found.stderr
        fits_none = measured.run("roofline", "--recorded", "--bench", "nothing")
        assert fits_none.exit_code == 2 and "matches 'nothing'" in fits_none.stderr
        told = json.loads(found.stdout)
        assert (told["schema"], told["source"]) == ("nbbench.roofline/1", "recorded")
        [row] = told["workloads"]
        assert (row["bound"], row["rate"], row["fraction"]) == ("memory", 20e9, 0.5)
        assert row["dispatch_share"] is None
        assert "the inputs of 1 workload (bandwidth-2048-float64) are not on record" in told["notes"][-1]
        assert "50%" in measured.run("roofline", "--recorded", "--markdown").stdout
        pytest.importorskip("matplotlib")
        picture = tmp_path / "roofline.SVG"
        assert measured.run("roofline", "--recorded", "--plot", str(picture)).exit_code == 0
        assert "<svg" in picture.read_text()

    @pytest.mark.parametrize(("cache_mb", "bound"), [(32, "memory"), (300, "partly cached")])
    def test_recorded_figures_bring_their_own_cache(
        self, measured: Project, monkeypatch: pytest.MonkeyPatch, cache_mb: int, bound: str
    ) -> None:
        """A1: telemetry says the cache of the machine that measured."""
        from nbbench.ledger import Ledger
        from nbbench.model import ProcessRecord
        from nbbench.record.side_files import append_record, telemetry_path
        from nbbench.work import roofline

        one = Ledger("bandwidth-2048-float64", 2048**2, 200, 200, 20_000_000_000, 0, 2**30, (), "1", "d",
                     "float64")  # fmt: skip
        monkeypatch.setattr(roofline, "known_ledgers", lambda settings, commit: {one.workload: one})
        record = ProcessRecord(HASH, "env", WARM, 0, "run", datetime(2025, 12, 12, tzinfo=UTC), 1.0, 0,
                               machine="m", extra=(("cache_bytes", cache_mb * 2**20),))  # fmt: skip
        append_record(telemetry_path(measured.root / "results", "m", HASH, "env"), record)
        [row] = json.loads(measured.run("roofline", "--recorded", "--json").stdout)["workloads"]
        assert row["bound"] == bound

    def test_a_record_without_ledger_and_ceiling_is_inconclusive(self, measured: Project) -> None:
        found = measured.run("roofline", "--recorded")
        assert found.exit_code == 4
        assert "--recorded" in found.stderr

    @pytest.mark.parametrize("name", ["picture.jpg", "picture", "picture.PNG2"])
    def test_an_unknown_kind_of_picture(self, measured: Project, name: str) -> None:
        found = measured.run("roofline", "--plot", name)
        assert found.exit_code == 2
        assert ".png, .svg or .html" in found.stderr

    def test_no_results_at_all(self, project: Project) -> None:
        assert project.run("roofline", "--recorded").exit_code in (2, 4)


@pytest.mark.parametrize("command", [("roofline",), ("dtypes",)])
def test_measuring_needs_a_subject(project: Project, command: tuple[str, ...]) -> None:
    found = project.run(*command)
    assert found.exit_code == 2
    assert "no subject is registered" in found.stderr


class TestDtypes:
    @pytest.fixture
    def audited(self, project: Project, monkeypatch: pytest.MonkeyPatch):
        """`nbbench dtypes` with an audit that gave this verdict."""
        from nbbench.subject import repository
        from nbbench.work import dtypes

        commit = Commit("a" * 40, "b" * 40, datetime(2025, 12, 12, tzinfo=UTC), "subject")
        subject = repository.Subject(project.root, "clone", "branch", "src")
        monkeypatch.setattr(repository, "open_subject", lambda settings: subject)
        monkeypatch.setattr(repository, "describe", lambda subject, name: commit)

        def run(verdict: str, *arguments: str):
            made = {
                "commit": {"hash": commit.hash},
                "torch": "2.13.0",
                "verdict": verdict,
                "counts": {verdict: 0},
                "cases": [],
            }
            monkeypatch.setattr(dtypes, "dtype_snapshot", lambda *a, **k: made)
            return project.run("dtypes", *arguments)

        return run

    @pytest.mark.parametrize(
        ("verdict", "code"),
        [("neutral", 0), ("upcasts", 3), ("wrong output dtype", 3), ("falls back", 3), ("broken", 3),
         ("loses precision", 3), ("nothing ran", 4)],
    )  # fmt: skip
    def test_exit_code_follows_the_verdict(self, audited, verdict: str, code: int) -> None:
        found = audited(verdict)
        assert found.exit_code == code
        assert verdict in found.stdout

    def test_the_file_is_the_json_document(self, audited, tmp_path: Path) -> None:
        out = tmp_path / "dtype_snapshot.json"
        found = audited("upcasts", "--out", str(out), "--json")
        assert out.read_text() == found.stdout
        assert json.loads(found.stdout)["schema"] == "nbbench.dtype-snapshot/1"

    def test_a_folder_that_is_not_there(self, audited, tmp_path: Path) -> None:
        found = audited("neutral", "--out", str(tmp_path / "no" / "file.json"))
        assert found.exit_code == 2
        assert "the folder does not exist" in found.stderr
