"""The asv environment where its warm server fails, and how asv is told of limits and damage."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("asv")

from asv import util
from asv.environment import EnvironmentUnavailable
from asv.runner import BENCHMARK_RUN_SCRIPT

from nbbench.config import Settings
from nbbench.errors import HostError, UsageError
from nbbench.measure import asv_environment as plugin
from nbbench.measure import asv_run
from nbbench.measure.ledgers import workload_names
from nbbench.measure.warm_client import JobOutcome
from nbbench.model import Commit
from nbbench.record.side_files import parse_records, telemetry_path

REPOSITORY = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOLD = {
    "started": 1e9,
    "exit_code": 0,
    "verdict": "ended",
    "wall_s": 1.0,
    "load_before": 0.5,
    "run_delay_s": 0.0,
}


class Server:
    """A warm server that gives what it was told to, and remembers the requests."""

    def __init__(self, answer):
        self.answer, self.requests, self.suite_output, self.closed = answer, [], "", False

    def open_suite(self, *arguments):
        pass

    def run(self, argv, **options):
        self.requests.append((argv, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        self.closed = True


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment with one extracted commit, without asv's constructor."""
    monkeypatch.delenv("NBBENCH_WATCHDOG_S", raising=False)
    made = object.__new__(plugin.NbbenchEnvironment)
    monkeypatch.setattr(plugin.NbbenchEnvironment, "machine_name", "here")
    monkeypatch.setattr(plugin.NbbenchEnvironment, "name", "nbbench-py3-torch1")
    made._settings = Settings(root=tmp_path, package="package", import_root="src", threads=1)
    made._benchmark_dir, made._results_dir = str(tmp_path / "benchmarks"), tmp_path / "results"
    made._tree_dir, made._tree, made._commit = tmp_path / "tree", "f" * 40, COMMIT
    made._global_env_vars = {}
    return made


def run(made, *argv, **options):
    return made.run([BENCHMARK_RUN_SCRIPT, *argv], env={}, **options)


BENCH = ("run", "/benchmarks", "suite.time_it-2", "{}", "None", "result.json")
AS_ASV = {"return_stderr": True, "valid_return_codes": None, "timeout": 30}


def records(made):
    return parse_records(telemetry_path(made._results_dir, "here", COMMIT, made.name).read_bytes())[0]


def test_one_process(environment):
    environment._server = Server(JobOutcome("output", 0, TOLD))
    assert run(environment, *BENCH, **AS_ASV) == ("output", "", 0)
    ((argv, options),) = environment._server.requests
    assert argv == list(BENCH) and options["timeout_s"] == 30
    (record,) = records(environment)
    assert (record.benchmark, record.param_index, record.exit_code) == ("suite.time_it", 2, 0)
    assert record.started_at == datetime.fromtimestamp(1e9, UTC)


def test_telemetry_keeps_canaries_and_the_mark_of_the_collection(environment):
    kernels = {"frames_s": [0.1, 0.2], "arithmetic_s": [0.3, 0.4]}
    environment._server = Server(JobOutcome("output", 0, {**TOLD, "canary": kernels}))
    run(environment, *BENCH, **AS_ASV)
    environment._server = Server(JobOutcome("output", 0, {**TOLD, "canary": {}}))
    run(environment, *BENCH, **AS_ASV)
    with_canary, without = (dict(record.extra) for record in records(environment))
    assert with_canary["canary"] == kernels
    assert "canary" not in without
    assert datetime.fromisoformat(with_canary["collection"]).tzinfo is not None
    assert with_canary["collection"] == without["collection"]
    for name in ("threads", "torch", "python", "cpu", "nbbench", "cache_bytes"):  # F1
        assert with_canary[name] is not None


def test_telemetry_keeps_the_gpu_s_state_before_and_after(environment):
    state = {"sm_hz": [345e6, 1980e6], "temperature_c": [31, 44], "throttle": [["idle"], []]}
    environment._server = Server(JobOutcome("output", 0, {**TOLD, "gpu": state}))
    run(environment, *BENCH, **AS_ASV)
    assert dict(records(environment)[0].extra)["gpu"] == state


def test_a_lost_server_is_tried_once_more(environment, monkeypatch):
    """J3"""
    first = environment._server = Server(HostError("the warm benchmark server ended unexpectedly"))
    second = Server(JobOutcome("output", 0, TOLD))
    monkeypatch.setattr(plugin.warm, "WarmServer", lambda **options: second)
    assert run(environment, *BENCH, **AS_ASV) == ("output", "", 0)
    assert first.closed and environment._server is second
    assert [r.exit_code for r in records(environment)] == [1, 0]
    assert "ended unexpectedly" in records(environment)[0].stderr_tail


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_twice_is_lost_and_not_failed(environment, number):
    """J3"""
    server = environment._server = Server(JobOutcome("output", -number, {**TOLD, "exit_code": -number}))
    output, _, code = run(environment, *BENCH, **AS_ASV)
    assert len(server.requests) == 2
    assert code == -number and plugin.is_lost(output)
    assert "killed from outside" in records(environment)[-1].stderr_tail


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(-signal.SIGSEGV, "ended"), (-signal.SIGKILL, "flood"), (-256, "timeout"), (3, "ended")],
)
def test_what_a_benchmark_does_itself_is_no_loss(environment, code, verdict):
    """J3"""
    facts = {**TOLD, "exit_code": code, "verdict": verdict}
    server = environment._server = Server(JobOutcome("output", code, facts))
    output, _, _ = run(environment, *BENCH, **AS_ASV)
    assert len(server.requests) == 1 and not plugin.is_lost(output)


