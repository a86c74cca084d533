"""Running one command under guard: its output kept and shown, its end known, nothing left behind.

The command runs below a supervisor process (`supervisor.py`) in a session of its own. Output goes through
the secret filter into the logs and, live, to the terminal.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbbench.capture import supervisor
from nbbench.capture.guards import is_pytest
from nbbench.capture.logs import STDERR_BYTES, STDOUT_BYTES, LogWriter, Screen
from nbbench.captured import RunOutcome, Usage
from nbbench.errors import HostError

EXIT_TIMEOUT, SIGNAL_BASE = 124, 128
_CHUNK = 65_536
_DRAIN_S = 5.0  # for output still in the pipes when every process has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedRun:
    """How the command ended. `signalled` is the first signal that nbbench itself got, 0 for none."""

    exit_code: int
    outcome: RunOutcome
    started_at: datetime
    ended_at: datetime
    usage: Usage | None = None
    reason: str = ""
    signalled: int = 0
    notes: tuple[str, ...] = ()


def gnu_time() -> str:
    """The path of GNU time, or nothing where it is missing."""
    program = shutil.which("time", path="/usr/bin:/bin:/usr/local/bin") or ""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return program if "GNU" in done.stdout + done.stderr else ""


_MISSING = "the command, or a program that it starts,"
# What exit codes mean by the conventions of shells, timeout(1) and pytest; empty where the code says it.
_CODES = {
    0: (RunOutcome.PASSED, ""),
    EXIT_TIMEOUT: (RunOutcome.TIMEOUT, "a timeout inside the command ended it"),
    126: (RunOutcome.NOT_EXECUTABLE, f"{_MISSING} cannot be executed"),
    127: (RunOutcome.NOT_FOUND, f"{_MISSING} was not found"),
}
_STOPPED = (
    RunOutcome.PYTEST_ERROR,
    "pytest stopped before the tests ran to their end (collection or internal error)",
)
_PYTEST_CODES = {
    2: _STOPPED,
    3: _STOPPED,
    4: (RunOutcome.NO_TESTS, "pytest found no such test, or does not know an option (see stderr.log)"),
    5: (RunOutcome.NO_TESTS, "nothing was collected"),
}


def outcome_of(code: int, by_pytest: bool) -> tuple[RunOutcome, str]:
    """What an exit code means (`by_pytest`: where it is pytest's own), and what is said of it."""
    if SIGNAL_BASE < code <= SIGNAL_BASE + 64:
        names = {number.value: number.name for number in signal.Signals}
        name = names.get(code - SIGNAL_BASE, "a real-time signal")
        return RunOutcome.SIGNAL, f"ended by signal {code - SIGNAL_BASE} ({name})"
    return (_CODES | (_PYTEST_CODES if by_pytest else {})).get(code, (RunOutcome.FAILED, ""))


@dataclass(slots=True, kw_only=True)
class GuardedCommand:
    """One command to run, then its supervisor, two streams, and the user's signals.

    `scratch` is for what is no evidence yet: GNU time writes its `time.txt` there. The command gets SIGTERM
    after `timeout_s`, and SIGKILL `grace_s` later.
    """

    argv: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]
    folder: Path
    scratch: Path
    timeout_s: float
    grace_s: float = 10.0
    time_program: str = ""
    screens: tuple[Screen, Screen] = field(default_factory=lambda: (Screen(None), Screen(None)))
    logs: tuple[LogWriter, ...] = ()
    process: subprocess.Popen[bytes] = field(init=False)
    control: int = -1
    report: bytes = b""
    disk_error: str = ""
    signalled: list[int] = field(default_factory=list)

    def run(self) -> GuardedRun:
        """Run the command to its end, whatever that is; its supervisor stays until `release`.

        Raises HostError when it cannot be started, or its output cannot be kept: it is ended then.
        """
        self.logs = (
            LogWriter(self.folder / "pytest.log", STDOUT_BYTES, self.environ),
            LogWriter(self.folder / "stderr.log", STDERR_BYTES, self.environ),
        )
        started = datetime.now(UTC)
        control_read, self.control = os.pipe()
        report_read, report_write = os.pipe()
        try:
            self.process = self._start(control_read, report_write)
        except HostError:
            os.close(self.control)
            self.control = -1
            raise
        finally:
            os.close(control_read)
            os.close(report_write)
        try:
            with self._signals():
                self._watch(report_read)
        finally:
            os.close(report_read)
            if not self.report:  # the supervisor was killed, or this is an exception: end what it cannot
                supervisor.send(self.process.pid, signal.SIGKILL)
                self.process.kill()
                self.release()
            self._close_logs()
        if self.disk_error:
            raise HostError(f"cannot write {self.folder}: {self.disk_error}", hint="free some space")
        return self._ended(started)

    def release(self) -> None:
        """Let the supervisor go, which removes the scratch folder: also where this process was killed."""
        if self.control >= 0:
            os.close(self.control)
            self.control = -1
            self.process.wait()

    def _start(self, control: int, report: int) -> subprocess.Popen[bytes]:
        timed = []
        if self.time_program:
            timed = [self.time_program, "-v", "-o", str(self.scratch / "time.txt"), "--"]
        spec = {
            "command": [*timed, *self.argv],
            "wrapped": bool(timed),
            "timeout_s": self.timeout_s,
            "grace_s": self.grace_s,
            "control_fd": control,
            "report_fd": report,
            "scratch": str(self.scratch),
        }
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(spec)],
                cwd=self.cwd,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(control, report),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise HostError(f"the command cannot be started: {error}") from error

    def _watch(self, report: int) -> None:
        with selectors.DefaultSelector() as selector:
            for index, stream in enumerate((self.process.stdout, self.process.stderr)):
                assert stream is not None
                selector.register(stream.fileno(), selectors.EVENT_READ, index)
            selector.register(report, selectors.EVENT_READ, None)
            deadline = float("inf")
            while len(selector.get_map()) and time.monotonic() < deadline:
                left = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
                for key, _ in selector.select(left):
                    data = os.read(key.fd, _CHUNK)
                    if not data:
                        selector.unregister(key.fd)
                        # The supervisor has gone: nothing more will come but what is in the pipes.
                        deadline = time.monotonic() + _DRAIN_S if key.data is None else deadline
                    elif key.data is None:
                        self.report += data
                    else:
                        self._take(key.data, data)

    def _take(self, index: int, data: bytes) -> None:
        if self.disk_error:
            return
        try:
            self.screens[index].show(self.logs[index].feed(data))
        except OSError as error:  # a figure without its evidence is worth nothing: the run ends here
            self.disk_error = error.strerror or str(error)
            self._say(b"t")

    def _close_logs(self) -> None:
        for log, screen in zip(self.logs, self.screens, strict=True):
            try:
                screen.show(log.close())
            except (OSError, HostError) as error:
                self.disk_error = self.disk_error or str(error)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self.control, word)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and the like go to the command; a second one kills it."""

        def forward(number: int, _: object) -> None:
            self._say(b"k" if self.signalled else b"i" if number == signal.SIGINT else b"t")
            self.signalled.append(number)

        before: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, forward)
        try:
            yield
        finally:
            for taken, handler in before.items():
                signal.signal(taken, handler)

    def _ended(self, started: datetime) -> GuardedRun:
        """Exit code and outcome; what nbbench did to the command comes before what it said itself."""
        told = json.loads(self.report or "{}")
        code: int = told.get("exit_code", -9)
        notes = [log.note for log in self.logs if log.note]
        code = SIGNAL_BASE - code if code < 0 else code
        outcome, reason = outcome_of(code, is_pytest(self.argv))
        if not told:
            reason = "the command's supervisor was killed, so how the command ended is not known"
        elif told.get("timed_out"):
            code, outcome = EXIT_TIMEOUT, RunOutcome.TIMEOUT
            reason = f"it ran longer than the outer timeout of {self.timeout_s:g} s"
        elif self.signalled:
            name = signal.Signals(self.signalled[0]).name
            outcome, reason = RunOutcome.INTERRUPTED, f"interrupted by the user ({name})"
        if told.get("left_behind"):
            notes.append(f"{told['left_behind']} processes that the command left running were ended")
        return GuardedRun(
            exit_code=code,
            outcome=outcome,
            started_at=started,
            ended_at=datetime.now(UTC),
            usage=Usage(**told["usage"]) if "usage" in told else None,
            reason=reason,
            signalled=self.signalled[0] if self.signalled else 0,
            notes=tuple(notes),
        )
