"""Running one command under guard: its output kept and shown, its end known, nothing left behind.

The command runs below a keeper process (`keeper.py`) in a session of its own. Output goes through
the secret filter into the logs and, live, to the terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbbench.capture import supervisor as keeper
from nbbench.capture.log_writer import STDERR_BYTES, STDOUT_BYTES, LogWriter
from nbbench.capture.outcomes import (
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    EXIT_TIMEOUT,
    NO_SUCH_TEST,
    SIGNAL_BASE,
    outcome_of,
    startable,
)
from nbbench.capture.screen import Screen
from nbbench.captured import RunOutcome, RunUsage
from nbbench.errors import HostError

_CHUNK = 65_536
_DRAIN_S = 5.0  # for output still in the pipes when every process has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedCommand:
    """What to run and how; `time_program` is GNU time, which then writes `time_file`.

    The command gets SIGTERM after `timeout_s`, and SIGKILL `grace_s` later.
    """

    argv: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]
    folder: Path
    timeout_s: float
    grace_s: float = 10.0
    time_program: str = ""
    time_file: Path | None = None


@dataclass(slots=True)
class GuardedRun:
    """How the command ended. `disk_error` is what the machine said when a log could not be written."""

    exit_code: int
    outcome: RunOutcome
    started_at: datetime
    ended_at: datetime
    usage: RunUsage | None = None
    reason: str = ""
    disk_error: str = ""
    notes: list[str] = field(default_factory=list)
    anomalies: list[str] = field(default_factory=list)


def gnu_time() -> str:
    """The path of GNU time, or nothing where it is missing."""
    program = shutil.which("time", path="/usr/bin:/bin:/usr/local/bin") or ""
    if not program:
        return ""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return program if "GNU" in told.stdout + told.stderr else ""


def run_guarded(command: GuardedCommand, screens: tuple[Screen, Screen]) -> GuardedRun:
    """Run the command to its end, whatever that is. Raises HostError only when no keeper can be started."""
    logs = (
        LogWriter(command.folder, "pytest", STDOUT_BYTES, command.environ),
        LogWriter(command.folder, "stderr", STDERR_BYTES, command.environ),
    )
    started = datetime.now(UTC)
    refused = startable(command.argv, command.cwd, command.environ)
    if refused:
        for log in logs:
            log.close()
        return _not_started(command.argv[0], refused, started)
    return _Supervisor(command, logs, screens).run()


def _not_started(program: str, code: int, started: datetime) -> GuardedRun:
    found = code != EXIT_NOT_FOUND
    outcome = RunOutcome.NOT_EXECUTABLE if found else RunOutcome.NOT_FOUND
    reason = f"{program} {'cannot be executed' if found else 'was not found'}"
    return GuardedRun(code, outcome, started, datetime.now(UTC), reason=reason)


class _Supervisor:
    """One run: the keeper, two streams, and the user's signals."""

    def __init__(
        self, command: GuardedCommand, logs: tuple[LogWriter, LogWriter], screens: tuple[Screen, Screen]
    ) -> None:
        self.command = command
        self.logs = logs
        self.screens = screens
        self.disk_error = ""
        self.signalled: list[int] = []
        self.report = b""

    def run(self) -> GuardedRun:
        """Start, watch, end; the logs are closed in any case."""
        started = datetime.now(UTC)
        control_read, self.control = os.pipe()
        report_read, report_write = os.pipe()
        try:
            self.process = self._start(control_read, report_write)
        finally:
            os.close(control_read)
            os.close(report_write)
        try:
            with self._signals():
                self._watch(report_read)
                if not self.report:  # the keeper was killed: end what it can no longer end
                    keeper.send(self.process.pid, signal.SIGKILL)
                self.process.wait()
        finally:
            os.close(self.control)
            os.close(report_read)
            if self.process.poll() is None:
                keeper.send(self.process.pid, signal.SIGKILL)
                self.process.kill()
                self.process.wait()
            self._close_logs()
        return self._ended(started)

    def _start(self, control: int, report: int) -> subprocess.Popen[bytes]:
        spec: dict[str, Any] = {
            "command": [*self._time_words(), *self.command.argv],
            "wrapped": bool(self.command.time_program),
            "timeout_s": self.command.timeout_s,
            "grace_s": self.command.grace_s,
            "control_fd": control,
            "report_fd": report,
        }
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, json.dumps(spec)],
                cwd=self.command.cwd,
                env=dict(self.command.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(control, report),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise HostError(f"the command cannot be started: {error}") from error

    def _time_words(self) -> list[str]:
        if not self.command.time_program:
            return []
        return [self.command.time_program, "-v", "-o", str(self.command.time_file), "--"]

    def _watch(self, report: int) -> None:
        streams = (self.process.stdout, self.process.stderr)
        with selectors.DefaultSelector() as selector:
            for index, stream in enumerate(streams):
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
                        # The keeper has gone: nothing more will come but what is in the pipes.
                        deadline = time.monotonic() + _DRAIN_S if key.data is None else deadline
                    elif key.data is None:
                        self.report += data
                    else:
                        self._take(key.data, data)

    def _take(self, index: int, data: bytes) -> None:
        if self.disk_error:
            return
        try:
            self.screens[index].show(data, self.logs[index].feed(data))
        except OSError as error:
            self._disk_refused(error)

    def _disk_refused(self, error: OSError) -> None:
        # A figure without its evidence is worth nothing: the run ends here.
        self.disk_error = error.strerror or str(error)
        self._say(b"t")

    def _close_logs(self) -> None:
        for log, screen in zip(self.logs, self.screens, strict=True):
            try:
                screen.show(b"", log.close())
                screen.end_line()
            except OSError as error:
                self.disk_error = self.disk_error or error.strerror or str(error)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self.control, word)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and the like go to the command; a second one kills it."""

        def forward(number: int, _: object) -> None:
            self._say(b"k" if self.signalled else b"i" if number == signal.SIGINT else b"t")
            self.signalled.append(number)

        before: dict[int, Callable[..., Any] | int | None] = {}
        numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            with contextlib.suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, forward)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ended(self, started: datetime) -> GuardedRun:
        run = GuardedRun(1, RunOutcome.FAILED, started, datetime.now(UTC), disk_error=self.disk_error)
        run.notes = [log.note for log in self.logs if log.note]
        run.anomalies = [log.disturbed for log in self.logs if log.disturbed]
        try:
            told = json.loads(self.report)
        except ValueError:
            run.exit_code, run.outcome = SIGNAL_BASE + int(signal.SIGKILL), RunOutcome.SIGNAL
            run.reason = (
                "the process that keeps the command was killed, so how the command ended is not known"
            )
            return run
        if told["error"]:
            run.exit_code, run.outcome = EXIT_NOT_EXECUTABLE, RunOutcome.NOT_EXECUTABLE
            run.reason = f"{self.command.argv[0]} cannot be executed: {told['error']}"
            return run
        run.usage = RunUsage(**{f.name: told[f.name] for f in fields(RunUsage)})
        if told["left_behind"]:
            run.notes.append(f"{told['left_behind']} processes that the command left running were ended")
        self._judge(run, told)
        return run

    def _judge(self, run: GuardedRun, told: Mapping[str, Any]) -> None:
        """Exit code and outcome; what nbbench did to the command comes before what it said itself."""
        code = told["exit_code"]
        run.exit_code = SIGNAL_BASE - code if code < 0 else code
        run.outcome = outcome_of(run.exit_code, self.command.argv)
        if told["timed_out"]:
            run.exit_code, run.outcome = EXIT_TIMEOUT, RunOutcome.TIMEOUT
            run.reason = f"it ran longer than the outer timeout of {self.command.timeout_s:g} s"
        elif self.disk_error:
            run.outcome, run.reason = RunOutcome.DISK_FULL, f"the log could not be written: {self.disk_error}"
        elif self.signalled:
            name = signal.Signals(self.signalled[0]).name
            run.outcome, run.reason = RunOutcome.INTERRUPTED, f"interrupted by the user ({name})"
        elif run.outcome is RunOutcome.TIMEOUT:
            run.reason = "a timeout inside the command ended it"
        elif run.outcome in (RunOutcome.NOT_FOUND, RunOutcome.NOT_EXECUTABLE):
            run.reason = "a program that the command starts was not found, or cannot be executed"
        elif run.outcome is RunOutcome.SIGNAL:
            run.reason = f"ended by signal {run.exit_code - SIGNAL_BASE} ({_signal_name(run.exit_code)})"
        elif run.outcome is RunOutcome.NO_TESTS:
            run.reason = (
                "pytest found no such test" if run.exit_code == NO_SUCH_TEST else "no test was collected"
            )
        elif run.outcome is RunOutcome.PYTEST_ERROR:
            run.reason = "pytest stopped before the tests ran to their end (collection or internal error)"


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(code - SIGNAL_BASE).name
    except ValueError:
        return "a real-time signal"
