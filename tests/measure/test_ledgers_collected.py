"""Which ledgers are found for a commit, and that no timed sample holds one."""

from __future__ import annotations

import ast
import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbbench.config import Settings
from nbbench.errors import HostError
from nbbench.host import HostWork
from nbbench.ledger import Ledger
from nbbench.measure import ledgers, warm_client
from nbbench.model import Commit
from nbbench.record.side_files import LedgerFile, ledger_path, write_ledgers

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
START = HostWork("warm", "")
COMMIT = Commit("c" * 40, "ab" * 20, datetime(2026, 1, 1, tzinfo=UTC), "subject", 1)
LEDGER = Ledger("warm", 64, 10, 11, 6400, 0, 512, (), "1.5", "abc", "float32")


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "asv.conf.json").write_text('{"project": "nanoBragg PyTorch"}')
    return Settings(root=tmp_path)


def test_another_torch_version_is_another_environment(settings, monkeypatch):
    for version, ops in (("2.9.1", 1), ("2.13.0", 2)):
        path = ledger_path(settings.results_dir, COMMIT.tree, version)
        one = dataclasses.replace(LEDGER, ops=ops)
        write_ledgers(path, LedgerFile(COMMIT.tree, COMMIT.hash, version, {"warm": one}))
    for version, found in (("2.9.1", [1]), ("2.13.0", [2]), ("2.14.0", [])):
        monkeypatch.setattr(ledgers, "torch_version", lambda version=version: version)
        assert [one.ops for one in ledgers.known_work(settings, COMMIT).ledgers.values()] == found


def test_equal_trees_share_a_ledger(settings, monkeypatch):
    monkeypatch.setattr(ledgers, "torch_version", lambda: "2.13.0")
    path = ledger_path(settings.results_dir, COMMIT.tree, "2.13.0")
    write_ledgers(path, LedgerFile(COMMIT.tree, COMMIT.hash, "2.13.0", {"warm": LEDGER}))
    other = dataclasses.replace(COMMIT, hash="d" * 40)
    assert ledgers.known_work(settings, other).ledgers == {"warm": LEDGER}


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
    recording = {"ledger_of", "operations", "record_ledger", "TrafficLedger"}
    for name, function in found.items():
        used = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        used |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert not used & recording, name


class TestManyTrees:
    """`commit_ledgers` with recording stood in for: what is asked of whom, and what stops it."""

    COMMITS = tuple(
        dataclasses.replace(COMMIT, hash=f"{n:040x}", tree=f"{n:040x}"[::-1], position=n) for n in range(1, 9)
    )

    @pytest.fixture
    def servers(self, settings, monkeypatch):
        """The servers that were started; each is a list of the commits recorded with it."""
        started = []

        class Server(list):
            def __init__(self, *_, **__):
                started.append(self)

            def close(self):
                self.append("closed")

        monkeypatch.setattr(warm_client, "WarmServer", Server)
        monkeypatch.setattr(ledgers, "subject_or_none", lambda settings: object())
        for name in ("torch_version", "installed_torch"):
            monkeypatch.setattr(ledgers, name, lambda: "2.13.0")
        return started

    @pytest.fixture
    def recording(self, settings, monkeypatch):
        """Let `record(server, commit, workloads)` stand in for a recording; it says why that failed."""

        def given(record) -> None:
            def invoke_all(settings, servers, calls):
                reasons = []
                for call in calls:
                    commit, names = call.open(servers), call.arguments["workloads"]
                    reasons.append(record(servers.full, commit, names) or "")
                    if not reasons[-1]:
                        kept = dict.fromkeys(names, LEDGER)
                        path = ledger_path(settings.results_dir, commit.tree, "2.13.0")
                        write_ledgers(path, LedgerFile(commit.tree, commit.hash, "2.13.0", kept))
                return reasons

            monkeypatch.setattr(ledgers, "open_tree", lambda settings, server, commit, bare: commit)
            monkeypatch.setattr(ledgers, "invoke_all", invoke_all)

        return given

    def test_each_tree_once_whatever_the_jobs_and_only_what_is_missing(self, settings, servers, recording):
        path = ledger_path(settings.results_dir, self.COMMITS[0].tree, "2.13.0")
        write_ledgers(
            path,
            LedgerFile(
                self.COMMITS[0].tree, self.COMMITS[0].hash, "2.13.0", {"warm": LEDGER}, starts={"warm": START}
            ),
        )

        recording(lambda server, commit, wanted: server.append((commit.position, wanted)))
        twin = dataclasses.replace(self.COMMITS[3], hash="f" * 40, position=9)
        asked = [*self.COMMITS, twin]
        found = ledgers.commit_ledgers(settings, asked, ["warm", "cold"], say=str, jobs=3)
        [server] = servers
        assert server.pop() == "closed"
        done = sorted(server)
        assert [place for place, _ in done] in ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 5, 6, 7, 8, 9])
        assert dict(done)[1] == ["cold"] and dict(done)[2] == ["warm", "cold"]
        assert found.keys() == {commit.tree for commit in self.COMMITS}

    def test_a_tree_that_fails_is_said_and_the_others_go_on(self, settings, servers, recording):
        recording(lambda server, commit, wanted: "no such attribute" if commit.position == 2 else "")
        said = []
        found = ledgers.commit_ledgers(settings, self.COMMITS, ["warm"], say=said.append, jobs=2)
        assert f"{self.COMMITS[1].short}: no such attribute" in said
        assert any(re.match(r"exact work \[2/8, \d+:\d\d left\] ", line) for line in said)
        assert [bool(found[commit.tree]) for commit in self.COMMITS] == [True, False] + [True] * 6

    def test_an_interrupt_stops_the_others_as_well(self, settings, servers, recording):
        def record(server, commit, wanted):
            server.append(commit.position)
            raise KeyboardInterrupt

        recording(record)
        with pytest.raises(KeyboardInterrupt):
            ledgers.commit_ledgers(settings, self.COMMITS, ["warm"], say=str, jobs=2)
        [server] = servers
        assert server == [1, "closed"]

    def test_a_server_that_is_gone_is_said_and_the_next_trees_get_another(self, settings, servers, recording):
        def record(server, commit, wanted):
            if commit.position == 3:
                raise HostError("a measuring process ended")
            server.append(commit.position)

        recording(record)
        said = []
        ledgers.commit_ledgers(settings, self.COMMITS, ["warm"], say=said.append, jobs=2)
        assert servers == [[1, 2, "closed"], [5, 6, 7, 8, "closed"]]
        for commit in self.COMMITS[2:4]:
            assert f"{commit.short}: a measuring process ended" in said

    def test_nothing_missing_starts_nothing(self, settings, servers):
        for commit in self.COMMITS:
            path = ledger_path(settings.results_dir, commit.tree, "2.13.0")
            write_ledgers(
                path, LedgerFile(commit.tree, commit.hash, "2.13.0", {"warm": LEDGER}, starts={"warm": START})
            )
        found = ledgers.commit_ledgers(settings, self.COMMITS, ["warm"], say=str, jobs=4)
        assert servers == [] and len(found) == 8
