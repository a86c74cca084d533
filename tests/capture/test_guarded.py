"""The supervisor and the logs: exit codes, signals, leftovers, bounded and redacted output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from nbbench.capture import supervisor
from nbbench.capture.guarded import GuardedCommand, GuardedRun, gnu_time, outcome_of
from nbbench.capture.logs import LogWriter, Screen
from nbbench.captured import RunOutcome

QUIET = (Screen(None), Screen(None))
SECRET = "correct-horse-" + "Xy7" * 5
TIMERS = ["", *([gnu_time()] if gnu_time() else [])]


def run(folder: Path, *argv: str, timeout_s: float = 60, timer: str = "", screens=QUIET) -> GuardedRun:
    scratch = folder / "scratch"
    scratch.mkdir()
    command = GuardedCommand(
        argv=argv,
        cwd=folder,
        environ={**os.environ, "MY_TOKEN": SECRET},
        folder=folder,
        timeout_s=timeout_s,
        grace_s=0.3,
        scratch=scratch,
        time_program=timer,
        screens=screens,
    )
    try:
        return command.run()
    finally:
        for path in scratch.glob("time.txt"):
            path.replace(folder / path.name)
        command.release()
        assert not scratch.exists() or not command.report


@pytest.mark.parametrize("timer", TIMERS, ids=["wait4", "GNU time"][: len(TIMERS)])
@pytest.mark.parametrize(
    ("script", "code", "outcome"),
    [
        ("exit 0", 0, RunOutcome.PASSED),
        ("exit 3", 3, RunOutcome.FAILED),
        ("kill -SEGV $$", 139, RunOutcome.SIGNAL),
        ("kill -KILL $$", 137, RunOutcome.SIGNAL),
        ("no-such-program", 127, RunOutcome.NOT_FOUND),
        ("timeout 0.05 sleep 9", 124, RunOutcome.TIMEOUT),
    ],
)
def test_exit_codes(tmp_path: Path, script: str, code: int, outcome: RunOutcome, timer: str) -> None:
    ended = run(tmp_path, "sh", "-c", script, timer=timer)
    assert (ended.exit_code, ended.outcome) == (code, outcome)
    assert ended.usage is not None and ended.usage.minor_faults > 0
    assert ended.started_at < ended.ended_at
    if timer:
        assert "Maximum resident set size" in (tmp_path / "time.txt").read_text()


@pytest.mark.parametrize("timer", TIMERS, ids=["wait4", "GNU time"][: len(TIMERS)])
def test_a_command_that_ignores_sigterm_is_killed_after_its_timeout(tmp_path: Path, timer: str) -> None:
    deaf = "trap '' TERM; touch deaf; while :; do sleep 0.05; done"
    for timeout_s in (0.3, 3.0, 30.0, 300.0):  # on a busy machine it is deaf late
        for name in ("pytest.log", "stderr.log"):
            (tmp_path / name).unlink(missing_ok=True)
        ended = run(tmp_path, "sh", "-c", deaf, timeout_s=timeout_s, timer=timer)
        if (tmp_path / "deaf").exists():
            break
    assert (ended.exit_code, ended.outcome) == (124, RunOutcome.TIMEOUT)
    if timer:
        assert "terminated by signal 9" in (tmp_path / "time.txt").read_text()


def test_what_escapes_the_session_is_ended_too(tmp_path: Path) -> None:
    ended = run(tmp_path, "sh", "-c", "setsid sleep 4713.5 & sleep 4713.5 & exit 5")
    assert ended.exit_code == 5
    assert ended.notes == ("2 processes that the command left running were ended",)


def test_kill_0_does_not_reach_the_supervisor(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "kill -9 0").exit_code == 137


def test_a_killed_supervisor_takes_everything_along(tmp_path: Path) -> None:
    script = "sleep 4714.5 & echo $$ > pid; echo $! > child; kill -9 $PPID; wait"
    ended = run(tmp_path, "sh", "-c", script)
    assert (ended.exit_code, ended.outcome, ended.usage) == (137, RunOutcome.SIGNAL, None)
    assert "supervisor was killed" in ended.reason
    for name in ("pid", "child"):
        pid = int((tmp_path / name).read_text())
        with contextlib.suppress(psutil.NoSuchProcess):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # init may not have collected it
                time.sleep(0.01)


def test_an_interrupt_is_passed_on_and_a_second_one_kills(tmp_path: Path) -> None:
    stubborn = "trap 'echo interrupted' INT TERM; touch ready; while :; do sleep 0.05; done"
    me, before = os.getpid(), signal.getsignal(signal.SIGINT)

    def press() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(me, signal.SIGINT)
        while b"interrupted" not in (tmp_path / "pytest.log").read_bytes():
            time.sleep(0.01)
        os.kill(me, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    ended = run(tmp_path, "sh", "-c", stubborn)
    thread.join()
    assert ended.outcome is RunOutcome.INTERRUPTED
    assert "SIGINT" in ended.reason
    assert signal.getsignal(signal.SIGINT) is before


def test_both_streams_are_kept_and_shown_without_secrets(tmp_path: Path) -> None:
    read, write = os.pipe()
    script = f"echo out {SECRET}; echo error {SECRET} >&2"
    run(tmp_path, "sh", "-c", script, screens=(Screen(write), Screen(None)))
    os.close(write)
    assert (tmp_path / "pytest.log").read_text() == "out <redacted>\n"
    assert (tmp_path / "stderr.log").read_text() == "error <redacted>\n"
    with os.fdopen(read) as shown:
        assert shown.read() == "out <redacted>\n"


def test_a_reader_that_goes_away_costs_nothing(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = run(tmp_path, "sh", "-c", "seq 1 20000; exit 7", screens=(Screen(write), Screen(None)))
    os.close(write)
    assert ended.exit_code == 7
    assert (tmp_path / "pytest.log").read_text().endswith("20000\n")


def test_a_log_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    log = LogWriter(tmp_path / "pytest.log", (1000, 1000), {})
    os.dup2(os.open("/dev/full", os.O_WRONLY), log._file.fileno())
    with pytest.raises(OSError, match="No space left"):
        log.feed(b"a line\n")


@pytest.mark.parametrize(
    ("by_pytest", "code", "outcome"),
    [
        (True, 4, RunOutcome.NO_TESTS),
        (True, 5, RunOutcome.NO_TESTS),
        (True, 2, RunOutcome.PYTEST_ERROR),
        (True, 3, RunOutcome.PYTEST_ERROR),
        (False, 2, RunOutcome.FAILED),
        (True, 1, RunOutcome.FAILED),
        (False, 126, RunOutcome.NOT_EXECUTABLE),
        (False, 134, RunOutcome.SIGNAL),
        (False, 255, RunOutcome.FAILED),
    ],
)
def test_outcomes(by_pytest: bool, code: int, outcome: RunOutcome) -> None:
    assert outcome_of(code, by_pytest)[0] is outcome


def test_a_supervisor_alone_ends_its_command_when_the_control_pipe_closes(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "deep").mkdir(parents=True)
    control_read, control_write = os.pipe()
    report_read, report_write = os.pipe()
    script = f"touch {tmp_path}/ready; exec sleep 4715.5"
    spec = {
        "command": ["sh", "-c", script],
        "timeout_s": 60,
        "grace_s": 1,
        "wrapped": False,
        "scratch": str(scratch),
        "control_fd": control_read,
        "report_fd": report_write,
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(spec)],
        pass_fds=(control_read, report_write),
        start_new_session=True,
    )
    os.close(control_read)
    os.close(report_write)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    os.close(control_write)
    assert process.wait() == 0
    with os.fdopen(report_read) as report:
        assert '"exit_code": -15' in report.read()
    assert not scratch.exists()  # it may hold what is not redacted


# Logs


def log_of(folder: Path, pieces: list[bytes], sizes: tuple[int, int]) -> LogWriter:
    log = LogWriter(folder / "pytest.log", sizes, {"MY_TOKEN": SECRET})
    for piece in pieces:
        log.feed(piece)
    log.close()
    return log


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %06d\n" % number for number in range(first, last))  # twelve bytes each


def test_a_short_log_is_kept_as_it_is(tmp_path: Path) -> None:
    log = log_of(tmp_path, [b"no line end"], (1000, 1000))
    assert (log.path.read_bytes(), log.note) == (b"no line end", "")


def test_a_log_whose_end_still_fits_loses_nothing(tmp_path: Path) -> None:
    log = log_of(tmp_path, [lines(0, 50), lines(50, 120), lines(120, 150)], (1000, 1000))
    assert (log.path.read_bytes(), log.note) == (lines(0, 150), "")


@pytest.mark.parametrize("chunk", [7, 1000, 65_536])
def test_the_middle_of_a_long_log_is_left_out_and_counted(tmp_path: Path, chunk: int) -> None:
    data = lines(0, 10_000)
    pieces = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    log = log_of(tmp_path, pieces, (3000, 2000))
    head, _, rest = log.path.read_bytes().partition(b"\n[nbbench: ")
    note, _, tail = rest.partition(b"]\n")
    assert data.startswith(head) and len(head) <= 3000
    assert data.endswith(tail) and tail.startswith(b"line ")
    left_out = f"{len(data) - len(head) - len(tail):,} bytes in the middle are left out"
    assert note.decode() == left_out and left_out in log.note
    assert 1900 < len(tail) <= 2000 + min(chunk, len(data))


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_no_secret_passes_where_the_parts_meet(tmp_path: Path, cut: int) -> None:
    text = b"".join(b"%03d token %s end\n" % (number, SECRET.encode()) for number in range(300))
    pieces = [text[:cut], *(text[start : start + 61] for start in range(cut, len(text), 61))]
    log = log_of(tmp_path, pieces, (1000 + cut, 1500))
    head, note, tail = log.path.read_bytes().partition(b"\n[nbbench: ")
    assert b"<redacted>" in head and note and b"<redacted>" in tail
    for start in range(len(SECRET) - 9):
        assert SECRET[start : start + 10].encode() not in head + tail


def test_a_line_without_end_is_bounded_too(tmp_path: Path) -> None:
    log = log_of(tmp_path, [b"x" * 100_000] * 20, (50_000, 60_000))
    assert log.path.stat().st_size < 50_000 + 160_000 + 100


def test_what_the_command_does_to_its_log_is_undone(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "pytest.log", (1000, 1000), {})
    log.feed(b"one\n")
    log.path.unlink()
    log.path.symlink_to(tmp_path / "elsewhere")
    log.feed(b"two\n")
    log.close()
    assert not log.path.is_symlink() and log.path.read_bytes() == b"one\ntwo\n"


def test_an_existing_log_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pytest.log").write_text("evidence")
    with pytest.raises(FileExistsError):
        LogWriter(tmp_path / "pytest.log", (10, 10), {})
