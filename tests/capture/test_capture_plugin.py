"""The pytest plugin in real pytest processes: every outcome, and ends that nobody plans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbbench.capture.test_records import read_test_records
from nbbench.captured import TestRun

PLUGIN = Path(__file__).resolve().parents[2] / "nbbench" / "capture" / "evidence_plugin"

SUITE = """
import os, signal, sys, warnings
import pytest

def test_prints(capsys=None):
    print("  512×512: 0.043s, ~0.1 GB/s effective")
    print("to stderr", file=sys.stderr)
    warnings.warn("slow path")
    cv = 3.0
    assert cv <= 15.0

def test_fails():
    bandwidths = {512: 0.378, 2048: 0.176}
    secret = "not a number"
    assert bandwidths[2048] >= bandwidths[512] * 0.5, f"too slow: {bandwidths[2048]:.3f} GB/s"

@pytest.fixture
def broken():
    raise RuntimeError("no such detector")

def test_error(broken):
    pass

@pytest.mark.skip(reason="no GPU")
def test_skipped():
    pass

@pytest.mark.xfail(reason="known")
def test_xfails():
    assert 1 > 2

@pytest.mark.xfail
def test_xpasses():
    pass

@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many(dtype):
    assert dtype

@pytest.fixture
def leaky():
    yield
    raise OSError("teardown")

def test_teardown(leaky):
    pass
"""


class Pytest:
    """A folder with one test file, run by a real pytest with the plugin in its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record.jsonl"
        (folder / "pytest.ini").write_text("[pytest]\n")

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "NBBENCH_", "NB_"))}
        return {
            **kept,
            "PYTHONPATH": str(PLUGIN),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_PLUGINS": "nbbench_evidence",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "NBBENCH_EVIDENCE_RECORD": str(self.record),
            **extra,
        }

    def start(self, source: str, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        (self.folder / "test_it.py").write_text(source, encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments, "test_it.py"],
            cwd=self.folder,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, source: str, *arguments: str, **extra: str) -> tuple[int, str, TestRun]:
        process = self.start(source, *arguments, **extra)
        output, _ = process.communicate()
        return process.returncode, output, read_test_records(self.record)

    def wait_for(self, text: str) -> None:
        while not (self.record.exists() and text in self.record.read_text()):
            time.sleep(0.05)


@pytest.fixture
def suite(tmp_path: Path) -> Pytest:
    return Pytest(tmp_path)


def outcomes(run: TestRun) -> dict[str, str]:
    return {test.nodeid.rpartition("::")[2]: test.outcome for test in run.tests}


def test_every_outcome_is_recorded_and_none_is_changed(suite: Pytest) -> None:
    code, output, run = suite.run(SUITE)
    bare = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_it.py"],
        cwd=suite.folder,
        env={k: v for k, v in suite.environment().items() if k not in ("PYTEST_PLUGINS", "PYTHONPATH")},
        capture_output=True,
        text=True,
    )
    assert code == bare.returncode == 1
    assert output.splitlines()[-1].split(" in ")[0] == bare.stdout.splitlines()[-1].split(" in ")[0]
    assert outcomes(run) == {
        "test_prints": "passed",
        "test_fails": "failed",
        "test_error": "error",
        "test_skipped": "skipped",
        "test_xfails": "xfailed",
        "test_xpasses": "xpassed",
        "test_many[float32]": "passed",
        "test_many[float64]": "passed",
        "test_teardown": "error",
    }
    assert run.started and run.exit_status == 1
    assert not run.problems


def test_what_a_passing_test_printed_is_kept(suite: Pytest) -> None:
    _, _, run = suite.run(SUITE, "-k", "prints")
    test = run.tests[0]
    assert "512×512: 0.043s, ~0.1 GB/s effective" in test.stdout
    assert test.stderr == "to stderr\n"
    assert test.held == (("cv <= 15.0", "3.0 <= 15.0"),)
    assert not list(suite.folder.rglob("*.pyc"))  # asked for anew each time, and kept nowhere
    usage = test.usage
    assert usage is not None and usage.wall_s > 0 and usage.max_rss_bytes > 2**20


def test_a_failure_keeps_message_and_account(suite: Pytest) -> None:
    _, _, run = suite.run(SUITE, "-k", "fails and not xfails")
    test = run.tests[0]
    assert test.message.startswith("AssertionError: too slow: 0.176 GB/s")
    assert "assert 0.176 >= (0.378 * 0.5)" in test.longrepr


def test_page_faults_of_the_call_are_counted(suite: Pytest) -> None:
    touch = (
        "def test_it():\n    data = bytearray(64 * 2**20)\n    data[::4096] = b'x' * (len(data) // 4096)\n"
    )
    _, _, run = suite.run(touch)
    usage = run.tests[0].usage
    # 64 MiB touched once: 16,384 pages of 4 KiB, or 32 huge ones.
    assert usage is not None and usage.minor_faults >= 32


def test_long_output_is_bounded_with_a_note(suite: Pytest) -> None:
    _, _, run = suite.run("def test_it():\n    print('begin' + 'x' * 3_000_000 + 'end')\n")
    text = run.tests[0].stdout
    assert len(text) < 140_000 and text.startswith("begin") and text.endswith("end\n")
    assert "characters left out" in text


