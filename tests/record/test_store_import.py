"""Importing trees: complete, repeatable, in steps, and whatever lies in them."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace

import pytest
from store_trees import (
    commit_hash,
    content,
    ledger,
    record,
    row,
    write_benchmarks,
    write_result,
    write_tree,
)

from nbbench.model import Decision, FlagState, Status
from nbbench.record import importing, refresh, tree_files
from nbbench.record.decisions import write_decision
from nbbench.record.refresh import import_results
from nbbench.record.side_files import LedgerFile, append_record, ledger_path, telemetry_path, write_ledgers
from nbbench.record.store import Store


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "results")


def fresh(url_of, tree):
    """What a new database holds after importing the tree at once."""
    with Store.open(url_of) as store:
        import_results(store, tree)
        return content(store)


def decision(**changes):
    fields = {"event": "ev1", "plan": "PLAN", "state": FlagState.CONFIRMED, "reason": "why", "person": "ü"}
    return Decision(**fields | {"date": record().started_at} | changes)


def test_everything_is_imported(store, tree):
    append_record(telemetry_path(tree, "box", record().commit, "py3.11"), record())
    write_ledgers(
        ledger_path(tree, "a" * 40, "2.13"), LedgerFile("a" * 40, "c" * 40, "2.13", {"warm": ledger()})
    )
    write_decision(tree / "decisions", decision())
    report = import_results(store, tree)
    assert (report.files_new, report.files_bad, report.results, report.series) == (10, [], 30, 3)
    assert (report.samples, report.telemetry, report.ledgers, report.decisions) == (30, 1, 1, 1)
    series = list(store.iter_series(benchmark=r"time_run\(64\)"))
    assert [s.key.label for s in series] == ["suite.time_run(size=64)"]
    assert (series[0].unit, series[0].kind) == ("seconds", "time")
    assert [p.value for p in series[0].points] == [0.1 * n for n in range(1, 11)]
    assert series[0].points[1].samples == (0.2, 0.2)
    assert store.process_records() == [record()]
    assert [s.ledger for s in store.ledgers(lines=True)] == [ledger()]
    assert store.decisions() == [decision()]
    assert dict(store.machines()[0].facts)["cpu"] == "a processor"
    counts = store.counts()
    assert (counts["results"], counts["series"], counts["commits"], counts["bad_files"]) == (30, 3, 10, 0)


def test_nothing_new_is_not_read_again(store, tree, monkeypatch):
    import_results(store, tree)
    before = content(store)
    monkeypatch.setattr(tree_files, "parse_result_file", lambda *_: pytest.fail("parsed again"))
    for path in tree.glob("box/*.json"):
        os.utime(path, ns=(1, 1))  # the same content at another time
    report = import_results(store, tree)
    assert (report.files_new, report.files_changed, report.files_unchanged) == (0, 0, 10)
    (tree / "benchmarks.json").unlink()
    monkeypatch.setattr(tree_files, "read_bytes", lambda path: pytest.fail("read again"))
    assert import_results(store, tree).files_unchanged == 10
    assert content(store) == before


def test_a_changed_file_replaces_what_it_gave(store, tree):
    import_results(store, tree)
    write_result(tree, 3, {"suite.track_ops": row([7.0], params=())})
    report = import_results(store, tree)
    assert (report.files_new, report.files_changed, report.files_unchanged, report.results) == (0, 1, 9, 1)
    assert [p.value for p in next(store.iter_series(benchmark="track_ops")).points][2] == 7.0
    assert all(len(s.points) == 9 for s in store.iter_series(benchmark="time_run"))


def test_bad_files_are_skipped_counted_and_named(store, tree):
    broken = {
        "box/0-half.json": b'{"commit_hash": "0", "results": {"a": [[0.1',
        "box/1-empty.json": b"",
        "box/2-binary.json": bytes(range(256)) * 4,
        "box/3-old.json": b'{"version": 1}',
        "box/4-list.json": b"[1, 2]",
        "ledger/x.json.gz": b"\x1f\x8b half",
        "decisions/20250101T000000Z-e-detected.decision": b"{}",
    }
    for name, data in broken.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(data)
    for _ in range(2):  # named each time
        report = import_results(store, tree)
        assert sorted(name for name, _ in report.files_bad) == sorted(broken)
        assert all(reason for _, reason in report.files_bad)
    assert store.counts()["bad_files"] == len(broken)
    assert store.counts()["results"] == 30


def test_what_a_file_gave_is_left_out_until_it_is_whole_again(store, tree):
    import_results(store, tree)
    path = tree / "box" / "00000003-py3.11.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert [name for name, _ in import_results(store, tree).files_bad] == ["box/00000003-py3.11.json"]
    assert store.counts()["results"] == 27
    path.write_bytes(whole)
    report = import_results(store, tree)
    assert (report.files_changed, report.files_bad) == (1, [])
    assert store.counts()["results"] == 30


def test_telemetry_grows_and_counts_bad_lines(store, tree):
    path = telemetry_path(tree, "box", record().commit, "py3.11")
    append_record(path, record(1))
    assert import_results(store, tree).telemetry == 1
    with path.open("ab") as file:
        file.write(b'{"schema":1,"commit":"torn')
    append_record(path, record(2))
    report = import_results(store, tree)
    assert (report.telemetry, report.bad_lines) == (2, 1)
    assert store.process_records() == [record(1), record(2)]


def test_new_parameter_names_give_the_same_as_a_fresh_import(store, tree, tmp_path):
    (tree / "benchmarks.json").write_bytes(b"{ half")
    report = import_results(store, tree)
    assert [name for name, _ in report.files_bad] == ["benchmarks.json"]
    assert next(store.iter_series(benchmark="time_run")).key.params == (("param1", "128"),)
    assert next(store.iter_series(benchmark="time_run")).unit == "seconds"  # asv's own
    write_benchmarks(tree, ["width"])
    import_results(store, tree)
    write_benchmarks(tree, ["size"])
    report = import_results(store, tree)
    assert (report.files_unchanged, report.results) == (10, 0)
    ours, other = content(store), fresh(f"sqlite:///{tmp_path / 'other.sqlite'}", tree)
    assert {k: ours[k] for k in ("series", "results")}.keys() == {"series", "results"}
    assert ours["series"] == other["series"]
    assert ours["results"] == other["results"]


def test_a_benchmark_that_is_no_longer_declared_keeps_its_names(store, tree):
    import_results(store, tree)
    (tree / "benchmarks.json").write_text(json.dumps({"version": 2}))
    write_result(tree, 11, {"suite.time_run": row([0.7, 0.8])})
    import_results(store, tree)
    assert [len(s.points) for s in store.iter_series(benchmark="time_run")] == [11, 11]


def test_what_is_gone_from_the_tree_is_gone_from_the_database(store, tree, tmp_path):
    """D1: result files, telemetry, ledgers, decisions; what is left is what a fresh import gives."""
    append_record(telemetry_path(tree, "box", record().commit, "py3.11"), record())
    write_ledgers(
        ledger_path(tree, "a" * 40, "2.13"), LedgerFile("a" * 40, "c" * 40, "2.13", {"warm": ledger()})
    )
    path = write_decision(tree / "decisions", decision())
    import_results(store, tree)
    (tree / "box" / "00000003-py3.11.json").unlink()
    assert import_results(store, tree).files_gone == 1
    assert store.counts()["results"] == 27
    shutil.rmtree(tree / "ledger")
    shutil.rmtree(tree / "box" / "telemetry")
    path.unlink()
    assert import_results(store, tree).files_gone == 3
    assert (store.ledgers(), store.process_records(), store.decisions()) == ([], [], [])
    assert import_results(store, tree).files_gone == 0
    assert content(store)["results"] == fresh(f"sqlite:///{tmp_path / 'other.sqlite'}", tree)["results"]
    shutil.rmtree(tree / "box")
    assert import_results(store, tree).files_gone == 10  # and machine.json
    store.place_commits([])
    assert (store.counts()["results"], store.commits()) == (0, [])


def test_two_checkouts_share_what_is_equal_and_the_newest_measurement_counts(store, tree):
    """D5: an import of one's own older files does not replace the other's newer ones."""
    other = tree.parent / "elsewhere"
    shutil.copytree(tree, other)
    newer = {"suite.track_ops": row([7.0], params=(), started=1_770_000_000_000)}
    write_result(other, 3, newer)
    import_results(store, tree)
    import_results(store, other, place="there")
    assert store.size() == (3, 58)  # both are kept
    for place, root in (("", tree), ("there", other), ("", tree)):
        import_results(store, root, place=place)
        assert [p.value for p in next(store.iter_series(benchmark="track_ops")).points][2] == 7.0
    (tree / "box" / "00000004-py3.11.json").unlink()
    import_results(store, tree)
    assert len(next(store.iter_series(benchmark="track_ops")).points) == 10  # the other checkout has it
    (other / "box" / "00000004-py3.11.json").unlink()
    (other / "box" / "00000003-py3.11.json").unlink()
    import_results(store, other, place="there")
    assert [p.value for p in next(store.iter_series(benchmark="track_ops")).points][2] == 300.0
    assert len(next(store.iter_series(benchmark="track_ops")).points) == 9


def test_projects_do_not_mix(url, tree, tmp_path):
    """D4: the same machine, commits and benchmarks in another project are other ones."""
    other = write_tree(tmp_path / "elsewhere", 3)
    write_benchmarks(other, ["width"])
    with Store.open(url) as store:
        import_results(store, tree)
        whole = content(store)
    with Store.open(url, project="theirs") as store:
        import_results(store, other)
        store.place_commits(reversed(store.commits()))
        assert store.size() == (3, 9)
        assert next(store.iter_series(benchmark="time_run")).key.params == (("width", "128"),)
        assert sorted({name for name, _ in store.places()}) == ["", "theirs"]
        assert store.places() == [("", ""), ("theirs", "")]
        store.save_events([], {"series": 3})
    with Store.open(url) as store:
        assert store.size() == (3, 30)
        assert next(store.iter_series(benchmark="time_run")).key.params == (("size", "128"),)
        assert len(store.results(commit="0000000")) == 30
        assert store.run_info() == {}
    with Store.open(url, project="theirs") as store:
        import_results(store, tmp_path / "nowhere")
        store.place_commits([])
    with Store.open(url) as store:
        assert content(store)["results"] == whole["results"]
        assert content(store)["commits"] == whole["commits"]


def test_names_of_every_kind(store, tmp_path):
    root = tmp_path / "results"
    values = ["'" + "x" * 100_000 + "'", "'ü € 中 \U0001f600 \ud800 \0'", "1.5"]
    rows = {"süite.time_ünï\0": row([1.0, 2.0, 3.0], params=[values], version="\ud800")}
    write_result(root, 1, rows, machine="mächine", environment="env-[a,b] ü")
    for _ in range(2):
        assert import_results(store, root).files_bad == []
    keys = [s.key for s in store.iter_series()]
    assert {key.params[0][1] for key in keys} == set(values)
    assert {(key.machine, key.environment, key.version) for key in keys} == {
        ("mächine", "env-[a,b] ü", "\ufffd")
    }


def test_equal_parameter_values_keep_the_last(store, tmp_path):
    write_result(tmp_path, 1, {"b.time_x": row([1.0, 2.0], params=[["0.1", "0.1"]])})
    assert import_results(store, tmp_path).results == 1
    assert next(store.iter_series()).points[0].value == 2.0


def test_statuses(store, tmp_path):
    values = [None, math.nan, math.inf, "text", 10**400, 3]
    write_result(tmp_path, 1, {"b.track_x": row(values, params=[list("abcdef")])})
    report = import_results(store, tmp_path)
    assert report.odd_values == 3
    found = {s.key.params[0][1]: (s.points[0].status, s.points[0].value) for s in store.iter_series()}
    failed = (Status.FAILED, None)
    expected = {"a": failed, "b": (Status.SKIPPED, None), "c": failed, "d": failed, "e": failed}
    assert found == expected | {"f": (Status.OK, 3.0)}


def test_a_value_that_the_database_refuses_costs_one_file(store, tree, monkeypatch):
    good = tree_files.parse_result_file

    def poisoned(*args):
        parsed = good(*args)
        bad = parsed.results._replace(samples=2**70)
        return replace(parsed, results=bad) if parsed.commit == commit_hash(4) else parsed

    monkeypatch.setattr(tree_files, "parse_result_file", poisoned)
    report = import_results(store, tree)
    assert [name for name, _ in report.files_bad] == ["box/00000004-py3.11.json"]
    assert (report.files_new, report.results) == (9, 27)
    monkeypatch.undo()
    assert import_results(store, tree).results == 3


def test_processes_that_read_ahead_give_the_same(store, tree, tmp_path, monkeypatch):
    (tree / "box" / "00000003-py3.11.json").write_text("{")
    whole = fresh(f"sqlite:///{tmp_path / 'other.sqlite'}", tree)
    monkeypatch.setattr(refresh, "_MANY_BYTES", 1)
    monkeypatch.setattr("nbbench.record.workers.useful_jobs", lambda size, many: 2)
    report = import_results(store, tree)
    assert (report.files_new, [name for name, _ in report.files_bad]) == (9, ["box/00000003-py3.11.json"])
    assert content(store) == whole


class Stopped(Exception):
    """The import is interrupted."""


def test_an_interrupted_import_resumes(store, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(refresh, "_BATCH_FILES", 3)

    parse, calls = tree_files.parse_result_file, []

    def stop(*args):
        calls.append(args)
        if len(calls) > 8:
            raise Stopped
        return parse(*args)

    monkeypatch.setattr(tree_files, "parse_result_file", stop)
    with pytest.raises(Stopped):
        import_results(store, tree)
    monkeypatch.undo()
    assert store.counts()["results"] == 21  # three whole batches, with two files of others
    report = import_results(store, tree)
    assert (report.files_new, report.files_unchanged) == (3, 7)
    assert content(store) == fresh(f"sqlite:///{tmp_path / 'other.sqlite'}", tree)


def test_a_failure_inside_a_batch_undoes_the_batch(store, tree, tmp_path, monkeypatch):
    put, calls = importing._Rows._put_results, []

    def failing(self, *args):
        calls.append(1)
        if len(calls) == 5:
            raise Stopped
        return put(self, *args)

    monkeypatch.setattr(importing._Rows, "_put_results", failing)
    with pytest.raises(Stopped):
        import_results(store, tree)
    assert store.counts() == dict.fromkeys(store.counts(), 0) | {"projects": 1}
    monkeypatch.undo()
    import_results(store, tree)  # by the same store: its ids of the lost batch are forgotten
    assert content(store) == fresh(f"sqlite:///{tmp_path / 'other.sqlite'}", tree)


def test_an_empty_or_missing_tree_is_no_error(store, tmp_path):
    assert import_results(store, tmp_path / "nowhere").results == 0
    assert import_results(store, tmp_path).files_unchanged == 0
