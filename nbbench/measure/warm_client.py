"""The client of the warm server: start it, ask for a commit's suite, run jobs in forks of it."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any

import nbbench
from nbbench.errors import HostError
from nbbench.measure import kernel, warm_server
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
_WRAPPER = "nbbench.measure.recording.SubjectBroken: "  # what the suite wraps the subject's own error in
_TAIL_BYTES = 65536
_LOOK_S = 1.0  # how often a server that does not answer is looked at


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What came back from a job: its output, exit code and the server's telemetry; whether somebody stopped
    the server meanwhile."""

    output: str
    exit_code: int
    telemetry: Mapping[str, Any]
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite server: the pipe to it and its process."""

    line: "Connection[Any, Any]"
    pid: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a suite server runs."""

    server: "WarmServer"
    key: tuple[str, ...]
    suite: Suite
    output: Path
    environment: Mapping[str, str]

    def finish(self) -> JobOutcome:
        """Wait for its end. What it printed comes back without credentials and its environment's secrets.

        Raises HostError when the server is gone.
        """
        answer, stopped = _answer(self.suite.line, self.suite.pid)
        if answer is None:
            self.server.forget(self.key)
            raise HostError(_SERVER_ENDED)
        text = redact_text(_tail(self.output), self.environment).replace(_WRAPPER, "")
        self.output.unlink(missing_ok=True)
        if answer["verdict"] == "flood":
            text += "\nnbbench: the benchmark printed more than 32 MiB and was stopped\n"
        if stopped:
            text += f"\n{_STOPPED_SERVER}\n"
            answer["exit_code"] = answer["exit_code"] or 1
        return JobOutcome(text, int(answer["exit_code"]), answer, stopped)


class WarmServer:
    """A server process with torch imported and, behind it, one suite server per source tree.

    The newest `suites` are kept (two: a gate alternates between base and head); `open_suite`
    says which one the next job uses. Each suite runs one job at a time, so two can take turns.
    `close` ends all; so does the end of this process. `preload` names modules that all suites
    share; they are imported in `environment`, before any suite's own.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        preload: Sequence[str] = (),
        suites: int = _KEPT_SUITES,
    ) -> None:
        """Start the server, in this environment unless another is given."""
        self._kept = suites
        self._suites: dict[tuple[str, ...], Suite] = {}
        self._current: tuple[str, ...] = ()
        self._jobs = 0
        self.suite_output = ""
        self._folder = tempfile.TemporaryDirectory(prefix="nbbench-warm-")
        self._line, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVER, str(theirs.fileno()), *preload],
            pass_fds=[theirs.fileno()],
            # numpy's BLAS would start its threads at import, and a server with threads cannot fork.
            env={
                **(os.environ if environment is None else environment),
                "OPENBLAS_NUM_THREADS": "1",
                warm_server.FOLDER_VARIABLE: self._folder.name,
                "TMPDIR": self._folder.name,  # what modules make there when they are imported goes with it
            },
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        if (threads := _answer(self._line, self._process.pid)[0]) != 1:
            self.close()
            why = f"has {threads} threads, so it cannot fork safely" if threads else "did not start"
            raise HostError(f"the warm benchmark server {why}")

    @property
    def scratch(self) -> Path:
        """A temporary folder that goes when the server ends, even where this process is killed."""
        return Path(self._folder.name)

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
        key = self._current = (slot, *path, benchmark_dir, *preload)
        if key in self._suites:
            self._suites[key] = self._suites.pop(key)  # the newest: the next one ends another, not this one
            return
        while len(self._suites) >= self._kept:
            self.forget(next(iter(self._suites)))
        output = self.scratch / "import.txt"
        request = {
            "path": list(path),
            "benchmark_dir": benchmark_dir,
            "env": dict(environment),
            "output": str(output),
        }
        for names in (list(preload), []):
            suite = self._fork_suite({**request, "preload": names}, import_limit_s)
            self.suite_output = _tail(output)
            if suite is not None:
                self._suites[key] = suite
                return
        raise HostError("the benchmark suite cannot be held warm: its import ends, hangs or starts threads")

    def _fork_suite(self, request: dict[str, Any], limit_s: float) -> Suite | None:
        """A suite server that is ready; None when it ended, took too long or has threads."""
        ours, theirs = Pipe()
        with theirs:
            live = [suite.pid for suite in self._suites.values()]
            _send(self._line, {**request, "live": live}, theirs.fileno(), self._process.pid)
        pid, _ = _answer(ours, self._process.pid)
        if pid is None:
            raise HostError(_SERVER_ENDED)
        if _answer(ours, pid, limit_s)[0] == 1:
            return Suite(ours, pid)
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
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
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        environment: Mapping[str, str],
        timeout_s: float,
        descriptor: int | None = None,
    ) -> Job:
        """Start what `run` runs, and leave waiting to `Job.finish`; the job gets a copy of a `descriptor`."""
        suite = self._suites[self._current]
        self._jobs += 1
        output = self.scratch / f"output-{self._jobs}.txt"
        request = {
            "argv": list(argv),
            "cwd": cwd,
            "env": dict(environment),
            "timeout": timeout_s,
            "output": str(output),
        }
        try:
            with open(os.devnull, "rb") as nothing:  # each request has a descriptor
                sent = nothing.fileno() if descriptor is None else descriptor
                _send(suite.line, request, sent, suite.pid)
        except HostError:
            self.forget(self._current)
            raise
        return Job(self, self._current, suite, output, environment)

    def forget(self, key: tuple[str, ...]) -> None:
        """Give up a suite server; the first server ends it, and what it left behind, at the next request."""
        if (suite := self._suites.pop(key, None)) is not None:
            suite.line.close()

    def close(self) -> None:
        """End the servers and wait for the first one."""
        for key in list(self._suites):
            self.forget(key)
        self._line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def _send(line: "Connection[Any, Any]", request: dict[str, Any], descriptor: int, pid: int) -> None:
    """Send a request and a copy of the descriptor. Raises HostError when the server is gone."""
    try:
        line.send(request)
        send_handle(line, descriptor, pid)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise HostError(_SERVER_ENDED) from error


def _answer(line: "Connection[Any, Any]", pid: int, limit_s: float = math.inf) -> tuple[Any, bool]:
    """The next answer of the server `pid`, and whether somebody stopped it meanwhile: it neither answers nor
    watches its job then, and is made to go on. The answer is None when it is gone or the limit is over."""
    stopped, end = False, time.monotonic() + limit_s
    try:
        while not line.poll(min(_LOOK_S, max(end - time.monotonic(), 0.0))):
            stopped |= kernel.wake(pid)
            if time.monotonic() >= end:
                return None, stopped
        return line.recv(), stopped
    except (EOFError, ConnectionResetError):
        return None, stopped


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
