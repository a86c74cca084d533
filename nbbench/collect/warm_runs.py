"""Figures taken now, in warm processes: the machine's ceilings and a few runs of a workload."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from nbbench.collect.machine import LoadNow
from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.model import Roof
from nbbench.probe.resources import Run
from nbbench.warm.client import WarmServer

_TIMEOUT_S = 300.0


class WorkloadFailed(InconclusiveError):
    """The commit cannot run this workload."""


def call(
    settings: Settings, server: WarmServer, environment: dict[str, str], target: str, **arguments: Any
) -> Any:
    """Run `module:function` of the suite in a fork of the open tree; what it wrote to `path` as JSON.

    Raises InconclusiveError when the process fails.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.state_dir, prefix="call-") as folder:
        path = Path(folder) / "answer.json"
        outcome = server.run(
            ["call", target, json.dumps({**arguments, "path": str(path)})],
            cwd=str(settings.state_dir),
            environment=environment,
            timeout_s=_TIMEOUT_S,
        )
        if outcome.exit_code or not path.is_file():
            lines = outcome.output.strip().splitlines()
            why = lines[-1] if lines else f"it ended with {outcome.exit_code}"
            raise InconclusiveError(f"the measuring process failed: {why}")
        return json.loads(path.read_text(encoding="utf-8"))


def busy_note(load: LoadNow) -> str:
    """A warning for a session that starts on a busy machine; '' on a quiet one."""
    if load.one is None or load.one <= load.processors / 2:
        return ""
    return (
        f"{load.one:.1f} processes were running or waiting on {load.processors} cores when this began: "
        "times and ceilings are those of a busy machine"
    )


def measure_roof(settings: Settings, server: WarmServer, environment: dict[str, str]) -> Roof:
    """The machine's ceilings, measured now."""
    told = call(settings, server, environment, "benchmarks.roofline:machine")
    return Roof(**{**told, "curve": tuple((int(size), float(rate)) for size, rate in told["curve"])})


def measure_runs(
    settings: Settings,
    server: WarmServer,
    environment: dict[str, str],
    workload: str,
    *,
    malloc: bool = True,
) -> list[Run]:
    """A few warm runs of one workload. Raises WorkloadFailed with the subject's own error."""
    told = call(settings, server, environment, "benchmarks.roofline:runs", workload=workload, malloc=malloc)
    if told.get("error"):
        raise WorkloadFailed(f"{workload}: {told['error']}")
    return [Run(**run) for run in told["runs"]]
