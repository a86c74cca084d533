"""What malloc costs a commit's workloads: from the database, or measured now."""

from __future__ import annotations

import os
import re
from statistics import median

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.ledger import Ledger
from nbbench.measure import warm_client
from nbbench.measure.ledgers import known_ledgers, open_tree, workload_ledgers, workload_names
from nbbench.measure.lock import measuring
from nbbench.measure.machine import busy_note, load_now
from nbbench.measure.warm_runs import WorkloadFailed, call, measure_runs, warm_server
from nbbench.metrics import Role, metric_of
from nbbench.model import Commit, Status
from nbbench.record import Store
from nbbench.words import Say
from nbbench.work.allocator_cost import MALLOC_REMEDY, Allocation, Large, ratio, shares
from nbbench.work.timing import system_shares
from nbbench.workloads import workload_of

_ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
_LINES = 3


def measured(
    settings: Settings, commit: Commit, pattern: re.Pattern[str], *, say: Say
) -> tuple[list[Allocation], list[str]]:
    """Each workload with the default malloc, with mallopt, and under the printed remedy itself.

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
        environments = [open_tree(settings, each, commit) for each in (server, remedied)]
        for number, (workload, ledger) in enumerate(ledgers.items(), start=1):
            say(f"[{number}/{len(ledgers)}] {workload}")
            try:
                if ledger.error:
                    raise WorkloadFailed(f"{workload}: {ledger.error}")
                rows.append(_measure(settings, (server, remedied), environments, ledger))
            except InconclusiveError as error:
                notes.append(str(error))
    if not rows:
        raise InconclusiveError(f"no workload of {commit.short} ran: {'; '.join(notes)}")
    return rows, notes


def _measure(
    settings: Settings,
    servers: tuple[warm_client.WarmServer, warm_client.WarmServer],
    environments: list[dict[str, str]],
    ledger: Ledger,
) -> Allocation:
    name = ledger.workload
    default = measure_runs(settings, servers[0], environments[0], name, malloc=False)
    pinned = measure_runs(settings, servers[0], environments[0], name)
    remedied = measure_runs(settings, servers[1], environments[1], name, malloc=False)
    told = call(settings, servers[0], environments[0], "benchmarks.roofline:tensors", workload=name)
    large = [Large(line, one["count"], one["largest"]) for line, one in told["lines"].items()]
    large.sort(key=lambda one: (-one.bytes, -one.count, one.line))
    seconds = [[run.wall_s for run in runs] for runs in (default, pinned, remedied)]
    faults = [float(median(run.minor_faults for run in runs)) for runs in (default, pinned, remedied)]
    return Allocation(
        name=name,
        work_bytes=ledger.bytes,
        pixels=ledger.pixels,
        faults=faults[0],
        pinned_faults=faults[1],
        remedied_faults=faults[2],
        system_share=shares([(run.user_s, run.system_s) for run in default]),
        penalty=ratio(seconds[0], seconds[1]),
        remedied=ratio(seconds[0], seconds[2]),
        largest_bytes=large[0].bytes if large else 0,
        large=tuple(large[:_LINES]),
    )


def recorded(
    settings: Settings, store: Store, commit: Commit, pattern: re.Pattern[str], machine: str
) -> list[Allocation]:
    """Every timed series of a commit on one machine, with what was recorded beside it.

    Faults and penalty are there for the memory-bandwidth workloads; the system share is that of
    the series' own processes, which run with malloc pinned. Raises UsageError when the pattern fits
    none, InconclusiveError when there is no timed series.
    """
    measured = [r for r in store.results(commit=commit.hash) if r.key.machine == machine]
    results = [r for r in measured if r.status is Status.OK and r.value is not None]
    declared = store.benchmarks()
    timed = []
    for result in results:
        kind = declared[result.key.benchmark].kind if result.key.benchmark in declared else ""
        if metric_of(result.key, result.unit, kind).role is Role.TIME:
            timed.append(result)
    names, timed = [r.key.label for r in timed], [r for r in timed if pattern.search(r.key.label)]
    if names and not timed:
        raise UsageError(
            f"no timed series of {commit.short} matches {pattern.pattern!r}",
            hint=f"on record: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}",
        )
    if not timed:
        raise InconclusiveError(
            f"no timed series of {commit.short} is recorded",
            hint="measure now with --measure, or `nbbench run` this commit first",
        )
    ledgers = known_ledgers(settings, commit)
    beside = {
        (name, workload): r.value
        for r in results
        if (name := r.key.benchmark.rpartition(".")[2]) in ("track_minor_faults", "track_malloc_penalty")
        and (workload := workload_of(r.key))
    }
    rows = []
    for result in timed:
        key = result.key
        workload = workload_of(key) or ""
        ledger = ledgers.get(workload)
        params = declared[key.benchmark].params if key.benchmark in declared else ()
        rows.append(
            Allocation(
                name=key.label,
                work_bytes=ledger.bytes if ledger else 0,
                pixels=ledger.pixels if ledger else 0,
                faults=beside.get(("track_minor_faults", workload)),
                penalty=beside.get(("track_malloc_penalty", workload)),
                system_share=system_shares(store, key, params, commit.hash).get(commit.hash),
                largest_bytes=ledger.pixels * _ITEM_BYTES.get(ledger.output_dtype, 0) if ledger else 0,
            )
        )
    return rows
