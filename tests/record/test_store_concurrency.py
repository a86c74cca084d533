"""Killed imports, and several processes at once."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from store_trees import content, write_tree

from nbbench.config import Settings
from nbbench.record import refresh
from nbbench.record.refresh import import_results
from nbbench.record.store import Store

IMPORT = """
import os, signal, sys
from pathlib import Path
from nbbench.record import engine, refresh
from nbbench.record.store import Store
from nbbench.record.refresh import import_results

url, tree, batch, kill_at = sys.argv[1:]
refresh._BATCH_FILES = int(batch)
refresh.Store  # everything is imported by now
print("ready", flush=True)
sys.stdin.readline()
with Store.open(url) as store:
    if int(kill_at):
        commits = []
        commit = engine.commit
        def kill(handle, begin):
            commits.extend([1] * (begin == ("BEGIN" if url.startswith("postgresql") else "BEGIN IMMEDIATE")))
            if len(commits) == int(kill_at):
                os.kill(os.getpid(), signal.SIGKILL)
            commit(handle, begin)
        engine.commit = kill  # just before the database commits
    report = import_results(store, Path(tree))
    print(report.files_new, report.files_unchanged, report.files_changed, report.files_bad)
"""


def start_import(url, tree, batch, kill_at=0):
    """A process that is about to import: it waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(url), str(tree), str(batch), str(kill_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


@pytest.fixture
def expected(tmp_path):
    tree = write_tree(tmp_path / "results", 40)
    with Store.open(f"sqlite:///{tmp_path / 'expected.sqlite'}") as store:
        import_results(store, tree)
        return tree, content(store)


REBUILD = """
import sys
from pathlib import Path
from nbbench.config import Settings
from nbbench.record import refresh
from nbbench.record.store import Store

root, url, waits = sys.argv[1:]
if waits == "waits":
    refresh._BATCH_FILES = 5
    write = Store.import_batch
    def wait(*given):
        Store.import_batch = write
        found = write(*given)
        print("inside", flush=True)
        sys.stdin.readline()
        return found
    Store.import_batch = wait
settings = Settings(root=Path(root), db=url)
with refresh.one_rebuild(settings):
    print(refresh.rebuild(settings).report.files_new)
"""


def test_of_two_rebuilds_one_waits_or_says_so(url, expected, tmp_path):
    """The first one is in the middle of its import when the second one begins."""
    settings = Settings(root=tmp_path, db=f"sqlite:///{tmp_path / 'quiet.sqlite'}")
    refresh.rebuild(settings)
    started = []
    for waits in ("waits", "goes on"):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-c", REBUILD, str(tmp_path), url, waits]
        started.append(subprocess.Popen(command, text=True, **pipes))
        if waits == "waits":
            assert started[0].stdout.readline() == "inside\n", started[0].stderr.read()
    first, second = started
    if url.startswith("sqlite"):
        assert "makes" in second.stderr.readline()
        assert [one.communicate("\n")[0] for one in started] == ["40\n", "40\n"]
    else:
        assert second.communicate()[0] == "40\n"
        told = first.communicate("\n")[1]
        assert "StoreError: another process has made" in told, told
    with refresh.open_store(settings) as quiet, Store.open(url, project=quiet.project) as store:
        assert content(store) == content(quiet)


def test_a_killed_import_leaves_whole_files_and_resumes(url, expected):
    tree, whole = expected
    Store.open(url).close()
    # Four batches are whole, with the two files that describe; the fifth is lost.
    process = start_import(url, tree, batch=5, kill_at=5)
    _, errors = process.communicate("\n")
    assert process.returncode == -signal.SIGKILL, errors
    with Store.open(url) as store:
        counts = store.counts()
        assert (counts["results"], counts["files"] - 2) == (54, 18)
        report = import_results(store, tree)
        assert (report.files_new, report.files_unchanged) == (22, 18)
        assert content(store) == whole


def test_several_importers_at_once(url, expected):
    tree, whole = expected
    processes = [start_import(url, tree, batch=3) for _ in range(3)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate() for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0], told
    counts = [list(map(int, output.split()[:3])) for output, _ in told]
    new, same, changed = (sum(column) for column in zip(*counts, strict=True))
    assert (new, same, changed) == (40, 80, 0), told
    assert all(output.endswith("[]\n") for output, _ in told)
    with Store.open(url) as store:
        assert content(store) == whole


def test_reading_while_importing(url, expected, monkeypatch):
    tree, _ = expected
    monkeypatch.setattr(refresh, "_BATCH_FILES", 7)
    seen = []
    with Store.open(url) as store, Store.open(url, timeout_s=0.1) as reader:
        take = refresh._Import._take

        def look(self, *args):
            take(self, *args)
            seen.append(sum(len(s.points) for s in reader.iter_series()))

        monkeypatch.setattr(refresh._Import, "_take", look)
        import_results(store, tree)
    assert seen[-1] == 120
    assert set(seen) == {0, 15, 36, 57, 78, 99, 120}  # whole batches; two files hold no results
