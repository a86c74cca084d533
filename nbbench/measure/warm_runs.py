"""Calls into the suite in warm processes: the machine's ceilings, a few runs of a workload."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.ledger import Roof
from nbbench.measure import warm_client
from nbbench.measure.process_env import server_environment
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_server import TIMEOUT_CODE
from nbbench.probe.resources import Run
from nbbench.record.redact import redact_value
from nbbench.words import last_line

_TIMEOUT_S = 300.0
# The subject's first run imports it, which takes a second: here once for all trees of a server.
_SHARED = ("torch._dynamo",)
_RECORDERS = ("nbbench.measure.recording",)


class WorkloadFailed(InconclusiveError):
    """The commit cannot run this workload."""


@contextmanager
def warm_server(
    server: WarmServer | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[WarmServer]:
    """The server given, or one of our own that ends with the block.

    Our own has `environment` (this process's where none is given) under the flags that every
    measurement is taken with.
    """
    if server is not None:
        yield server
        return
    own = warm_client.WarmServer(environment=server_environment(environment), preload=_SHARED)
    try:
        yield own
    finally:
        own.close()


class Servers:
    """The warm servers that the recordings of one command share, each started when it is first asked for.

    A context that ends them. `given` takes the place of `full`, and is not ended.
    """

    def __init__(self, given: WarmServer | None = None) -> None:
        self._given, self._own, self._closed = given, dict[str, WarmServer](), False

    def __enter__(self) -> Servers:
        """Start nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def full(self) -> WarmServer:
        """One that has what the subject's first run imports."""
        return self._given or self._server("full", server_environment(), (*_SHARED, *_RECORDERS))

    @property
    def bare(self) -> WarmServer:
        """One for host work: it holds torch and what records, and hashes alike each time."""
        return self._server("bare", {**server_environment(), "PYTHONHASHSEED": "0"}, _RECORDERS)

    def _server(self, name: str, environment: Mapping[str, str], preload: Sequence[str]) -> WarmServer:
        if name not in self._own:
            self._own[name] = warm_client.WarmServer(environment=environment, preload=preload)
            if self._closed:  # by another thread, meanwhile
                self.close()
        return self._own[name]

    def close(self) -> None:
        """End the servers, and so what another thread waits for."""
        self._closed = True
        for server in self._own.values():
            server.close()


@contextmanager
def shared_servers(servers: Servers | None) -> Iterator[Servers]:
    """The servers given, or some of our own that end with the block."""
    with closing(Servers()) as own:
        yield servers or own


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of `module:function` in a fork of the tree that `open` has a server hold."""

    open: Callable[[], dict[str, str]]
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def invoke_all(
    settings: Settings, server: WarmServer, calls: Sequence[Invocation], timeout_s: float = _TIMEOUT_S
) -> list[str]:
    """Run the calls, two at a time; why each failed, '' where it did not.

    One tree after the other leaves a core idle, and gets less of a busy machine. Raises HostError when the
    server is gone.
    """
    reasons: list[str] = []
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with open(os.devnull, "rb") as nothing:
        for start in range(0, len(calls), 2):
            begun: list[warm_client.Job | str] = []
            for one in calls[start : start + 2]:
                try:
                    environment = one.open()
                except InconclusiveError as error:
                    begun.append(str(error))
                    continue
                command = ["call", one.target, json.dumps(dict(one.arguments))]
                job = server.begin(
                    command,
                    cwd=str(settings.state_dir),
                    environment=environment,
                    timeout_s=timeout_s,
                    descriptor=nothing.fileno(),
                )
                begun.append(job)
            for waiting in begun:
                if isinstance(waiting, str):
                    reasons.append(waiting)
                    continue
                done = waiting.finish()
                reasons.append(
                    _how_it_ended(done.exit_code, done.output, timeout_s) if done.exit_code else ""
                )
    return reasons


def invoke(
    settings: Settings,
    server: WarmServer,
    environment: dict[str, str],
    target: str,
    timeout_s: float = _TIMEOUT_S,
    /,
    **arguments: Any,
) -> None:
    """Run `module:function` of the suite in a fork of the open tree.

    Raises InconclusiveError when the process fails: with the signal that ended it, or its last line.
    """
    outcome = server.run(
        ["call", target, json.dumps(arguments)],
        cwd=str(settings.state_dir),
        environment=environment,
        timeout_s=timeout_s,
    )
    if outcome.exit_code:
        raise InconclusiveError(_how_it_ended(outcome.exit_code, outcome.output, timeout_s))


def _how_it_ended(code: int, output: str, timeout_s: float) -> str:
    """What ended a process that failed: a signal or the time limit, or else the last line of its output."""
    if code == TIMEOUT_CODE:
        return f"it timed out after {timeout_s:.0f} s"
    if code < 0:
        return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
    return last_line(output, f"it ended with exit code {code}")


def call(
    settings: Settings, server: WarmServer, environment: dict[str, str], target: str, **arguments: Any
) -> Any:
    """Run `module:function` of the suite in a fork of the open tree; what it wrote to `path` as JSON.

    Raises InconclusiveError when the process fails.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=server.scratch) as folder:
        path = Path(folder) / "answer.json"
        try:
            invoke(settings, server, environment, target, **arguments, path=str(path))
            return redact_value(json.loads(path.read_text(encoding="utf-8")), environment)
        except InconclusiveError as error:
            raise InconclusiveError(f"the measuring process failed: {error}") from error
        except FileNotFoundError as error:
            raise InconclusiveError("the measuring process failed: it wrote no answer") from error


def measure_roof(settings: Settings, server: WarmServer, environment: dict[str, str]) -> Roof:
    """The machine's ceilings, measured now."""
    answer = call(settings, server, environment, "nbbench.measure.recording:machine")
    return Roof(**{**answer, "curve": tuple((int(size), float(rate)) for size, rate in answer["curve"])})


def measure_runs(
    settings: Settings, server: WarmServer, environment: dict[str, str], workload: str
) -> list[Run]:
    """A few warm runs of one workload. Raises WorkloadFailed with the subject's own error."""
    answer = call(settings, server, environment, "nbbench.measure.recording:runs", workload=workload)
    if answer.get("error"):
        raise WorkloadFailed(f"{workload}: {answer['error']}")
    return [Run(**run) for run in answer["runs"]]
