"""`nbbench capture` with real pytest on the embedded subject, and everything that can go wrong."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from e2e_project import REPOSITORY, wait_until
from stub_torch import stub_torch

from nbbench.record.stamp import verify_folder
from nbbench.subject.subjects.nanobragg.demo import TIP_HASH, write_demo

pytestmark = pytest.mark.e2e

MAPPED = "tests/test_at_perf_003.py::TestATPERF003MemoryBandwidth::test_memory_bandwidth_utilization"
SECRET = "hunter2-" + "Zq8" * 6
ALWAYS = {
    "commands.txt", "env.txt", "exit_code.txt", "metrics.json", "pytest.log", "run_metadata.json",
    "sha256.txt", "stderr.log", "summary.md", "time.txt", "torch_env.txt",
}  # fmt: skip

SCENARIOS = """
import os, signal, sys, pathlib, time
import pytest

def test_pass():
    print("a figure that pytest swallows: 0.40 GB/s effective")

def test_fail():
    assert 0.176 >= 0.2, "bandwidth 0.176 GB/s"

@pytest.fixture
def broken():
    raise RuntimeError("no such detector")

def test_error(broken):
    pass

def test_hang():
    time.sleep(600)

def test_segfault():
    os.kill(os.getpid(), signal.SIGSEGV)

def test_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def test_binary():
    os.write(1, "Größe ∑ 千 🚀\\n".encode() + bytes(range(256)) + b"\\xff\\xfe end\\n")

def test_secret():
    print("the token is", os.environ["DEPLOY_TOKEN"])
    print("again", os.environ["DEPLOY_TOKEN"], file=sys.stderr)
    assert os.environ["DEPLOY_TOKEN"] == "another"

def test_edits_the_subject():
    with open("src/nanobrag_torch/config.py", "a") as stream:
        stream.write("# edited by a test\\n")
    pathlib.Path("left-over.py").write_text("x = 1")
"""


@dataclass
class Bench:
    """A checkout of the embedded subject, a project, and a way to run `nbbench capture` there."""

    checkout: Path
    root: Path
    reports: Path
    environment: dict[str, str] = field(repr=False)

    def words(self, *arguments: str) -> list[str]:
        fixed = ["--root", str(self.root), "--out", str(self.reports)]
        return [sys.executable, "-m", "nbbench", "capture", *fixed, *arguments]

    def run(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        environ = self.environment | options.pop("environ", {})
        return subprocess.run(
            self.words(*arguments),
            cwd=self.checkout,
            env=environ,
            capture_output=True,
            **options,
        )

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.words("-q", *arguments),
            cwd=self.checkout,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def folders(self) -> list[Path]:
        return sorted(self.reports.glob("cluster_*/*"))

    @property
    def folder(self) -> Path:
        (only,) = self.folders()
        return only

    def capture(self, *arguments: str, expect: int) -> Path:
        """Capture once; the folder must be whole, whatever happened."""
        done = self.run(*arguments)
        assert done.returncode == expect, done.stderr.decode() + done.stdout.decode()
        assert_whole(self.folder)
        return self.folder


def assert_whole(folder: Path) -> None:
    assert verify_folder(folder) == []
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+\.(json|md|txt|log)", path.name) for path in folder.iterdir())
    for path in folder.glob("*.json"):
        json.loads(path.read_bytes(), parse_constant=pytest.fail)
    assert {path.name for path in folder.iterdir()} >= ALWAYS
    assert (folder / "exit_code.txt").read_text().strip()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20 * 2**20


def status(folder: Path) -> str:
    return (folder / "summary.md").read_text().split("## Status\n\n")[1].splitlines()[0]


def metadata(folder: Path) -> dict:
    return json.loads((folder / "run_metadata.json").read_text())


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded subject with the scenarios committed on top."""
    folder = tmp_path_factory.mktemp("capture") / "subject"
    write_demo(folder)
    (folder / "tests" / "test_scenarios.py").write_text(SCENARIOS)
    for words in (["add", "-A"], ["commit", "-qm", "scenarios"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def bench(template: Path, tmp_path: Path) -> Bench:
    shutil.copytree(template, tmp_path / "subject")
    (tmp_path / "project").mkdir()
    shutil.copy(REPOSITORY / "asv.conf.json", tmp_path / "project")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "PYTEST", "GIT_", "COV_"))}
    environment = kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(stub_torch(tmp_path / "stub")),
        "DEPLOY_TOKEN": SECRET,
        "TMPDIR": str(tmp_path),
    }
    for guard in ("CUDA_VISIBLE_DEVICES", "KMP_DUPLICATE_LIB_OK"):
        environment.pop(guard, None)
    for guard in ("NANOBRAGG_DISABLE_COMPILE", "TORCHDYNAMO_DISABLE"):
        environment.pop(guard, None)
    return Bench(tmp_path / "subject", tmp_path / "project", tmp_path / "reports", environment)


