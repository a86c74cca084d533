"""The client of the warm server: start it, ask for a commit's suite, run jobs in forks of it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbbench
from nbbench.errors import HostError
from nbbench.measure import kernel, warm_server, wire
from nbbench.record.redact import redact_text

_KEPT_SUITES = 2
_IMPORT_LIMIT_S = 120.0  # the real subject takes three seconds
_SERVER_ENDED = "the warm benchmark server ended unexpectedly"
_STOPPED_SERVER = (
    "nbbench: the benchmark stopped the process that watches it (SIGSTOP): its figure does not count"
)
# Not from the current folder, where a torch.py may lie. A checkout that is not installed is found as well.
_SERVER = (
    f"import sys; sys.path.append({str(Path(nbbench.__file__).parents[1])!r}); "
    "from nbbench.measure.warm_server import main; main()"
)
_TAIL_BYTES = 65536
_LOOK_S = 1.0  # how often a server that does not answer is looked at


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What came back from a job: its output, exit code and the server's telemetry."""

    output: str
    exit_code: int
    telemetry: Mapping[str, Any]


def supported() -> bool:
    """Whether this system can fork warm processes (Linux with pidfd_open)."""
    return hasattr(os, "pidfd_open") and hasattr(os, "fork") and Path("/proc/self/task").is_dir()


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite server: its socket and its process."""

    socket: socket.socket
    pid: int

    def fileno(self) -> int:
        """The socket's descriptor, so that `select` can wait for the server's answer."""
        return self.socket.fileno()


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a suite server runs."""

    server: WarmServer
    key: tuple[str, ...]
    suite: Suite
    output: Path
    environment: Mapping[str, str]

    def finish(self) -> JobOutcome:
        """Wait for its end. What it printed comes back without credentials and its environment's secrets.

        Raises HostError when the server is gone.
        """
        stopped = _continue_until_answer(self.suite.socket, self.suite.pid)
        try:
            answer = wire.receive_message(self.suite.socket)
        except ConnectionResetError:
            answer = None
        if answer is None:
            self.server.forget(self.key)
            raise HostError(_SERVER_ENDED)
        text = redact_text(_tail(self.output), self.environment)
        self.output.unlink(missing_ok=True)
        if answer["verdict"] == "flood":
            text += "\nnbbench: the benchmark printed more than 32 MiB and was stopped\n"
        if stopped:
            text += f"\n{_STOPPED_SERVER}\n"
            answer["exit_code"] = answer["exit_code"] or 1
        return JobOutcome(text, int(answer["exit_code"]), answer)


