"""The dataflow of a workload on a commit's tree, recorded in a warm process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nbbench.config import Settings
from nbbench.dataflow import Dataflow
from nbbench.errors import InconclusiveError
from nbbench.measure.ledgers import open_tree
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import call
from nbbench.model import Commit, to_plain
from nbbench.record.packed import noun_of


def trace_workload(
    settings: Settings,
    server: WarmServer,
    commit: Commit,
    workload: str,
    *,
    keep: Sequence[int] = (),
    folder: Path | None = None,
) -> Dataflow:
    """Record a workload's dataflow; what the steps in `keep` gave goes to `folder` as float64, a file a step.

    Raises InconclusiveError when the workload or its process fails.
    """
    environment = open_tree(settings, server, commit)
    asked = {"keep": list(keep), "folder": str(folder or "")}
    target = "nbbench.measure.tracing:trace"
    answer = call(settings, server, environment, target, workload=workload, **asked)
    try:
        found = noun_of(Dataflow, answer)
    except ValueError as error:
        raise InconclusiveError(f"{workload} on {commit.short}: damaged recording ({error})") from error
    if found.error:
        raise InconclusiveError(f"{workload} on {commit.short}: {found.error}")
    return found


def trace(workload: str, keep: list[int], folder: str, path: str) -> None:
    """In a process that holds the suite: the dataflow of one workload, as JSON at `path`."""
    from nbbench.measure.recording import failed_ledger, prepare, source_root, suite_cases  # these need torch
    from nbbench.probe.copies import alone
    from nbbench.probe.digests import pin_seeds, record_dataflow
    from nbbench.record.atomic import write_bytes

    prepare(threads=1)
    pin_seeds()
    try:
        case = alone(suite_cases()[workload])
        alone(case.run)
        found, kept = record_dataflow(workload, case.run, source_root=source_root(), keep=keep)
        for step, values in kept.items():
            values.numpy().tofile(Path(folder) / str(step))
    except (Exception, SystemExit) as error:
        found = Dataflow(workload, error=failed_ledger(workload, error).error)
    write_bytes(Path(path), json.dumps(to_plain(found)).encode())