def scenario(name: str) -> tuple[str, ...]:
    return ("--", "pytest", "-vv", f"tests/test_scenarios.py::test_{name}")


def test_the_mapped_test_in_one_command(bench: Bench) -> None:
    """The directive's Do Now: no argument but the cluster, the real torch."""
    bench.environment.pop("PYTHONPATH")
    bench.environment["OMP_NUM_THREADS"] = "1"
    done = bench.run("--cluster", "CLUSTER-PERF-001")
    folder = bench.folder
    assert folder.parent.name == "cluster_CLUSTER-PERF-001"
    assert_whole(folder)
    code = int((folder / "exit_code.txt").read_text())
    assert code in (0, 1), done.stderr.decode()  # the machine decides whether the assertion holds
    assert done.returncode in ((0, 4) if code == 0 else (3,))
    log = (folder / "pytest.log").read_bytes()
    assert log in done.stdout  # live, too
    assert MAPPED.encode() in log
    environment = (folder / "torch_env.txt").read_text()
    assert "PyTorch version" in environment or "no answer within" in environment  # on a busy machine
    assert "Maximum resident set size" in (folder / "time.txt").read_text()
    commands = (folder / "commands.txt").read_text()
    assert f"cd {bench.checkout}" in commands
    assert "PYTEST_ADDOPTS='--maxfail=1 --timeout=900 --durations=0' pytest -vv" in commands
    env = (folder / "env.txt").read_text().splitlines()
    assert "CUDA_VISIBLE_DEVICES=-1" in env
    assert "DEPLOY_TOKEN=<redacted>" in env
    told = metadata(folder)
    assert told["tree"] and told["commit"] != TIP_HASH
    assert told["dirty_before"] is False and told["dirty_after"] is False
    page = (folder / "summary.md").read_text()
    sections = [line[3:] for line in page.splitlines() if line.startswith("## ")]
    assert sections == [
        "Status", "STAMP", "Command", "Executive Summary", "Results", "Environment", "Comparison to baseline",
        "Artifacts", "Next Actions",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code", "expect", "said"),
    [
        ("fail", "1", 3, "FAILED (exit code 1)"),
        (
            "error",
            "1",
            4,
            "BLOCKED (exit code 1): an error before the test's own code ran: "
            "tests/test_scenarios.py::test_error: RuntimeError: no such detector",
        ),
        ("segfault", "139", 4, "BLOCKED (exit code 139): ended by signal 11 (SIGSEGV)"),
        ("killed", "137", 4, "BLOCKED (exit code 137): ended by signal 9 (SIGKILL)"),
        (
            "that_is_not_there",
            "4",
            4,
            "BLOCKED (exit code 4): pytest found no such test, or does not know an option (see stderr.log)",
        ),
    ],
)
def test_exit_codes_are_the_real_ones(bench: Bench, name: str, code: str, expect: int, said: str) -> None:
    folder = bench.capture(*scenario(name), expect=expect)
    assert (folder / "exit_code.txt").read_text() == f"{code}\n"
    assert status(folder).replace("\\", "") == said
    assert metadata(folder)["usage"]["minor_faults"] > 0
    if name != "that_is_not_there":
        assert f"test_{name}".encode() in (folder / "pytest.log").read_bytes()


