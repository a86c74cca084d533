"""The roofline of a commit: measured now, or from what is recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.ledger import Ledger, Roof
from nbbench.measure.ledgers import known_ledgers, open_tree, workload_ledgers, workload_names
from nbbench.measure.lock import measuring
from nbbench.measure.machine import busy_note, load_now
from nbbench.measure.process_env import torch_version
from nbbench.measure.warm_runs import WorkloadFailed, measure_roof, measure_runs, warm_server
from nbbench.metrics import MACHINE_BENCHMARKS, Role, metric_of
from nbbench.model import Commit, Result, Status
from nbbench.probe.cache import parse_size
from nbbench.record import Store
from nbbench.words import Say
from nbbench.work.roofs import Achieved, best_of, ceiling_moved, classify, unknown_inputs
from nbbench.workloads import workload_of


@dataclass(frozen=True, slots=True)
class Roofline:
    """Workloads of one commit under the machine's roof, with what should be known besides."""

    commit: Commit
    roof: Roof
    rows: tuple[Achieved, ...]
    notes: tuple[str, ...] = ()
    source: str = "measured"


def measured(settings: Settings, commit: Commit, pattern: re.Pattern[str], *, say: Say) -> Roofline:
    """Measure ceilings and workloads in one session of warm processes, ceilings at both ends.

    Raises InconclusiveError when no workload runs.
    """
    notes = [note] if (note := busy_note(load_now())) else []
    workload_names(settings, pattern)  # an unknown one is told before a server has started
    with measuring(settings.state_dir), warm_server() as server:
        ledgers = workload_ledgers(settings, commit, pattern, say=say, server=server)
        environment = open_tree(settings, server, commit)
        say("measuring the machine's ceilings")
        before = measure_roof(settings, server, environment)
        seconds: dict[str, list[float]] = {}
        for number, (name, ledger) in enumerate(ledgers.items(), start=1):
            say(f"[{number}/{len(ledgers)}] {name}")
            try:
                if ledger.error:
                    raise WorkloadFailed(f"{name}: {ledger.error}")
                runs = measure_runs(settings, server, environment, name)
                seconds[name] = [run.wall_s for run in runs]
            except InconclusiveError as error:
                notes.append(str(error))
        after = measure_roof(settings, server, environment)
    roof = best_of(before, after)
    rows = [classify(ledgers[name], spent, roof) for name, spent in seconds.items()]
    if not rows:
        raise InconclusiveError(f"no workload of {commit.short} ran: {'; '.join(notes)}")
    if warning := ceiling_moved(before, after):
        notes.insert(0, warning)
    notes += filter(None, [unknown_inputs([ledgers[name] for name in seconds])])
    return Roofline(commit, roof, tuple(rows), tuple(notes))


def recorded(
    settings: Settings, store: Store, commit: Commit, pattern: re.Pattern[str], machine: str
) -> Roofline:
    """The roofline from one machine's results in the database: the copy ceiling alone is recorded there.

    Raises UsageError when the pattern fits no timed workload, InconclusiveError when the commit has none
    with a ledger and a ceiling.
    """
    measured = [r for r in store.results(commit=commit.hash) if r.key.machine == machine]
    found = [r for r in measured if r.status is Status.OK and r.value is not None]
    ceilings = [r for r in found if re.search(MACHINE_BENCHMARKS, r.key.benchmark)]
    every = _timed(found)
    timed = {name: result for name, result in every.items() if pattern.search(name)}
    if every and not timed:
        raise UsageError(
            f"no timed workload of {commit.short} matches {pattern.pattern!r}",
            hint=f"on record: {', '.join(sorted(every))}",
        )
    ledgers = _ledgers(settings, store, commit, timed)
    known = {name: result for name, result in timed.items() if name in ledgers}
    if not known or not ceilings:
        raise InconclusiveError(
            f"nothing of {commit.short} is recorded that a roofline needs",
            hint="measure now, without --recorded, or `nbbench run` this commit first",
        )
    copy = median(float(r.value or 0) for r in ceilings)
    cache = recorded_cache(store, commit.hash, machine)
    roof = Roof(copy, 0.0, 0.0, 0.0, 0, cache, 0)
    rows = [classify(ledgers[n], r.samples or [r.value or 0.0], roof) for n, r in known.items()]
    notes = (
        "recorded: only the copy ceiling is kept, so dispatch and caches' ceilings are not known",
        *([] if cache else ["the size of that machine's cache is not on record: all is held against memory"]),
        *filter(None, [unknown_inputs([ledgers[name] for name in known])]),
    )
    return Roofline(commit, roof, tuple(rows), notes, source="recorded")


def _timed(found: list[Result]) -> dict[str, Result]:
    named = {workload_of(r.key): r for r in found if metric_of(r.key, r.unit).role is Role.TIME}
    return {name: result for name, result in named.items() if name}


def _ledgers(
    settings: Settings, store: Store, commit: Commit, names: Mapping[str, object]
) -> dict[str, Ledger]:
    kept = known_ledgers(settings, commit)
    found = {name: kept.get(name) or store.ledger(commit.tree, name, torch_version()) for name in names}
    return {name: one for name, one in found.items() if one is not None and not one.error and one.bytes}


def recorded_cache(store: Store, commit: str, machine: str) -> int:
    """The last-level cache of the machine that measured a commit, in bytes; 0 where it is not on record.

    Its telemetry says it, or else what asv knows of the machine.
    """
    found = [dict(r.extra).get("cache_bytes") for r in store.process_records(commit) if r.machine == machine]
    if known := [size for size in found if isinstance(size, int) and size > 0]:
        return max(known)
    facts = {m.name: dict(m.facts) for m in store.machines()}.get(machine, {})
    return max(parse_size(facts.get(name, "")) for name in ("l2 cache", "l3 cache"))
