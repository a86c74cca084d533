"""Calls into the suite in warm processes: the machine's ceilings, a few runs of a workload."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.ledger import Roof
from nbbench.measure import warm_client
from nbbench.measure.process_env import server_environment
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_job import TIMEOUT_CODE
from nbbench.probe.resources import Run
from nbbench.record.redact import redact_value
from nbbench.words import last_line

_TIMEOUT_S = 300.0
# The subject's first run imports it, which takes a second: here once for all trees of a server.
_SHARED = ("torch._dynamo",)


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