class WarmServer:
    """A server process with torch imported and, behind it, one suite server per source tree.

    The newest `suites` are kept (two: a gate alternates between base and head); `open_suite`
    says which one the next job uses. Each suite runs one job at a time, so two can take turns.
    `close` ends all; so does the end of this process. `preload` names modules that all suites
    share; they are imported in `environment`, before any suite's own.
    """

    def __init__(
        self,
        python: str = "",
        environment: Mapping[str, str] | None = None,
        *,
        preload: Sequence[str] = (),
        suites: int = _KEPT_SUITES,
    ) -> None:
        """Start the server: with this interpreter and environment unless others are given."""
        self._kept = suites
        ours, theirs = socket.socketpair()
        self._folder = tempfile.TemporaryDirectory(prefix="nbbench-warm-")
        self._process = subprocess.Popen(
            [python or sys.executable, "-P", "-c", _SERVER, str(theirs.fileno()), *preload],
            pass_fds=[theirs.fileno()],
            # numpy's BLAS would start its threads at import, and a server with threads cannot fork.
            env={
                **(os.environ if environment is None else environment),
                "OPENBLAS_NUM_THREADS": "1",
                warm_server.FOLDER_VARIABLE: self._folder.name,
            },
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._sock = ours
        self._suites: dict[tuple[str, ...], Suite] = {}
        self._current: tuple[str, ...] = ()
        self._ended: list[int] = []
        self._jobs = 0
        self.suite_output = ""
        self._ready(self._sock)

    @property
    def scratch(self) -> Path:
        """A temporary folder that goes when the server ends, even where this process is killed."""
        return Path(self._folder.name)

    def _ready(self, sock: socket.socket) -> None:
        try:
            answer = wire.receive_message(sock)
        except OSError:
            answer = None
        if answer is None:
            self.close()
            raise HostError("the warm benchmark server did not start", hint="NBBENCH_WARM=0 runs without it")
        if answer["threads"] != 1:
            self.close()
            raise HostError(
                f"the warm benchmark server has {answer['threads']} threads, so it cannot fork safely",
                hint="NBBENCH_WARM=0 runs without it",
            )

    def open_suite(
        self,
        path: Sequence[str],
        benchmark_dir: str,
        preload: Sequence[str],
        environment: Mapping[str, str],
        *,
        slot: str = "",
        import_limit_s: float = _IMPORT_LIMIT_S,
    ) -> None:
        """Have a suite server that imported `preload` from `path`; no-op when it is there already.

        Another `slot` gives another server of the same suite, so that equal code can run against itself.
        Modules whose import ends the process, hangs or starts threads are left to the jobs,
        which meet it again and tell. Raises HostError when the suite itself does that.
        """
        key = (slot, *path, benchmark_dir, *preload)
        self._current = key
        if key in self._suites:
            return
        while len(self._suites) >= self._kept:
            self._close_suite(next(iter(self._suites)))
        output = Path(self._folder.name) / "import.txt"
        request = {
            "op": "suite",
            "path": list(path),
            "benchmark_dir": benchmark_dir,
            "preload": list(preload),
            "ended": self._ended,
            "env": dict(environment),
            "output": str(output),
        }
        for names in (request["preload"], []):
            suite = self._fork_suite({**request, "preload": names}, import_limit_s)
            self.suite_output = _tail(output)
            if suite is not None:
                self._suites[key] = suite
                return
        raise HostError("the benchmark suite cannot be held warm", hint="NBBENCH_WARM=0 runs without it")

    def _fork_suite(self, request: dict[str, Any], limit_s: float) -> Suite | None:
        """A suite server that is ready; None when it ended, took too long or has threads."""
        answer = self._exchange(self._sock, request)
        if answer is None:
            raise HostError(_SERVER_ENDED)
        _, fds, _, _ = socket.recv_fds(self._sock, 1, 1)
        suite = socket.socket(fileno=fds[0])
        suite.settimeout(limit_s)
        try:
            ready = wire.receive_message(suite)
        except OSError:
            ready = None
        if ready is not None and ready["threads"] == 1:
            suite.settimeout(None)
            return Suite(suite, answer["pid"])
        suite.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(answer["pid"], signal.SIGKILL)
        return None

    def run(
        self, argv: Sequence[str], *, cwd: str, environment: Mapping[str, str], timeout_s: float
    ) -> JobOutcome:
        """Run one asv benchmark command in a fork of the suite server.

        The exit code is negative for a signal and asv's -256 for a timeout. Raises HostError
        when the server is gone.
        """
        return self.begin(argv, cwd=cwd, environment=environment, timeout_s=timeout_s).finish()

    def begin(
        self, argv: Sequence[str], *, cwd: str, environment: Mapping[str, str], timeout_s: float
    ) -> Job:
        """Start what `run` runs, and leave waiting to `Job.finish`."""
        suite = self._suites.get(self._current)
        if suite is None:
            raise HostError("no benchmark suite is open")
        self._jobs += 1
        output = Path(self._folder.name) / f"output-{self._jobs}.txt"
        request = {
            "op": "job",
            "argv": list(argv),
            "cwd": cwd,
            "env": dict(environment),
            "timeout": timeout_s,
            "output": str(output),
        }
        try:
            wire.send_message(suite.socket, request)
        except (BrokenPipeError, ConnectionResetError) as error:
            self.forget(self._current)
            raise HostError(_SERVER_ENDED) from error
        return Job(self, self._current, suite, output, environment)

    def forget(self, key: tuple[str, ...]) -> None:
        """Give up a suite server that no longer answers; the first server then kills what it left behind."""
        if (suite := self._suites.get(key)) is not None:
            self._ended.append(suite.pid)
        self._close_suite(key)

    def _exchange(self, sock: socket.socket, request: dict[str, Any]) -> dict[str, Any] | None:
        try:
            wire.send_message(sock, request)
            _continue_until_answer(sock, self._process.pid)
            return wire.receive_message(sock)
        except (BrokenPipeError, ConnectionResetError):
            return None

    def _close_suite(self, key: tuple[str, ...]) -> None:
        if (suite := self._suites.pop(key, None)) is not None:
            suite.socket.close()

    def close(self) -> None:
        """End the servers and wait for the first one."""
        for key in list(self._suites):
            self._close_suite(key)
        self._sock.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def _continue_until_answer(sock: socket.socket, pid: int) -> bool:
    """Wait until there is something to read, and wake a server that somebody stopped; True if one was.

    A stopped server neither answers nor watches its job, so waiting would never end.
    """
    stopped = False
    while not select.select([sock], [], [], _LOOK_S)[0]:
        if kernel.is_stopped(pid):
            stopped = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return stopped


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