def test_a_timeout_keeps_what_was_printed(bench: Bench) -> None:
    hang = ("--", "sh", "-c", "echo before the hang; exec sleep 600")
    folder = bench.capture("--timeout", "3", "--sign-off", "Ada: a hang is wanted here", *hang, expect=4)
    assert (folder / "exit_code.txt").read_text() == "124\n"
    assert status(folder).startswith("BLOCKED (exit code 124): it ran longer than the outer timeout of 3 s")
    assert (folder / "pytest.log").read_text() == "before the hang\n"
    assert "Maximum resident set size" in (folder / "time.txt").read_text()
    commands = (folder / "commands.txt").read_text()
    assert "sign-off: Ada: a hang is wanted here (waives: timeout-lowered)" in commands
    assert "timeout 3 env" in commands
    assert metadata(folder)["waived"] == ["timeout-lowered"]
    assert "Ada: a hang is wanted here" in (folder / "summary.md").read_text()


def test_secrets_that_a_test_prints_reach_no_file(bench: Bench) -> None:
    done = bench.run(*scenario("secret"))
    assert done.returncode == 3
    assert_whole(bench.folder)
    assert SECRET.encode() not in done.stdout + done.stderr
    for path in bench.folder.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path.name
    assert "<redacted>" in (bench.folder / "pytest.log").read_text()


def test_unicode_and_binary_output_pass_unchanged(bench: Bench) -> None:
    words = ("--", "pytest", "-s", "-vv", "tests/test_scenarios.py::test_binary")
    folder = bench.capture(*words, expect=0)
    log = (folder / "pytest.log").read_bytes()
    assert "Größe ∑ 千 🚀\n".encode() + bytes(range(256)) + b"\xff\xfe end\n" in log


def test_a_run_that_edits_the_subject_is_an_anomaly(bench: Bench) -> None:
    folder = bench.capture(*scenario("edits_the_subject"), expect=4)
    assert (folder / "exit_code.txt").read_text() == "0\n"
    found = " ".join(metadata(folder)["anomalies"])
    assert "src/nanobrag_torch/config.py (modified)" in found
    assert "left-over.py (untracked)" in found
    assert "Anomaly: " in (folder / "summary.md").read_text()
    assert metadata(folder)["dirty_after"] is True


def test_programs_that_do_not_start(bench: Bench) -> None:
    assert (bench.capture("--", "no-such-program", expect=4) / "exit_code.txt").read_text() == "127\n"
    shutil.rmtree(bench.reports)
    assert (bench.capture("--", "./README.md", expect=4) / "exit_code.txt").read_text() == "126\n"
    assert "cannot be executed" in status(bench.folder)


def test_nothing_is_left_running(bench: Bench) -> None:
    marker = "4711.25"
    folder = bench.capture("--", "sh", "-c", f"setsid sleep {marker} & sleep {marker} & exit 0", expect=0)
    assert not _sleeping(marker)
    assert "2 processes that the command left running were ended" in metadata(folder)["notes"]


def test_nbbench_killed_leaves_a_folder_that_says_blocked(bench: Bench) -> None:
    """The directive's "If Blocked": partial logs, the environment, and a blocker note in summary.md."""
    marker = "4712.25"
    script = f"echo so far; echo {SECRET}; sleep {marker} & sleep {marker}"
    process = bench.start("--", "sh", "-c", script)
    wait_until(lambda: any((f / "pytest.log").exists() and _sleeping(marker) for f in bench.folders()))
    folder = bench.folder
    wait_until(lambda: "so far" in (folder / "pytest.log").read_text())
    process.kill()
    process.wait()
    process.stderr.close()
    wait_until(lambda: not _sleeping(marker))  # the supervisor ends what nbbench no longer can
    assert status(folder).startswith("BLOCKED (exit code unknown): this capture did not finish")
    assert f"sleep {marker}" in (folder / "commands.txt").read_text()
    assert "DEPLOY_TOKEN=<redacted>" in (folder / "env.txt").read_text()
    for path in folder.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path.name
    scratch = Path(bench.environment["TMPDIR"])
    wait_until(lambda: not list(scratch.glob("nbbench-capture-*")))  # it may hold what is not redacted


