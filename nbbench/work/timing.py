"""The measured time of workloads at two commits, from the regression database."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from nbbench.config import Settings
from nbbench.errors import StoreError
from nbbench.measure.process_env import installed_torch
from nbbench.metrics import Role, metric_of
from nbbench.model import Commit, Result, SeriesKey, Status
from nbbench.probe.device import CUDA_MARK, on_cuda
from nbbench.record.asv_results import machine_folders
from nbbench.record.refresh import import_all, open_store
from nbbench.record.side_files import KeptWork, kept_work
from nbbench.record.store import Store
from nbbench.words import Say
from nbbench.work.work_share import Amounts, Timing, amounts
from nbbench.workloads import ledger_families, workload_of

_TREES = 3  # of which the work is looked for: each is a file to read
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class MeasuredTimes:
    """Times of workloads on the machine (and in the environment) that measured last on the device in question
    (processor or GPU), by source tree.

    Reads everything that it needs when it is made, so the database can be closed again.
    """

    def __init__(self, store: Store, commits: Sequence[Commit], workloads: Sequence[str]) -> None:
        trees = {c.hash: c.tree or c.hash for c in (*store.commits(), *commits)}
        self._times: dict[str, dict[str, Result]] = {}
        timed = [
            one.name
            for one in store.benchmarks().values()
            if metric_of(SeriesKey(one.name, one.version, (), "", ""), one.unit, one.kind).role is Role.TIME
        ]
        for workload in workloads:
            found = sorted(_results(store, timed, workload), key=lambda r: r.started_at or _LONG_AGO)
            mine = [r for r in found if _setup(r.key) == _setup(found[-1].key)]
            self._times[workload] = {trees.get(r.commit, r.commit): r for r in mine}

    def seconds(self, workload: str) -> Mapping[str, float]:
        """The seconds of a run by source tree, in the order in which they were measured."""
        return {tree: one.value for tree, one in self._times.get(workload, {}).items() if one.value}

    def between(self, workload: str, base: Commit, head: Commit) -> Timing | None:
        """The time at two commits; None where one of their trees was not timed, or both have the same."""
        found = self._times.get(workload, {})
        before, after = (found.get(one.tree or one.hash) for one in (base, head))
        if before is None or after is None or before is after:
            return None
        return Timing(
            workload=workload,
            series=after.key.label,
            machine=after.key.machine,
            before_s=before.value or math.nan,
            after_s=after.value or math.nan,
            intervals=_intervals(before, after),
        )


def timed_work(
    settings: Settings, times: MeasuredTimes | None, base: Commit, workloads: Sequence[str]
) -> list[tuple[Amounts, float]]:
    """The exact work and the seconds of every workload that was timed here, at `base` or else last."""
    found: list[tuple[Amounts, float]] = []
    torch = installed_torch()
    known: dict[str, KeptWork] = {}
    for workload in workloads if times else ():
        seconds = times.seconds(workload) if times else {}
        for tree in [base.tree, *reversed(list(seconds))][:_TREES]:
            if tree not in known:
                known[tree] = kept_work(settings.results_dir, tree, torch)
            ledger, host = known[tree].ledgers.get(workload), known[tree].host.get(workload)
            if tree in seconds and ledger and not ledger.error:
                found.append((amounts(ledger, host if host and not host.error else None), seconds[tree]))
                break
    return found


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


def _setup(key: SeriesKey) -> tuple[str, str, str]:
    return key.machine, key.environment, key.version


def _results(store: Store, names: Sequence[str], workload: str) -> list[Result]:
    """Good results of the benchmark that measured the workload most often, the first of these where several
    did: sides are compared by one benchmark."""
    most: list[Result] = []
    for name in names:
        families = ledger_families(SeriesKey(name, "", (), "", ""))
        if not any(family and workload.startswith(family) for family in families):
            continue  # spares reading the results of every other benchmark
        results = store.results(benchmark=name)
        here = (r for r in results if (CUDA_MARK in r.key.environment) is on_cuda())
        good = [r for r in here if r.status is Status.OK and r.value is not None]
        most = max(most, [r for r in good if workload_of(r.key) == workload], key=len)
    return most


def _intervals(before: Result, after: Result) -> tuple[tuple[float, float], tuple[float, float]] | None:
    ends = [e for r in (before, after) for e in (r.ci_lo, r.ci_hi) if e is not None and math.isfinite(e)]
    return ((ends[0], ends[1]), (ends[2], ends[3])) if len(ends) == 4 else None
