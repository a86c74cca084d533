"""The measured time of workloads at two commits, from the regression database."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from nbbench.config import Settings
from nbbench.errors import StoreError
from nbbench.metrics import Role, metric_of
from nbbench.model import Commit, Result, SeriesKey, Status
from nbbench.record import Store
from nbbench.record.asv_results import machine_folders
from nbbench.record.refresh import import_all, open_store
from nbbench.words import Say
from nbbench.work.work_share import Timing
from nbbench.workloads import ledger_families, workload_of

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class MeasuredTimes:
    """Times of workloads on the machine (and in the environment) that measured last.

    Reads everything that it needs when it is made, so the database can be closed again.
    """

    def __init__(self, store: Store, commits: Sequence[Commit], workloads: Sequence[str]) -> None:
        self._commits = {c.hash: c for c in (*store.commits(), *commits)}
        self._times: dict[str, tuple[SeriesKey, dict[str, Result]]] = {}
        timed = [
            one.name
            for one in store.benchmarks().values()
            if metric_of(SeriesKey(one.name, one.version, (), "", ""), one.unit, one.kind).role is Role.TIME
        ]
        for workload in workloads:
            if found := _results(store, timed, workload):
                key = max(found, key=_started).key
                mine = sorted((r for r in found if _same_setup(r.key, key)), key=_started)
                self._times[workload] = (key, {r.commit: r for r in mine})

    def between(self, workload: str, base: Commit, head: Commit, *, exact: bool = False) -> Timing | None:
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
        return Timing(
            workload=workload,
            series=key.label,
            machine=key.machine,
            base=first,
            head=last,
            before_s=before.value or math.nan,
            after_s=after.value or math.nan,
            intervals=_intervals(before, after),
        )

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
    settings: Settings, commits: Sequence[Commit], workloads: Sequence[str], *, say: Say
) -> MeasuredTimes | None:
    """The measured times of these workloads, what is new imported first.

    None where nothing was ever measured here, or where the database cannot be used, which is said.
    """
    if not settings.db and not (settings.results_dir.is_dir() and machine_folders(settings.results_dir)):
        return None
    try:
        with open_store(settings) as store:
            import_all(settings, store)
            return MeasuredTimes(store, commits, workloads)
    except StoreError as error:
        say(f"times are left out: {error}")
        return None


def placed(commit: Commit, commits: Sequence[Commit]) -> Commit:
    """The commit with its position on the branch, that of its tree where it changed nothing."""
    if commit.position:
        return commit
    same = [c for c in commits if c.hash == commit.hash or (commit.tree and c.tree == commit.tree)]
    return replace(commit, position=same[0].position) if same else commit


def _started(result: Result) -> datetime:
    return result.started_at or _LONG_AGO


def _same_setup(one: SeriesKey, other: SeriesKey) -> bool:
    return (one.machine, one.environment, one.version) == (other.machine, other.environment, other.version)


def _results(store: Store, names: Sequence[str], workload: str) -> list[Result]:
    """Good results of the first of these benchmarks that measures the workload."""
    for name in names:
        families = ledger_families(SeriesKey(name, "", (), "", ""))
        if not any(family and workload.startswith(family) for family in families):
            continue  # spares reading the results of every other benchmark
        results = store.results(benchmark=name)
        good = [r for r in results if r.status is Status.OK and r.value is not None]
        if found := [r for r in good if workload_of(r.key) == workload]:
            return found
    return []


def _intervals(before: Result, after: Result) -> tuple[tuple[float, float], tuple[float, float]] | None:
    ends = [e for r in (before, after) for e in (r.ci_lo, r.ci_hi) if e is not None and math.isfinite(e)]
    return ((ends[0], ends[1]), (ends[2], ends[3])) if len(ends) == 4 else None