@pytest.mark.parametrize(
    ("number", "code", "own"),
    [(signal.SIGINT, 130, "2"), (signal.SIGTERM, 143, "143"), (signal.SIGHUP, 129, "143")],
)
def test_a_signal_reaches_the_command_and_keeps_the_folder(
    bench: Bench, number: signal.Signals, code: int, own: str
) -> None:
    """J13: one rule for all commands, 128 and the signal's number."""
    process = bench.start(*scenario("hang"))
    scratch = Path(bench.environment["TMPDIR"])
    records = "nbbench-capture-*/record.jsonl"
    wait_until(lambda: any("test_hang" in _text(path) for path in scratch.glob(records)))
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert_whole(bench.folder)
    assert status(bench.folder).startswith(f"BLOCKED (exit code {own}): interrupted by the user")
    assert number is not signal.SIGINT or "KeyboardInterrupt" in (bench.folder / "pytest.log").read_text()


def test_a_full_disk_keeps_what_is_there_and_says_so(bench: Bench, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        bench.reports = small / "reports"
        done = bench.run("-q", "--", "sh", "-c", "echo first line; seq 1 10000000; sleep 60")
        assert done.returncode == 2, done.stderr
        (sentence, hint) = done.stderr.decode().splitlines()
        assert "No space left on device" in sentence or "the disk is full" in sentence
        assert hint.startswith("  hint:")
        folder = bench.folder
        assert (folder / "pytest.log").read_bytes().startswith(b"first line\n")
        assert status(folder).startswith("BLOCKED (exit code unknown): this capture did not finish")
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_file_size_limit_is_a_full_disk_too(bench: Bench) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    done = bench.run("-q", "--", "sh", "-c", "echo first line; seq 1 1000000; sleep 60", preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert (bench.folder / "pytest.log").read_bytes().startswith(b"first line\n")
    assert status(bench.folder).startswith("BLOCKED (exit code unknown): this capture did not finish")


def test_an_unwritable_root_starts_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.reports = tmp_path / "a-file"
    bench.reports.write_text("in the way")
    done = bench.run("--", "sh", "-c", f"touch {tmp_path}/started")
    assert done.returncode == 2
    assert b"a file stands where a folder should be" in done.stderr
    assert not (tmp_path / "started").exists()


def test_200_megabytes_of_log_in_constant_memory(bench: Bench) -> None:
    line = "x" * 99
    script = (
        f"import sys; [sys.stdout.write(('{line}' + chr(10)) * 10000) for _ in range(200)]; print('the end')"
    )
    usages = {}
    for name, words in {"small": ("true",), "large": (sys.executable, "-S", "-c", script)}.items():
        process = bench.start("--", *words)
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        assert process.returncode == 0, process.stderr.read()
        process.stderr.close()
        usages[name] = usage.ru_maxrss * 1024
    folder = max(bench.folders(), key=lambda f: (f / "pytest.log").stat().st_size)
    assert_whole(folder)
    assert (folder / "pytest.log").stat().st_size <= 5 * 2**20
    log = (folder / "pytest.log").read_text()
    assert log.endswith(f"{line}\nthe end\n")
    told = int(log.split("[nbbench: ")[1].split(" bytes")[0].replace(",", ""))
    assert (2_000_000 - log.count(line)) * 100 == told
    assert "bytes in the middle are left out" in (folder / "summary.md").read_text()
    # A beginning and two copies of an end: far from 200 MB.
    assert usages["large"] - usages["small"] < 60e6


# Command lines from one process that has everything imported: only the captures cost time.
MANY = """
import os, sys
import nbbench.capture.findings, nbbench.capture.run, nbbench.record.evidence_folder, nbbench.record.store
from nbbench.cli.app import run

children = []
for _ in range(20):
    pid = os.fork()
    if not pid:
        os._exit(run(sys.argv[1:]))
    children.append(pid)
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in children))
"""


def test_many_captures_at_once(bench: Bench) -> None:
    words = [sys.executable, "-c", MANY, *bench.words("-q", "--", "true")[3:]]
    done = subprocess.run(words, cwd=bench.checkout, env=bench.environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    folders = bench.folders()
    assert len(folders) == 20
    for folder in folders:
        assert verify_folder(folder) == []
        assert metadata(folder)["stamp"] == folder.name


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _sleeping(marker: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == ["sleep", marker]:
            found.append(process.pid)
    return found