@pytest.mark.parametrize("python", ["2.7", "3.99", "nonsense", "/usr/bin/python2"])
def test_another_python_is_refused(python):
    """J4"""
    with pytest.raises(EnvironmentUnavailable, match="is not measured"):
        plugin.NbbenchEnvironment(None, python, {}, {})


def test_a_lost_server_while_discovering_is_asvs_own_error(environment, monkeypatch):
    environment._server = Server(HostError("gone"))
    monkeypatch.setattr(plugin.warm, "WarmServer", lambda **options: Server(HostError("gone")))
    with pytest.raises(util.ProcessError):
        run(environment, "discover", "/benchmarks", "result.json")


def test_a_server_that_never_starts_ends_the_run_in_one_sentence(environment, monkeypatch):
    environment._server = None

    def refuse(**options):
        raise HostError("the warm benchmark server did not start")

    monkeypatch.setattr(plugin.warm, "WarmServer", refuse)
    with pytest.raises(util.UserError, match="did not start"):
        run(environment, *BENCH, **AS_ASV)


def test_watchdog_beats_the_benchmarks_own_limit(environment, monkeypatch):
    monkeypatch.setenv("NBBENCH_WATCHDOG_S", "0.5")
    environment._server = Server(JobOutcome("", 0, TOLD))
    run(environment, *BENCH, **AS_ASV)
    run(environment, "setup_cache", "/benchmarks", "suite.time_it-0", "{}", **AS_ASV)
    run(environment, "discover", "/benchmarks", "result.json", timeout=30)
    assert [options["timeout_s"] for _, options in environment._server.requests] == [0.5, 0.5, 30]


def test_only_failures_and_skips_keep_their_output(environment):
    for output, code, kept in (
        ("fine", 0, ""),
        ("asv: skipped: no such thing", 0, "asv: skipped: no such thing"),
        ('File "/home/ada/x.py"\n  secret = 1\nNameError: n', 1, "NameError: n"),
        ("word " * 900, 1, ("word " * 900)[:400]),
    ):
        environment._server = Server(JobOutcome(output, code, TOLD))
        run(environment, *BENCH, **AS_ASV)
        assert records(environment)[-1].stderr_tail == kept


def test_a_full_disk_does_not_stop_asv(environment, monkeypatch):
    def full(path, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plugin, "append_record", full)
    environment._server = Server(JobOutcome("output", 0, TOLD))
    assert run(environment, *BENCH, **AS_ASV) == ("output", "", 0)


class TestProgress:
    def test_one_line_a_commit(self, monkeypatch):
        now = iter([0.0, 5.0, 65.0])
        monkeypatch.setattr(asv_run.time, "monotonic", lambda: next(now))
        commits = [Commit(d * 40, "t", datetime(2025, 1, 2, tzinfo=UTC), f"title {d}") for d in "ab"]
        shown = []
        progress = asv_run._Progress({c.short: c for c in commits}, shown.append)
        progress.feed("[ 0.00%] · For nanoBragg PyTorch commit aaaaaaaa <feature/spec-based-2~1>:\n")
        progress.feed("[10.00%] ··· bandwidth.Warm.time_run    ok\n")
        progress.feed("[50.00%] · For nanoBragg PyTorch commit cccccccc:\n")
        assert shown == ["[1/2, 0:05] aaaaaaaa 2025-01-02 title a", "[2/2, 1:05, 1:05 left] cccccccc "]

    def test_asvs_progress_is_no_part_of_its_message(self):
        for line, message in (
            ("[ 0.00%] ·· Error parsing JSON in file 'x'", "Error parsing JSON in file 'x'"),
            ("· No information", "No information"),
            ("ValueError: [50%] odd", "ValueError: [50%] odd"),
        ):
            assert asv_run._PREFIX.sub("", line) == message


class TestWorkloads:
    def test_the_suite_builds_every_workload_that_it_declares(self):
        code = "import json; from nbbench.measure.recording import suite_cases as cases"
        code += "; print(json.dumps(sorted(cases())))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == sorted(workload_names(Settings(root=REPOSITORY), re.compile("")))

    def test_none_matches(self):
        with pytest.raises(UsageError, match="no workload matches 'nothing'") as caught:
            workload_names(Settings(root=REPOSITORY), re.compile("nothing"))
        assert "tricubic-1-float32" in caught.value.hint
