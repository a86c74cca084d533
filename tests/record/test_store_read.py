"""Series in the right order, chosen by the right filters."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from store_trees import START, benchmark, commit, commit_hash, put_parsed, record, rows_of, source

from nbbench.errors import UsageError
from nbbench.model import Commit, Machine, Result, SeriesKey, Status
from nbbench.record import engine
from nbbench.record.asv_results import ParsedFile

KEY = SeriesKey("suite.time_run", "v1", (("size", "512"), ("dtype", "'float32'")), "box", "py3.11")


def put(store, number, value=1.0, key=KEY, name=None, started=None, date=None):
    """One result of commit `number`, in a file of its own."""
    declared = benchmark(key.benchmark, key.version, [n for n, _ in key.params])
    result = Result(key, commit_hash(number), Status.OK, value, started_at=started)
    parsed = ParsedFile(
        machine=key.machine,
        commit=commit_hash(number),
        environment=key.environment,
        date=date or START + timedelta(days=number),
        **rows_of([result], declared),
    )
    put_parsed(store, parsed, name or f"{key.machine}/{number}-{key.environment}-{key.label}")


def declare(store, one):
    store.import_batch([(replace(source("benchmarks.json"), kind="benchmarks"), {one.name: one})])


def values(store, **filters):
    return [p.value for s in store.iter_series(**filters) for p in s.points]


def test_points_stand_in_the_order_of_the_line(store):
    for number in (1, 2, 3, 4):
        put(store, number, float(number))
    assert values(store) == [1.0, 2.0, 3.0, 4.0]  # nothing is placed: by date
    store.place_commits(commit(n, position=10 - n) for n in (4, 3, 2, 1))
    assert values(store) == [4.0, 3.0, 2.0, 1.0]
    assert [p.position for p in next(store.iter_series()).points] == [6, 7, 8, 9]


def test_commits_that_are_not_of_the_line_are_left_out(store):
    for number in (1, 2, 3):
        put(store, number, float(number))
    store.place_commits([commit(4, position=1), commit(2, position=0), commit(3, position=2)], "how")
    assert values(store) == [2.0, 3.0]
    assert [c.position for c in store.commits()] == [1, 0, 2]
    assert store.commit(commit_hash(1)).position == 0
    assert sorted(c.hash for c in store.measured_commits()) == [commit_hash(n) for n in (1, 2, 3)]
    assert store.placed() == "how"


def test_a_rebased_branch_has_each_position_once(store):
    """D8."""
    put(store, 1)
    store.place_commits([commit(1, position=1), commit(2, position=2)])
    store.place_commits([commit(3, position=1), commit(4, position=2)])
    assert [c.position for c in store.commits()] == [1, 2]
    assert store.commit(commit_hash(1)).position == 0
    assert store.commit(commit_hash(2)) is None  # neither measured nor of the branch


def test_commits_are_filled_in_and_never_emptied(store):
    put(store, 1)
    assert store.commit(commit_hash(1)) == Commit(commit_hash(1), "", START + timedelta(days=1), "", 0)
    known = commit(1, position=7)
    store.place_commits([known, commit(2)])
    assert store.commit(commit_hash(1)[:8]) == known
    store.place_commits([replace(known, subject="", tree="")])
    assert store.commit(commit_hash(1)) == known
    store.place_commits([replace(known, subject="new", position=8)])
    assert store.commit(commit_hash(1)) == replace(known, subject="new", position=8)


def test_the_fingerprint_stands_for_what_events_rest_on(store):
    """D2: also where only the commits have changed."""
    seen = {store.fingerprint()}
    for change in (
        lambda: put(store, 1),
        lambda: put(store, 1, 2.0),
        lambda: store.place_commits([commit(1)]),
        lambda: store.place_commits([commit(1, subject="registered")]),
        lambda: store.place_commits([commit(1, subject="registered"), commit(2)]),
        lambda: store.place_commits([commit(2), commit(1, subject="registered")]),
        lambda: declare(store, benchmark(names=("w", "d"))),
        lambda: store.forget_files(["box/1-py3.11-" + KEY.label]),
    ):
        change()
        assert store.fingerprint() not in seen
        seen.add(store.fingerprint())
    before = store.fingerprint()
    store.save_events([], {"x": 1})
    assert store.fingerprint() == before


def test_a_commit_by_prefix(store):
    store.place_commits([commit(1), commit(2), commit(0x10)])
    assert store.commit("00000001") == commit(1)
    assert store.commit(" 00000010C0FFEE") == commit(0x10)
    assert store.commit("ffff") is None
    assert store.commit("") is None
    assert store.commit("%") is None
    with pytest.raises(UsageError, match="several commits begin with '0000000'"):
        store.commit("0000000")


def test_the_last_measured_wins(store):
    put(store, 1, 1.0, name="a", started=START)
    put(store, 1, 2.0, name="b", started=START + timedelta(hours=1))
    put(store, 1, 3.0, name="c")  # nobody knows when
    put(store, 1, 4.0, name="d", started=START - timedelta(hours=1))
    assert values(store) == [2.0]
    assert [r.value for r in store.results(commit=commit_hash(1)[:8])] == [2.0]


def test_filters(store):
    put(store, 1, 1.0)
    put(store, 1, 2.0, replace(KEY, params=(("size", "1024"), ("dtype", "'float32'"))))
    put(store, 1, 3.0, replace(KEY, machine="tower"))
    put(store, 1, 4.0, replace(KEY, environment="py3.12"))
    put(store, 1, 5.0, replace(KEY, benchmark="suite.track_ops", params=()))
    declare(store, replace(benchmark("suite.track_ops", names=()), kind="track"))
    assert sorted(values(store)) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert values(store, benchmark=r"time_run\((64|1024), 'float(32|64)'\)") == [2.0]
    assert values(store, benchmark=r"size=1024") == [2.0]
    assert values(store, benchmark=r"^suite\.track") == [5.0]
    assert values(store, benchmark="nothing like it") == []
    with pytest.raises(UsageError, match="not a regular expression"):
        list(store.iter_series("("))


def test_series_come_by_name(store):
    keys = [replace(KEY, benchmark=name) for name in ("c.time_x", "a.time_x", "B.time_x")]
    for key in keys:
        put(store, 1, key=key)
    assert [s.key.benchmark for s in store.iter_series()] == ["B.time_x", "a.time_x", "c.time_x"]


def test_the_size_counts_series_with_results_and_their_results(store):
    assert store.size() == (0, 0)
    for number in (1, 2, 3):
        put(store, number)
    put(store, 1, key=replace(KEY, machine="tower"))
    assert store.size() == (2, 4)


def test_many_series_take_few_queries(store, monkeypatch):
    results = [
        Result(replace(KEY, params=(("size", str(n)),)), commit_hash(1), Status.OK, float(n))
        for n in range(900)
    ]
    parsed = ParsedFile("box", commit_hash(1), "py3.11", START, **rows_of(results))
    put_parsed(store, parsed, "box/1.json")
    queries = []
    real = engine.Connection.cursor
    monkeypatch.setattr(engine.Connection, "cursor", lambda *args: (queries.append(args[1]), real(*args))[1])
    assert len(list(store.iter_series())) == 900
    assert sum("packed FROM columns" in q for q in queries) == 4  # which there are, and three parts
    assert not any("series_id BETWEEN" in q or "series_id IN" in q for q in queries)
    assert len(queries) < 25


def test_process_records_by_commit(store):
    kind = replace(source("box/telemetry/1.jsonl"), kind="telemetry")
    new = [record(2), record(1), record(1, benchmark="suite.time_other")]
    store.import_batch([(kind, new)])
    assert store.process_records() == [record(1), record(1, benchmark="suite.time_other"), record(2)]
    assert store.process_records(commit=commit_hash(2)[:8]) == [record(2)]


def test_machines(store):
    put(store, 1)
    assert store.machines() == [Machine("box")]
    for fact in ("x", "y"):
        box = replace(source("box/machine.json", fact), kind="machine")
        tower = replace(source("tower/machine.json"), kind="machine")
        found = [(box, Machine("box", (("cpu", fact),))), (tower, Machine("tower"))]
        store.import_batch(found)
        assert store.machines() == [Machine("box", (("cpu", fact),)), Machine("tower")]


def test_how_a_series_was_sampled(store):
    """The result that was measured last counts; what asv did not say is left out."""
    key, late = KEY, START + timedelta(days=1)
    for name, started, number, samples in (("b", late, 7, (1.0, 2.0)), ("a", START, 5, (1.0,))):
        result = Result(key, commit_hash(1), Status.OK, 1.0, "", samples, number, started_at=started)
        put_parsed(store, ParsedFile("box", commit_hash(1), "py3.11", START, **rows_of([result])), name)
    put(store, 2)
    put(store, 1, key=replace(key, machine="other"))
    assert store.samplings()(key) == {commit_hash(1): {"number": "7", "repeat": "2"}, commit_hash(2): {}}
