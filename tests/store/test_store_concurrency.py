"""Killed imports, and several processes at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from store_trees import content, write_tree

from nbbench.store import Store, import_results, load

IMPORT = """
import os, signal, sys, time
from pathlib import Path
import sqlalchemy as sa
from nbbench.store import Store, import_results, load

url, tree, start, batch, kill_at = sys.argv[1:]
load._BATCH_FILES = int(batch)
time.sleep(max(0, float(start) - time.time()))
with Store.open(url) as store:
    if int(kill_at):
        commits = []
        def kill(connection):
            commits.extend([1] * connection.get_execution_options().get("nbbench_writes", False))
            if len(commits) == int(kill_at):
                os.kill(os.getpid(), signal.SIGKILL)
        sa.event.listen(store._engine, "commit", kill)  # just before the database commits
    report = import_results(store, Path(tree))
    print(report.files_new, report.files_unchanged)
"""


def start_import(url, tree, start=0.0, batch=64, kill_at=0):
    arguments = [str(a) for a in (url, tree, start, batch, kill_at)]
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def expected(tmp_path):
    tree = write_tree(tmp_path / "results", 40)
    with Store.open(f"sqlite:///{tmp_path / 'expected.sqlite'}") as store:
        import_results(store, tree)
        return tree, content(store)


def test_a_killed_import_leaves_whole_files_and_resumes(url, expected):
    tree, whole = expected
    Store.open(url).close()
    # Two transactions write the machine and the benchmarks; the third batch is lost.
    process = start_import(url, tree, batch=5, kill_at=5)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    with Store.open(url) as store:
        counts = store.counts()
        assert (counts["results"], counts["source_files"] - 1) == (30, 10)
        report = import_results(store, tree)
        assert (report.files_new, report.files_unchanged) == (30, 10)
        assert content(store) == whole


def test_several_importers_at_once(url, expected):
    tree, whole = expected
    start = time.time() + 1.5
    processes = [start_import(url, tree, start, batch=3) for _ in range(3)]
    told = [process.communicate(timeout=60) for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0], told
    new, same = zip(*(map(int, output.split()) for output, _ in told), strict=True)
    assert sum(new) == 40
    assert sum(same) == 80
    with Store.open(url) as store:
        assert content(store) == whole


def test_reading_while_importing(url, expected, monkeypatch):
    tree, _ = expected
    monkeypatch.setattr(load, "_BATCH_FILES", 4)
    seen = []
    with Store.open(url) as store, Store.open(url, timeout_s=0.1) as reader:

        def look(done, total, name):
            seen.append(sum(len(s.points) for s in reader.series()))

        import_results(store, tree, look)
    assert seen[-1] == 120
    assert all(number % 12 == 0 for number in seen)
