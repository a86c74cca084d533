"""D7: evidence under one torch, whichever is installed; what a machine broke is recorded again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_trees import commit, ledger

from nbbench.config import Settings
from nbbench.measure import ledgers as measure
from nbbench.record.side_files import (
    LedgerFile,
    evidence_torch,
    kept_torch,
    kept_work,
    ledger_path,
    machine_failed,
    write_ledgers,
)


@pytest.mark.parametrize(
    ("trees", "installed", "torch"),
    [
        ({}, "2.13.0", ""),
        ({"2.9.1": 10}, "2.13.0", "2.9.1"),
        ({"2.9.1": 10, "2.13.0": 2}, "2.13.0", "2.9.1"),  # the first trees after an upgrade
        ({"2.9.1": 10, "2.13.0": 5}, "2.13.0", "2.13.0"),
        ({"2.9.1": 10, "2.13.0": 12}, "2.9.1", "2.9.1"),
        ({"2.9.1": 10, "2.13.0": 9}, "2.4.0", "2.13.0"),  # the newest, not the last by its text
        ({"2.9.1": 10, "2.13.0": 9}, "", "2.13.0"),
    ],
)
def test_the_torch_that_speaks(trees, installed, torch):
    assert evidence_torch(trees, installed) == torch


@pytest.mark.parametrize(
    ("error", "again"),
    [
        ("MemoryError: ", True),
        (
            "RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 B",
            True,
        ),
        ("OSError: [Errno 28] No space left on device", True),
        ("OSError: [Errno 27] File too large", True),  # recording allows files of 256 MiB
        ("the process was killed (SIGKILL)", True),
        ("ImportError: no module named x", False),
        ("RuntimeError: The size of tensor a (3) must match b (4)", False),
        ("", False),
    ],
)
def test_what_a_machine_broke_is_no_answer(error, again):
    assert machine_failed(replace(ledger(), error=error)) is again


def at(number):
    return commit(number, tree=f"{number}" * 40)


def keep(results, number, torch, **workloads):
    tree = at(number).tree
    write_ledgers(ledger_path(results, tree, torch), LedgerFile(tree, at(number).hash, torch, workloads))


def test_kept_ledgers_of_another_torch_are_read_and_named(tmp_path, monkeypatch):
    settings = Settings(tmp_path)
    keep(settings.results_dir, 1, "2.9.1", warm=ledger())
    keep(settings.results_dir, 2, "2.9.1", warm=ledger(ops=20))
    monkeypatch.setattr(measure, "installed_torch", lambda: "2.13.0")
    said = []
    found = measure.commit_ledgers(settings, [at(1), at(2)], ["warm"], say=said.append)
    assert [found[at(n).tree]["warm"].ops for n in (1, 2)] == [10, 20]
    assert said == ["ledgers recorded under torch 2.9.1; 2.13.0 is installed"]


def test_two_commits_are_compared_under_one_torch(tmp_path):
    results = tmp_path / "results"
    keep(results, 1, "2.9.1", warm=ledger())
    keep(results, 2, "2.9.1", warm=ledger(ops=20))
    keep(results, 2, "2.13.0", warm=ledger(ops=30))
    trees = [at(1).tree, at(2).tree, ""]
    assert kept_torch(results, trees, "2.4.0") == "2.13.0"
    keep(results, 1, "2.13.0", other=ledger("other"))
    assert kept_torch(results, trees, "2.9.1") == "2.9.1"
    assert kept_torch(results, ["f" * 40], "2.9.1") == ""


def test_a_ledger_that_ran_out_of_memory_is_missing(tmp_path):
    results = tmp_path / "results"
    keep(results, 1, "2.9.1", warm=ledger(), big=replace(ledger("big"), error="MemoryError: "))
    assert list(kept_work(results, at(1).tree, "2.9.1").ledgers) == ["warm"]
    keep(results, 1, "2.9.1", big=ledger("big"))
    assert list(kept_work(results, at(1).tree, "2.9.1").ledgers) == ["big", "warm"]
    assert kept_work(results, at(2).tree, "2.9.1").ledgers == {}