@pytest.mark.parametrize(
    "death", ["os.kill(os.getpid(), signal.SIGSEGV)", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_lines_survive_a_crash(suite: Pytest, death: str) -> None:
    source = f"import os, signal\ndef test_a():\n    print('kept')\ndef test_b():\n    {death}\n"
    code, _, run = suite.run(source, "-p", "no:faulthandler")
    assert code < 0
    assert outcomes(run) == {"test_a": "passed", "test_b": "interrupted"}
    assert run.tests[0].stdout == "kept\n" and run.exit_status is None


def test_output_of_the_running_test_survives_the_outer_timeouts_signal(suite: Pytest) -> None:
    lines = "print('so far')", "open('printed', 'w').close()", "time.sleep(600)"
    source = "import time\ndef test_it():\n    " + "\n    ".join(lines)
    process = suite.start(source)
    while not (suite.folder / "printed").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    run = read_test_records(suite.record)
    assert process.returncode == -signal.SIGTERM
    assert outcomes(run) == {"test_it": "interrupted"}
    assert "so far" in run.tests[0].stdout


def test_a_subjects_own_signal_handler_is_left_alone(suite: Pytest) -> None:
    (suite.folder / "conftest.py").write_text(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *a: None)\n"
        "def pytest_sessionfinish(session):\n"
        "    assert signal.getsignal(signal.SIGTERM).__name__ == '<lambda>'\n"
    )
    code, output, _ = suite.run("def test_it():\n    pass\n")
    assert code == 0, output


def test_an_unwritable_record_changes_nothing(suite: Pytest) -> None:
    code, output, run = suite.run(
        "def test_it():\n    pass\n", NBBENCH_EVIDENCE_RECORD=str(suite.folder / "no" / "such" / "folder")
    )
    assert code == 0 and "1 passed" in output
    assert not run.started


def test_nothing_is_written_without_the_variable(suite: Pytest) -> None:
    code, _, run = suite.run("def test_it():\n    pass\n", NBBENCH_EVIDENCE_RECORD="")
    assert code == 0 and not run.started


def test_files_that_cannot_be_collected_are_named(suite: Pytest) -> None:
    code, _, run = suite.run("import no_such_module\n")
    assert code == 2 and run.exit_status == 2
    assert run.problems == ("test_it.py could not be collected",)


def test_workers_of_xdist_share_the_file(suite: Pytest) -> None:
    tests = "".join(f"def test_{i}():\n    print('out {i}')\n" for i in range(20))
    code, output, run = suite.run(tests, "-p", "xdist", "-n", "2")
    assert code == 0, output
    assert len(run.tests) == 20 and all(test.outcome == "passed" for test in run.tests)
    assert sorted(t.stdout for t in run.tests) == sorted(f"out {i}\n" for i in range(20))
    assert not run.problems


def test_a_line_is_json_by_itself(suite: Pytest) -> None:
    suite.run(SUITE)
    lines = suite.record.read_bytes().splitlines()
    assert all(json.loads(line)["schema"] == 1 for line in lines)
    assert json.loads(lines[0])["kind"] == "session_start"
    assert json.loads(lines[-1])["kind"] == "session_finish"


def test_the_plugin_is_readable_by_old_interpreters() -> None:
    import ast

    source = (PLUGIN / "nbbench_evidence.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))
    assert not (PLUGIN / "__init__.py").exists()


COMPILES = """
import torch

def test_eager():
    assert torch.ones(2).sum() == 2.0

def test_compiles():
    assert torch.compile(lambda x: x * 2, backend="eager")(torch.ones(2)).sum() == 4.0

def test_after_it():
    assert torch.ones(2).sum() == 2.0
"""


def test_what_dynamo_compiled_is_counted(suite: Pytest) -> None:
    """A guard that the subject does not heed is noticed; torch's own switch holds."""
    code, output, run = suite.run(COMPILES, TORCHDYNAMO_DISABLE="0")
    assert code == 0, output
    assert [test.usage.compiled_graphs for test in run.tests if test.usage] == [0, 1, 1]
    suite.record.unlink()
    _, _, guarded = suite.run(COMPILES, TORCHDYNAMO_DISABLE="1")
    assert guarded.count("passed") == 3 and guarded.compiled_graphs == 0


BUSY = """
import os, subprocess, sys

def waited_ns():
    return int(open("/proc/self/schedstat").read().split()[1])

def test_waits():
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    beside = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = waited_ns()
        while waited_ns() < before + 100_000_000:
            pass
    finally:
        beside.kill()
"""


def counts_waiting() -> bool:
    """Whether the kernel does; without its statistics the file holds zeros."""
    try:
        return Path("/proc/self/schedstat").read_text().split() != ["0", "0", "0"]
    except OSError:
        return False


@pytest.mark.skipif(not counts_waiting(), reason="the system counts no waiting")
def test_waiting_for_a_core_is_counted(suite: Pytest) -> None:
    _, _, run = suite.run(BUSY)
    (test,) = run.tests
    assert test.usage is not None and test.usage.run_delay_s is not None
    assert test.usage.run_delay_s >= 0.1
