"""Which ledgers are found for a commit, and that no timed sample holds one."""

from __future__ import annotations

import ast
import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbbench.collect import ledgers
from nbbench.collect.side_files import ledger_path, write_ledgers
from nbbench.config import Settings
from nbbench.model import Commit, Ledger

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
COMMIT = Commit("c" * 40, "ab" * 20, datetime(2026, 1, 1, tzinfo=UTC), "subject", 1)
LEDGER = Ledger("warm", 64, 10, 11, 6400, 0, 512, (), "1.5", "abc", "float32")


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "asv.conf.json").write_text("{}")
    return Settings(root=tmp_path)


def test_another_torch_version_is_another_environment(settings, monkeypatch):
    for version, ops in (("2.9.1", 1), ("2.13.0", 2)):
        path = ledger_path(settings.results_dir, COMMIT.tree, version)
        one = dataclasses.replace(LEDGER, ops=ops)
        write_ledgers(path, COMMIT.tree, COMMIT.hash, version, {"warm": one})
    for version, found in (("2.9.1", [1]), ("2.13.0", [2]), ("2.14.0", [])):
        monkeypatch.setattr(ledgers, "torch_version", lambda version=version: version)
        assert [one.ops for one in ledgers.known_ledgers(settings, COMMIT).values()] == found


def test_equal_trees_share_a_ledger(settings, monkeypatch):
    monkeypatch.setattr(ledgers, "torch_version", lambda: "2.13.0")
    path = ledger_path(settings.results_dir, COMMIT.tree, "2.13.0")
    write_ledgers(path, COMMIT.tree, COMMIT.hash, "2.13.0", {"warm": LEDGER})
    other = dataclasses.replace(COMMIT, hash="d" * 40)
    assert ledgers.known_ledgers(settings, other) == {"warm": LEDGER}


def _timed_functions():
    for path in sorted(BENCHMARKS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                functions = [one for one in node.body if isinstance(one, ast.FunctionDef)]
                if any(one.name.startswith(("time_", "peakmem_")) for one in functions):
                    for one in functions:
                        if one.name == "setup" or one.name.startswith(("time_", "peakmem_")):
                            yield f"{path.stem}.{node.name}.{one.name}", one


def test_no_timed_process_records_a_ledger():
    """asv runs `setup` and the benchmark itself in the process whose samples it keeps."""
    found = dict(_timed_functions())
    assert "bandwidth.Warm.time_run" in found and len(found) > 8
    recording = {"ledger_of", "stacks_of", "operations", "record_ledger", "record_stacks", "TrafficLedger"}
    for name, function in found.items():
        used = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        used |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert not used & recording, name
