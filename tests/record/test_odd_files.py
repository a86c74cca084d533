"""J7: whatever lies in a results tree is skipped, counted and named; nothing hangs or fills the memory."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import socket
import stat
from types import SimpleNamespace

import pytest
from store_trees import row, write_result, write_tree

from nbbench.record.asv_values import BadFileError, read_bytes, unpacked
from nbbench.record.refresh import import_results


def bomb(size: int) -> bytes:
    return gzip.compress(bytes(size), 9)


ODD = {
    "box/dangling.json": lambda path: path.symlink_to("nowhere"),
    "box/loop.json": lambda path: path.symlink_to("loop.json"),
    "box/pipe.json": os.mkfifo,
    "box/zero.json": lambda path: path.symlink_to("/dev/zero"),
    "box/folder.json": lambda path: path.mkdir(),
    "box/deep.json": lambda path: path.write_bytes(b"[" * 200_000),
    "box/old.json": lambda path: path.write_bytes(b'{"version": 1}'),
    "box/telemetry/dangling.jsonl": lambda path: path.symlink_to("nowhere"),
    "box/telemetry/pipe.jsonl": os.mkfifo,
    "box/telemetry/zero.jsonl": lambda path: path.symlink_to("/dev/zero"),
    "ledger/bomb.json.gz": lambda path: path.write_bytes(bomb(200 << 20)),
    "ledger/deep.json.gz": lambda path: path.write_bytes(gzip.compress(b"[" * 200_000)),
    "ledger/pipe.json.gz": os.mkfifo,
    "ledger/loop.json.gz": lambda path: path.symlink_to("loop.json.gz"),
    "decisions/pipe.decision": os.mkfifo,
    "decisions/deep.decision": lambda path: path.write_bytes(b"[" * 200_000),
    "decisions/dangling.decision": lambda path: path.symlink_to("nowhere"),
}


def test_every_odd_file_is_named_and_the_rest_is_imported(store, tmp_path):
    tree = write_tree(tmp_path / "results")
    for name, make in ODD.items():
        (tree / name).parent.mkdir(exist_ok=True)
        make(tree / name)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tree / "box" / "s.json"))
    (tree / "box" / "linked.json").symlink_to("00000003-py3.11.json")  # a good one
    (tree / "again").symlink_to(".")
    (tree / "up").symlink_to("..")
    for _ in range(2):
        report = import_results(store, tree)
        assert sorted(name for name, _ in report.files_bad) == sorted([*ODD, "box/s.json", "again", "up"])
        assert all(reason for _, reason in report.files_bad)
        assert store.counts()["results"] == 33
    told = dict(report.files_bad)
    assert told["box/pipe.json"] == "not a file but a pipe"
    assert told["box/zero.json"] == "not a file but a device"
    assert told["ledger/bomb.json.gz"] == "larger than 128 MiB when unpacked"
    assert "missing key 'commit_hash'" in told["box/old.json"]


@pytest.mark.parametrize("name", ["benchmarks.json", "box/machine.json"])
def test_pipes_in_place_of_what_describes(store, tmp_path, name):
    tree = write_tree(tmp_path / "results")
    (tree / name).unlink()
    os.mkfifo(tree / name)
    report = import_results(store, tree)
    assert report.results == 30
    assert [bad for bad, _ in report.files_bad] == [name]


def test_a_file_that_has_nothing_to_read_now(tmp_path, monkeypatch):
    """J7: /proc/kmsg is a file by its kind, and read without waiting it gives nothing, not even no bytes."""
    path = tmp_path / "kmsg"
    path.write_text("")
    reader = SimpleNamespace(read=lambda size: None)
    monkeypatch.setattr(os, "fdopen", lambda *args, **more: contextlib.nullcontext(reader))
    with pytest.raises(BadFileError, match="nothing to read"):
        read_bytes(path)


def test_a_file_that_is_larger_than_any_result_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("nbbench.record.asv_values.MAX_BYTES", 100)
    path = tmp_path / "x.json"
    path.write_bytes(bytes(101))
    with pytest.raises(BadFileError, match="larger than"):
        read_bytes(path)
    with pytest.raises(BadFileError, match="when unpacked"):
        unpacked(bomb(101), path)
    assert unpacked(bomb(100), path) == bytes(100)


def test_calibrations_and_workloads_are_no_results(store, tmp_path):
    """D8."""
    tree = write_tree(tmp_path / "results")
    (tree / "calibration").mkdir()
    (tree / "calibration" / "box.json").write_text("{}")
    (tree / "workloads.json").write_text("{}")
    (tree / "workloads.jsonl").write_text("{}")
    assert import_results(store, tree).files_bad == []


def test_names_of_environments_may_be_of_any_length(store, tmp_path):
    """G1: asv hashes long ones in names of files only."""
    name = "virtualenv-py3.11-" + "-".join(f"requirement{i}1.0" for i in range(300))
    write_result(tmp_path, 1, {"b.time_x": row([1.0], params=())}, environment="env-0123", env_name=name)
    report = import_results(store, tmp_path)
    assert (report.files_bad, report.results) == ([], 1)
    assert next(store.iter_series()).key.environment == name


def test_benchmarks_without_a_declaration_have_asvs_units(store, tmp_path):
    """D8: a series plays one role, wherever its unit is looked at."""
    names = ("time_x", "timeraw_x", "peakmem_x", "mem_x", "track_x", "x")
    write_result(tmp_path, 1, {f"b.{name}": row([1.0], params=()) for name in names})
    import_results(store, tmp_path)
    units = {s.key.benchmark.removeprefix("b."): (s.unit, s.kind) for s in store.iter_series()}
    assert units == {
        "time_x": ("seconds", "time"),
        "timeraw_x": ("seconds", "time"),
        "peakmem_x": ("bytes", "peakmemory"),
        "mem_x": ("bytes", "memory"),
        "track_x": ("", "track"),
        "x": ("", ""),
    }


def test_what_was_odd_and_is_gone_is_forgotten(store, tmp_path):
    tree = write_tree(tmp_path / "results")
    path = tree / "box" / "old.json"
    path.write_bytes(b'{"version": 1}')
    import_results(store, tree)
    assert stat.S_ISREG(path.stat().st_mode)
    path.unlink()
    shutil.rmtree(tree / "decisions", ignore_errors=True)
    report = import_results(store, tree)
    assert (report.files_bad, store.counts()["bad_files"]) == ([], 0)
