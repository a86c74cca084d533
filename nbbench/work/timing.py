"""The measured time of workloads at two commits, from the regression database."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nbbench.config import Settings
from nbbench.metrics import Role, metric_of
from nbbench.model import Commit, Result, SeriesKey, Status
from nbbench.record import Store
from nbbench.record.asv_results import machine_folders
from nbbench.record.refresh import import_all, open_store
from nbbench.words import plural
from nbbench.work.work_share import Timing
from nbbench.workloads import ledger_families, workload_of

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimedPair:
    """A timing, and the commits at which it was measured."""

    timing: Timing
    base: Commit
    head: Commit


class MeasuredTimes:
    """Times of workloads on the machine (and in the environment) that measured last.

    Reads everything that it needs when it is made, so the database can be closed again.
    """

    def __init__(self, store: Store, commits: Sequence[Commit], workloads: Sequence[str]) -> None:
        self._commits = {c.hash: c for c in (*store.commits(), *commits)}
        self._times: dict[str, tuple[SeriesKey, dict[str, Result]]] = {}
        self._faults: dict[str, dict[str, Result]] = {}
        self._system: dict[str, Mapping[str, float]] = {}
        declared = store.benchmarks()
        timed, faults = [], []
        for benchmark in declared.values():
            plain = SeriesKey(benchmark.name, benchmark.version, (), "", "")
            if metric_of(plain, benchmark.unit, benchmark.kind).role is Role.TIME:
                timed.append(benchmark.name)
            elif benchmark.name.rpartition(".")[2] == "track_minor_faults":
                faults.append(benchmark.name)
        for workload in workloads:
            found = _speaking(store, timed, workload)
            if not found:
                continue
            key = max(found, key=lambda r: r.started_at or _LONG_AGO).key
            self._times[workload] = (key, _by_commit(found, key))
            beside = _speaking(store, faults, workload)
            self._faults[workload] = _by_commit(beside, key)
            params = declared[key.benchmark].params
            self._system[workload] = _system_shares(store, key, params)

    def between(self, workload: str, base: Commit, head: Commit, *, exact: bool = False) -> TimedPair | None:
        """The time at two commits, or at the nearest measured ones around them (not if `exact`).

        None where nothing was measured.
        """
        if workload not in self._times:
            return None
        key, results = self._times[workload]
        first, last = self._measured(results, base, -1, exact), self._measured(results, head, 1, exact)
        if first is None or last is None:
            return None
        before, after = results[first.hash], results[last.hash]
        faults, system = self._faults[workload], self._system[workload]
        missed = [f.value if (f := faults.get(c.hash)) else None for c in (first, last)]
        timing = Timing(
            workload=workload,
            series=key.label,
            machine=key.machine,
            base=first.hash,
            head=last.hash,
            before_s=before.value or math.nan,
            after_s=after.value or math.nan,
            minor_faults=(missed[0], missed[1]),
            system_share=(system.get(first.hash), system.get(last.hash)),
            intervals=_intervals(before, after),
            note="; ".join(filter(None, (_apart(base, first), _apart(head, last)))),
        )
        return TimedPair(timing, first, last)

    def _measured(
        self, results: Mapping[str, Result], commit: Commit, way: int, exact: bool
    ) -> Commit | None:
        """The commit itself, one with its tree, or the nearest measured one before (-1) or after (1)."""
        if commit.hash in results:
            return commit
        measured = [self._commits[name] for name in results if name in self._commits]
        for other in measured:
            if commit.tree and other.tree == commit.tree:
                return other
        if exact or not commit.position:
            return None
        beyond = [c for c in measured if c.position and (c.position - commit.position) * way > 0]
        return min(beyond, key=lambda c: abs(c.position - commit.position), default=None)


def load_times(
    settings: Settings, commits: Sequence[Commit], workloads: Sequence[str]
) -> MeasuredTimes | None:
    """The measured times of these workloads; None where nothing was ever measured here.

    Imports what is new first. Raises StoreError when the database cannot be used.
    """
    if not settings.db and not (settings.results_dir.is_dir() and machine_folders(settings.results_dir)):
        return None
    with open_store(settings) as store:
        import_all(settings, store)
        return MeasuredTimes(store, commits, workloads)


def placed(commit: Commit, commits: Sequence[Commit]) -> Commit:
    """The commit with its position on the branch, that of its tree where it changed nothing."""
    if commit.position:
        return commit
    same = [c for c in commits if c.hash == commit.hash or (commit.tree and c.tree == commit.tree)]
    return replace(commit, position=same[0].position) if same else commit


def _speaking(store: Store, names: Sequence[str], workload: str) -> list[Result]:
    """Good results of the first of these benchmarks that measures the workload."""
    for name in names:
        families = ledger_families(SeriesKey(name, "", (), "", ""))
        if not any(family and workload.startswith(family) for family in families):
            continue  # spares reading the results of every other benchmark
        found = [
            r
            for r in store.results(benchmark=name)
            if r.status is Status.OK and r.value is not None and workload_of(r.key) == workload
        ]
        if found:
            return found
    return []


def _by_commit(results: Sequence[Result], key: SeriesKey) -> dict[str, Result]:
    """Results of one machine, environment and version, the last measured of each commit."""
    mine = [
        r
        for r in results
        if (r.key.machine, r.key.environment) == (key.machine, key.environment)
        and (r.key.benchmark != key.benchmark or r.key.version == key.version)
    ]
    return {r.commit: r for r in sorted(mine, key=lambda r: r.started_at or _LONG_AGO)}


def _system_shares(store: Store, key: SeriesKey, params: Sequence[Sequence[str]]) -> dict[str, float]:
    """System time over processor time of the processes that timed a series, by commit.

    `params` are the values of the benchmark's parameters, as asv numbers their sets.
    """
    values = tuple(value for _, value in key.params)
    place = next((i for i, row in enumerate(itertools.product(*params)) if row == values), 0)
    spent: dict[str, list[tuple[float, float]]] = {}
    for record in store.process_records(benchmark=key.benchmark):
        mine = record.kind == "run" and record.param_index == place and not record.exit_code
        if mine and record.machine in ("", key.machine):
            spent.setdefault(record.commit, []).append((record.user_s, record.system_s))
    sums = {name: (sum(u for u, _ in times), sum(s for _, s in times)) for name, times in spent.items()}
    return {name: s / (u + s) for name, (u, s) in sums.items() if u + s > 0}


def _intervals(before: Result, after: Result) -> tuple[tuple[float, float], tuple[float, float]] | None:
    ends = (before.ci_lo, before.ci_hi, after.ci_lo, after.ci_hi)
    if any(end is None or not math.isfinite(end) for end in ends):
        return None
    low, high, later_low, later_high = (float(end or 0.0) for end in ends)
    return (low, high), (later_low, later_high)


def _apart(asked: Commit, measured: Commit) -> str:
    """How far the measured commit is from the one asked for."""
    if asked.hash == measured.hash or (asked.tree and asked.tree == measured.tree):
        return ""
    trees = plural(abs(asked.position - measured.position), "tree")
    side = "before" if measured.position < asked.position else "after"
    return f"{asked.short} was not timed: {measured.short} stands in, {trees} {side}"
