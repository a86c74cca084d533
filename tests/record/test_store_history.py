"""Detection over a database reads series where they are judged and finds what it finds in memory."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from history_samples import find_changes
from store_trees import START, benchmark, commit_hash, ledger, put_parsed, rows_of, source

from nbbench.errors import StoreError
from nbbench.history import changes, curves
from nbbench.history.history import load_history
from nbbench.model import Commit, Result, SeriesKey, Status
from nbbench.record.asv_results import ParsedFile
from nbbench.record.schema import parse_url
from nbbench.record.side_files import LedgerFile
from nbbench.record.store import Store

KEY = SeriesKey("bandwidth.Warm.time_run", "1", (("size", "512"),), "box", "py3.11")
COMMITS = 40


def fill(store, series=6):
    """Series of 40 commits with a step of 30 % at commit 20."""
    rng = np.random.default_rng(1)
    keys = [replace(KEY, params=(("size", str(n)),)) for n in range(series)]
    for number in range(1, COMMITS + 1):
        level = 1.3 if number >= 20 else 1.0
        results = [Result(k, commit_hash(number), Status.OK, level * rng.lognormal(0, 0.01)) for k in keys]
        parsed = ParsedFile(
            machine="box",
            commit=commit_hash(number),
            environment=KEY.environment,
            date=START,
            **rows_of(results, benchmark(KEY.benchmark, "1", ["size"])),
        )
        put_parsed(store, parsed, f"box/{number}.json")
    store.place_commits(
        [Commit(commit_hash(n), f"tree{n}", START, "s", position=n) for n in range(1, COMMITS + 1)]
    )


def test_a_stored_history_finds_what_one_in_memory_finds(store):
    fill(store)
    stored = load_history(store)
    assert len(stored.stored) == stored.size() == 6
    assert stored.stored.points == 6 * COMMITS
    whole = replace(stored, series=tuple(store.iter_series()), stored=None)
    found = find_changes(stored, jobs=1)
    assert found == find_changes(whole)
    assert [c.hi_commit for c in found] == [commit_hash(20)] * 6


def test_other_processes_read_for_themselves_and_find_the_same(store, monkeypatch):
    fill(store)
    monkeypatch.setattr(curves, "_PART_POINTS", COMMITS)
    history = load_history(store)
    alone = find_changes(history, jobs=1)
    assert find_changes(history, jobs=2) == alone
    assert len(alone) == 6


def test_what_is_too_large_to_be_read_twice_is_judged_series_by_series(store, monkeypatch):
    fill(store)
    monkeypatch.setattr(changes, "MANY_POINTS", 6 * COMMITS - 1)
    assert len(find_changes(load_history(store), jobs=1)) == 6


def test_changes_come_by_name_and_those_of_ledgers_last(store):
    fill(store, series=12)
    work = Commit(commit_hash(1), "tree1", START, "s", position=1)
    assert store.commits()[0] == work
    ledgers = [
        LedgerFile(f"tree{n}", commit_hash(n), "2.13.0", {"w": ledger("w", 10 + n // 20)}) for n in (1, 30)
    ]
    for one in ledgers:
        store.import_batch([(replace(source(one.tree), kind="ledger"), one)])
    found = find_changes(load_history(store))
    noisy = [c.key for c in found if c.kind == "step"]
    assert [c.kind for c in found] == ["step"] * 12 + ["exact"] * (len(found) - 12)
    assert len(found) > 12
    assert noisy == [s.key for s in store.iter_series()]
    assert noisy == sorted(noisy, key=lambda key: key.params)


def test_a_database_that_is_gone_is_said_in_the_other_process(tmp_path):
    path = tmp_path / "db.sqlite"
    with Store.open(f"sqlite:///{path}") as store:
        fill(store)
        elsewhere = pickle.loads(pickle.dumps(load_history(store).stored))
    assert [place for place, _ in elsewhere.read(range(2, 4))] == [2, 3]
    other = pickle.loads(pickle.dumps(elsewhere))
    path.unlink()
    with pytest.raises(StoreError, match="no database"):
        next(other.read(range(1)))


def test_a_database_in_memory_is_judged_here():
    with Store.open("sqlite://") as store:
        fill(store)
        assert not load_history(store).stored.shared
        assert len(find_changes(load_history(store), jobs=2)) == 6


def test_the_key_of_a_database_for_another_process_holds_its_password():
    engine = Store(parse_url("postgresql://me:secret@nowhere/db"))
    assert engine.url == "postgresql://me:secret@nowhere/db"
    assert "secret" not in engine.name
