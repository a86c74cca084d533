"""What malloc costs a commit's workloads, measured now."""

from __future__ import annotations

import os
import re
from statistics import median

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.ledger import Ledger
from nbbench.measure.ledgers import open_tree, workload_ledgers, workload_names
from nbbench.measure.lock import measuring
from nbbench.measure.machine import load_now
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import WorkloadFailed, busy_note, call, measure_runs, warm_server
from nbbench.model import Commit
from nbbench.words import Say
from nbbench.work.allocator_cost import MALLOC_REMEDY, Allocation, Large

_LINES = 3


def measure_allocations(
    settings: Settings, commit: Commit, pattern: re.Pattern[str], *, say: Say
) -> tuple[list[Allocation], list[str]]:
    """Each workload with the default malloc, and under the printed remedy itself.

    Returns rows and notes. Raises InconclusiveError when no workload runs.
    """
    rows: list[Allocation] = []
    notes = [note] if (note := busy_note(load_now())) else []
    name, _, value = MALLOC_REMEDY.partition("=")
    plain = {k: v for k, v in os.environ.items() if k != name}
    workload_names(settings, pattern)  # an unknown one is told before a server has started
    with (
        measuring(settings.state_dir),
        warm_server(environment=plain) as server,
        # The tunables are read when a process starts, so their workloads need a server of their own.
        warm_server(environment={**plain, name: value}) as remedied,
    ):
        ledgers = workload_ledgers(settings, commit, pattern, say=say, server=server)
        for number, (workload, ledger) in enumerate(ledgers.items(), start=1):
            say(f"[{number}/{len(ledgers)}] {workload}")
            try:
                if ledger.error:
                    raise WorkloadFailed(f"{workload}: {ledger.error}")
                rows.append(_measure(settings, commit, (server, remedied), ledger))
            except InconclusiveError as error:
                notes.append(str(error))
    if not rows:
        raise InconclusiveError(f"no workload of {commit.short} ran: {'; '.join(notes)}")
    return rows, notes


def _measure(
    settings: Settings, commit: Commit, servers: tuple[WarmServer, WarmServer], ledger: Ledger
) -> Allocation:
    environments = [open_tree(settings, each, commit) for each in servers]
    default, remedied = (
        measure_runs(settings, server, environment, ledger.workload, malloc=False)
        for server, environment in zip(servers, environments, strict=True)
    )
    told = call(
        settings, servers[0], environments[0], "benchmarks.roofline:tensors", workload=ledger.workload
    )
    large = [Large(line, one["count"], one["largest"]) for line, one in told["lines"].items()]
    large.sort(key=lambda one: (-one.bytes, -one.count, one.line))
    system, spent = sum(run.system_s for run in default), sum(run.user_s + run.system_s for run in default)
    return Allocation(
        name=ledger.workload,
        work_bytes=ledger.bytes,
        pixels=ledger.pixels,
        faults=median(run.minor_faults for run in default),
        remedied_faults=median(run.minor_faults for run in remedied),
        system_share=system / spent if spent else 0.0,
        default_s=median(run.wall_s for run in default),
        remedied_s=median(run.wall_s for run in remedied),
        large=tuple(large[:_LINES]),
    )
