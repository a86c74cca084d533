"""What comes back from a call in a warm process, and what is said when nothing does."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbbench.config import Settings
from nbbench.errors import EXIT_INCONCLUSIVE, InconclusiveError
from nbbench.ledger import Roof
from nbbench.measure.warm_runs import (
    Invocation,
    Servers,
    call,
    invoke_all,
    measure_roof,
    measure_runs,
    shared_servers,
)

SECRET = "correct-horse-battery"


class Server:
    """A warm server whose jobs write `answer` (None: nothing) and end with `exit_code`."""

    scratch: Path

    def __init__(self, answer, *, exit_code=0, output=""):
        self.answer, self.exit_code, self.output = answer, exit_code, output

    def begin(self, argv, *, cwd, environment, timeout_s):
        self.argv, self.arguments = argv, json.loads(argv[2])
        if self.answer is not None:
            Path(self.arguments["path"]).write_text(json.dumps(self.answer))
        outcome = SimpleNamespace(output=self.output, exit_code=self.exit_code)
        return SimpleNamespace(finish=lambda: outcome)


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(Server, "scratch", scratch, raising=False)
    return Settings(root=tmp_path)


def test_the_answer_comes_back_and_nothing_stays(settings):
    server = Server({"a": 1})
    assert call(settings, server, {}, "benchmarks.x:y", workload="w") == {"a": 1}
    assert server.argv[:2] == ["call", "benchmarks.x:y"]
    assert server.arguments["workload"] == "w"
    assert Path(server.arguments["path"]).is_relative_to(server.scratch)
    assert list(settings.state_dir.iterdir()) == list(server.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (Server(None, exit_code=1, output="Traceback\nKeyError: 'w'\n"), "KeyError: 'w'"),
        (Server({"half": 1}, exit_code=-9), "it was ended by signal 9 (SIGKILL)"),
        (Server(None, exit_code=-11, output="hello\n"), "it was ended by signal 11 (SIGSEGV)"),
        (Server(None, exit_code=-256, output="hello\n"), "it timed out after 300 s"),
        (Server(None, exit_code=7), "it ended with exit code 7"),
        (Server(None), "it wrote no answer"),
    ],
)
def test_a_failed_process_is_inconclusive(settings, server, told):
    with pytest.raises(InconclusiveError, match=re.escape(told)) as caught:
        call(settings, server, {}, "benchmarks.x:y")
    assert caught.value.exit_code == EXIT_INCONCLUSIVE


def test_secrets_stay_in_the_process(settings):
    """J2: `dtypes --out` writes this answer."""
    environment = {"MY_API_TOKEN": SECRET}
    answer = call(settings, Server({"error": f"ValueError: {SECRET}"}), environment, "benchmarks.x:y")
    assert answer == {"error": "ValueError: <redacted>"}


def test_secrets_in_an_error_do_not_reach_the_ledger(monkeypatch):
    """J2"""
    pytest.importorskip("torch")
    from nbbench.measure.recording import failed_ledger

    monkeypatch.setenv("MY_API_TOKEN", SECRET)
    assert failed_ledger("w", ValueError(f"not {SECRET}")).error == "ValueError: not <redacted>"


def test_roof(settings):
    made = Roof(4.0, 3.0, 2.0, 1.0, 128, 32, 1, 1e-6, 5e-7, ((24, 9.0), (48, 8.0)))
    told = {name: getattr(made, name) for name in Roof.__dataclass_fields__}
    assert measure_roof(settings, Server(told), {}) == made


def test_runs_and_the_subjects_own_error(settings):
    assert measure_runs(settings, Server({"seconds": [1.0, 0.5]}), {}, "w") == [1.0, 0.5]
    with pytest.raises(InconclusiveError, match="w: NameError: x"):
        measure_runs(settings, Server({"error": "NameError: x"}), {}, "w")


def test_a_workload_that_ends_its_process_leaves_the_others_theirs(monkeypatch):
    pytest.importorskip("torch")
    from nbbench.measure import recording

    made = {"ends": lambda: sys.exit(5), "fails": lambda: 1 / 0}
    monkeypatch.setattr(recording, "suite_cases", lambda: made)
    monkeypatch.setattr(recording, "prepare", lambda **asked: None)
    monkeypatch.delenv("NBBENCH_LEDGER_FILE", raising=False)
    errors = {name: one.error for name, one in recording.write(list(made)).items()}
    assert errors == {"ends": "SystemExit: 5", "fails": "ZeroDivisionError: division by zero"}


class TwoAtATime:
    """A warm server that notes what begins and ends; a job fails as its target says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, argv, *, cwd, environment, timeout_s):
        self.said.append(f"begin {environment['tree']} {argv[1]}")

        def finish():
            self.said.append(f"end {environment['tree']}")
            return SimpleNamespace(output="ValueError: no\n", exit_code=int(argv[1] == "fails"))

        return SimpleNamespace(finish=finish)


def test_calls_run_two_at_a_time_and_each_says_why_it_failed(settings):
    def no_tree(server):
        raise InconclusiveError("it has no tree")

    server = TwoAtATime()
    calls = [
        Invocation(lambda server: {"tree": "a"}, "works", {}),
        Invocation(lambda server: {"tree": "b"}, "fails", {}),
        Invocation(no_tree, "works", {}),
        Invocation(lambda server: {"tree": "c"}, "works", {"workloads": ["w"]}),
    ]
    assert invoke_all(settings, Servers(server), calls) == ["", "ValueError: no", "it has no tree", ""]
    assert server.said == ["begin a works", "begin b fails", "end a", "end b", "begin c works", "end c"]


class TestServers:
    @pytest.fixture
    def started(self, monkeypatch):
        """The servers that were started, by their hash seed, and whether they were ended."""
        made = []

        class Started:
            def __init__(self, environment, *, preload, suites):
                self.seed, self.ended = environment.get("PYTHONHASHSEED"), False
                made.append(self)

            def close(self):
                self.ended = True

        monkeypatch.setattr("nbbench.measure.warm_client.WarmServer", Started)
        monkeypatch.delenv("PYTHONHASHSEED", raising=False)
        return made

    def test_each_starts_when_it_is_asked_for_and_all_end(self, started):
        with Servers() as servers:
            assert started == []
            assert servers.bare is servers.bare and servers.full is not servers.bare
            assert [one.seed for one in started] == ["0", None]
        assert all(one.ended for one in started)

    def test_what_was_given_is_used_and_not_ended(self, started):
        given = object()
        with Servers(given) as mine, shared_servers(mine) as again:
            assert again is mine and again.full is given
            assert again.bare.seed == "0"
        assert [one.ended for one in started] == [True]
