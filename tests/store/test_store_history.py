"""Detection over a database reads series as it needs them and finds what it finds in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from store_trees import START, benchmark, commit_hash, source

from nbbench.analyse.changes import find_changes
from nbbench.collect.asv_results import ParsedFile
from nbbench.model import Commit, Result, SeriesKey, Status
from nbbench.pipeline.history import load_history

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
            benchmarks=(benchmark(KEY.benchmark, "1", ["size"]),),
            results=tuple(results),
        )
        store.import_parsed(parsed, source(f"box/{number}.json"))
    store.upsert_commits(
        [Commit(commit_hash(n), f"tree{n}", START, "s", position=n) for n in range(1, COMMITS + 1)]
    )


def test_a_streamed_history_finds_what_one_in_memory_finds(store):
    fill(store)
    streamed = load_history(store)
    assert streamed.streamed and len(streamed.series) == 6
    assert streamed.size() == 6 * COMMITS
    whole = replace(streamed, series=tuple(streamed.series), streamed=False)
    found = find_changes(streamed, jobs=1)
    assert found == find_changes(whole, jobs=1)
    assert [c.hi_commit for c in found] == [commit_hash(20)] * 6
    assert find_changes(load_history(store, machine="elsewhere")) == []


def test_series_are_read_as_they_are_judged(store, monkeypatch):
    fill(store)
    history = load_history(store)
    read, judged = [], []
    original = type(store).iter_series

    def watched(self, **options):
        for one in original(self, **options):
            read.append(one.key)
            yield one

    monkeypatch.setattr(type(store), "iter_series", watched)
    find_changes(history, jobs=1, progress=lambda done, _: judged.append((done, len(read))))
    assert judged == [(n, n) for n in range(1, 7)]
