"""E1, E2, D2, D6, D8: one order, git's first parents, with every commit that has results in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from store_trees import row

from nbbench.config import Settings
from nbbench.record.branch import COMMITS_FILE, branch_commits, read_commits, save_commits
from nbbench.record.refresh import import_all, open_store
from nbbench.subject.repository import register

DAY = 86_400
START = 1_700_000_000


class Clone:
    """A git repository whose commits have the dates that a test gives them."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments, when=START):
        date = f"{when} +0000"
        names = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environment |= {f"GIT_{name}": "a" for name in names} | {"GIT_CONFIG_GLOBAL": os.devnull}
        environment |= {f"GIT_{name}_DATE": date for name in ("AUTHOR", "COMMITTER")}
        command = ["git", "-C", str(self.folder), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, path, text, when=START):
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", f"{path} {text}", when=when)
        return self.git("rev-parse", "HEAD")

    def date(self, name):
        return int(self.git("show", "-s", "--format=%at", name))


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "clone")


@pytest.fixture
def settings(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "asv.conf.json").write_text('{\n  "project": "p"\n}')
    return Settings(root, branch="main", measured_path="src")


def measure(settings, clone, *commits):
    """asv results with the author dates that asv writes."""
    folder = settings.results_dir / "box"
    folder.mkdir(parents=True, exist_ok=True)
    for name in commits:
        content = {
            "version": 2, "commit_hash": name, "env_name": "e", "date": clone.date(name) * 1000, "params": {},
            "result_columns": ["result", "params", "version"], "results": {"b.time_x": row([1.0], ())[:3]},
        }  # fmt: skip
        (folder / f"{name[:8]}-e.json").write_text(json.dumps(content))


def order(settings):
    with open_store(settings) as store:
        report = import_all(settings, store)
        (series,) = store.iter_series()
        measured = [point.commit for point in series.points]
        return measured, [commit.position for commit in store.commits()], report.notes


def test_a_clock_five_days_ahead_moves_no_commit(settings, clone):
    """E1: the docs-only commit stands where git has it."""
    first = clone.commit("src/a", "1", START)
    culprit = clone.commit("src/a", "2", START + 6 * DAY)
    docs = clone.commit("README", "x", START + 2 * DAY)
    after = clone.commit("src/a", "3", START + 3 * DAY)
    measure(settings, clone, first, culprit, docs, after)
    register(settings, clone.folder)
    assert order(settings) == ([first, culprit, docs, after], [1, 2, 0, 3], [])


def test_a_commit_dated_2028_stays_in_its_place(settings, clone):
    """E1."""
    later = int(datetime(2028, 1, 1, tzinfo=UTC).timestamp())
    commits = [clone.commit("README", str(n), later if n == 1 else START + n * DAY) for n in range(3)]
    commits += [clone.commit("src/a", str(n), START + n * DAY) for n in range(3, 6)]
    measure(settings, clone, *commits)
    register(settings, clone.folder)
    assert order(settings)[0] == commits


def test_commits_within_one_second_keep_their_order(settings, clone):
    """E2."""
    commits = [clone.commit("src/a", str(n)) for n in range(12)]
    measure(settings, clone, *commits)
    register(settings, clone.folder)
    assert order(settings) == (commits, list(range(1, 13)), [])


def test_what_a_merge_brought_in_stands_before_it(settings, clone):
    first = clone.commit("src/a", "1", START)
    clone.git("switch", "-q", "-c", "side")
    side = [clone.commit("src/b", str(n), START - n * DAY) for n in (1, 2)]
    clone.git("switch", "-q", "main")
    second = clone.commit("src/a", "2", START + DAY)
    clone.git("merge", "-q", "--no-ff", "-m", "merge", "side", when=START + 2 * DAY)
    merge = clone.git("rev-parse", "HEAD")
    measure(settings, clone, first, second, merge, *side)
    register(settings, clone.folder)
    assert order(settings)[0] == [first, second, *side, merge]


def test_a_rebased_branch(settings, clone):
    """D8: positions are unique; what is no longer of the branch is left out, and that is said."""
    base = clone.commit("src/a", "1", START)
    old = clone.commit("src/a", "2", START + DAY)
    measure(settings, clone, base, old)
    register(settings, clone.folder)
    assert order(settings) == ([base, old], [1, 2], [])
    clone.git("reset", "-q", "--hard", base)
    new = clone.commit("src/a", "3", START + DAY)
    measure(settings, clone, new)
    measured, positions, (note,) = order(settings)
    assert (measured, positions) == ([base, new], [1, 2])
    assert note == f"1 commit with results ({old[:8]}) not of main: left out of its history"
    with open_store(settings) as store:
        assert store.commit(old).hash == old
        assert len(store.results(commit=old)) == 1


def test_without_a_subject_the_dates_are_said(settings, clone):
    """E1, D2: and registering it gives the commits their order, places and subject lines."""
    late = clone.commit("src/a", "1", START + DAY)
    early = clone.commit("src/a", "2", START)
    measure(settings, clone, late, early)
    assert order(settings) == ([early, late], [0, 0], ["without a subject, commits stand by their dates"])
    with open_store(settings) as store:
        before = store.fingerprint()
    register(settings, clone.folder)
    assert order(settings) == ([late, early], [1, 2], [])
    with open_store(settings) as store:
        assert [commit.subject for commit in store.commits()] == ["src/a 1", "src/a 2"]
        assert store.fingerprint() != before


def test_the_kept_list_gives_the_order_without_the_subject(settings, clone):
    """E1: also of commits that did not change the measured path."""
    culprit = clone.commit("src/a", "1", START + 6 * DAY)
    docs = clone.commit("README", "x", START + 2 * DAY)
    after = clone.commit("src/a", "2", START + 3 * DAY)
    measure(settings, clone, culprit, docs, after)
    register(settings, clone.folder)
    with open_store(settings) as store:
        import_all(settings, store)
        save_commits(settings, store)
    shutil.rmtree(settings.state_dir)
    assert order(settings) == ([culprit, docs, after], [1, 0, 2], [])
    assert [c.hash for c in read_commits(settings)] == [culprit, after]
    assert [c.hash for c in branch_commits(settings)] == [culprit, after]
    docs2 = clone.commit("README", "y", START + 4 * DAY)
    measure(settings, clone, docs2)
    measured, _, (note,) = order(settings)
    assert measured == [docs2, culprit, docs, after]
    assert note == f"without a subject, what {COMMITS_FILE} does not list stands by its date: 1 commit"


def test_the_list_of_another_history_stays_and_comes_first(settings, clone, tmp_path):
    """D6: a demo subject in a clone with committed results."""
    theirs = Clone(tmp_path / "theirs")
    old = [theirs.commit("src/t", str(n), START + n) for n in range(2)]
    measure(settings, theirs, *old)
    register(settings, theirs.folder)
    with open_store(settings) as store:
        import_all(settings, store)
        save_commits(settings, store)
    kept = (settings.results_dir / COMMITS_FILE).read_bytes()
    new = [clone.commit("src/a", str(n), START - n) for n in range(2)]
    measure(settings, clone, *new)
    register(settings, clone.folder)
    measured, positions, (note,) = order(settings)
    assert (measured, positions) == ([*old, *new], [0, 0, 1, 2])
    assert "another history" in note
    with open_store(settings) as store:
        save_commits(settings, store)
    assert (settings.results_dir / COMMITS_FILE).read_bytes() == kept
