"""What stdout and stderr may be: a pipe whose reader left, closed, full, in another encoding."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_project import ROOT

NBBENCH = [sys.executable, "-c", "from nbbench.cli import main; main()"]
PLAN = ("plan", "PERF-PYTORCH-004")  # without results: exit 4, and some 8 KB of text with ≤ and ≥


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "asv.conf.json", tmp_path)
    return tmp_path


def run(root: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HOME": str(root), **options.pop("environment", {})}
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([*NBBENCH, *arguments], cwd=root, env=environment, **given)


def reader_gone() -> int:
    """The writing end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("arguments", [PLAN, (*PLAN, "--json")], ids=["text", "json"])
def test_a_reader_that_left_does_not_change_the_exit_code(root: Path, arguments: tuple[str, ...]) -> None:
    """`nbbench gate --json | head -1` must not pass, or fail, for another reason than the gate's."""
    pipe = reader_gone()
    done = run(root, *arguments, stdout=pipe)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (4, b"")


def test_a_reader_of_progress_that_left_stops_nothing(root: Path) -> None:
    pipe = reader_gone()
    done = run(root, "regressions", stderr=pipe)
    os.close(pipe)
    assert (done.returncode, done.stdout) == (4, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_is_utf_8_whatever_the_locale(root: Path, encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(root, *PLAN, environment=environment)
    assert (done.returncode, done.stderr) == (4, b"")
    assert "≤" in done.stdout.decode("utf-8")
    told = run(root, *PLAN, "--json", environment=environment)
    assert json.loads(told.stdout)["plan"] == PLAN[1] and "≥" in told.stdout.decode("utf-8")


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=["stdout", "stderr", "all"])
def test_closed_descriptors(root: Path, closed: tuple[int, ...]) -> None:
    """As under some schedulers; the next files that nbbench opens must not take their numbers."""

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    done = run(root, *PLAN, preexec_fn=close)
    assert done.returncode == 4, done.stderr
    assert b"internal error" not in done.stderr


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_a_full_disk_behind_stdout(root: Path, more: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(root, *PLAN, *more, stdout=full)
    assert done.returncode == 2 and done.stderr.startswith(b"nbbench: No space left on device")


def test_children_get_descriptors_that_are_open(tmp_path: Path) -> None:
    code = (
        "import os; [os.close(n) for n in (0, 1, 2)]\n"
        "from nbbench.cli.streams import prepare_streams; prepare_streams()\n"
        f"told = open({str(tmp_path / 'told')!r}, 'w')\n"
        "told.write(f'{told.fileno()} ' + ' '.join(os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert (tmp_path / "told").read_text() == "3 /dev/null /dev/null /dev/null"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize(
    "arguments", [("plan", "NOPE"), ("--nonsense",), ("plan", "--nonsense")], ids=" ".join
)
def test_a_full_stderr_does_not_change_the_exit_code(root: Path, arguments: tuple[str, ...]) -> None:
    """J13: `2>/dev/full` turned exit 2 into 1."""
    with open("/dev/full", "w") as full:
        assert run(root, *arguments, stderr=full).returncode == 2
