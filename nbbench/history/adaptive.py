"""`nbbench run --adaptive`: measure, look, and choose the next trees until every change is located."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.history.next_tree import NextTrees, Probe, Tree, TreeReading, Why, plan, steadied
from nbbench.history.telemetry import canary_levels, collected_again
from nbbench.ledger import Ledger
from nbbench.measure.asv_run import measure_commits
from nbbench.measure.ledgers import commit_ledgers, known_ledgers, workload_names
from nbbench.metrics import Role, metric_of
from nbbench.model import Commit, Status
from nbbench.record import Store
from nbbench.record.projects import machine_name
from nbbench.record.refresh import import_all
from nbbench.subject.profile import load_profile
from nbbench.words import Say
from nbbench.workloads import ledger_families

# Medians of two fresh processes of unchanged code differ by about so much on a quiet machine
# (docs/statistics.md); what asv's samples within a process say is far less and leaves out the
# machine's wandering, which is read from the trees of equal work as they come in.
READING_ERROR = 0.015
BATCH = 6  # probes of different gaps measured by one asv process: its start costs seconds


@dataclass(frozen=True, slots=True)
class AdaptiveOutcome:
    """How far the search came: the commits in order, the last plan, and what was timed."""

    commits: tuple[Commit, ...]
    plan: NextTrees
    timed: int
    broken: int
    stopped: str  # located, budget, limit

    @property
    def open(self) -> bool:
        """Whether suspicions are left (a coarse look is none)."""
        return any(p.why is not Why.COARSE for p in self.plan.probes)


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: commits (oldest first), benchmarks, and when to stop."""

    commits: tuple[Commit, ...]
    bench: tuple[str, ...] = ()
    budget_s: float = float("inf")
    limit: int = sys.maxsize


def search(settings: Settings, store: Store, asked: Search, *, show: Say, detail: Say) -> AdaptiveOutcome:
    """Measure the most telling trees of `asked.commits` until nothing is left to look for.

    Repeating it resumes: what is measured is never measured again, except once where a change
    has no explanation. The budget holds while commits are recorded or measured, too: the one that it
    interrupts is lost, finished commits are kept. Raises what the measuring raises.
    """
    budget = Budget(asked.budget_s)
    names = workload_names(settings, re.compile(load_profile(settings).range_workloads))
    # A commit whose ledger cannot be recorded will fail to run as well; then it counts as broken.
    ledgers = {commit.tree: known_ledgers(settings, commit) for commit in asked.commits}
    with suppress(BudgetSpentError), held(budget):
        ledgers = commit_ledgers(settings, asked.commits, names, say=show)
    measured: Counter[str] = Counter()
    while True:
        import_all(settings, store)
        trees, workloads = _trees(settings, store, asked, ledgers, measured)
        trees = steadied(trees, min_effect=settings.min_effect)
        found = plan(trees, workloads, min_effect=settings.min_effect)
        timed = sum(tree.measured for tree in trees)
        stopped = _stopped(found, asked, budget, len(measured))
        if stopped:
            return AdaptiveOutcome(asked.commits, found, timed, sum(t.broken for t in trees), stopped)
        batch = found.probes[: min(BATCH, asked.limit - len(measured))]
        show(_progress(found, timed, len(trees), batch))
        with suppress(BudgetSpentError), held(budget):
            for again in (False, True):
                commits = [asked.commits[p.index] for p in batch if (p.why is Why.CONFIRM) == again]
                if commits:
                    measure_commits(
                        settings, commits, bench=asked.bench, again=again, show=show, detail=detail
                    )
                    measured.update({c.hash: 1 + again for c in commits})


def _stopped(found: NextTrees, asked: Search, budget: Budget, measured: int) -> str:
    if not found.probes:
        return "located"
    if budget.spent:
        return "budget"
    return "limit" if measured >= asked.limit else ""


def _progress(found: NextTrees, timed: int, trees: int, batch: Sequence[Probe]) -> str:
    reasons = Counter(p.why.value for p in batch)
    why = ", ".join(f"{count} × {one}" for one, count in reasons.items())
    return f"{timed} of {trees} trees timed, {len(found.located)} changes located; next: {why}"


def _trees(
    settings: Settings,
    store: Store,
    asked: Search,
    ledgers: Mapping[str, Mapping[str, Ledger]],
    measured: Mapping[str, int],
) -> tuple[list[Tree], dict[str, list[str]]]:
    """What is known of each commit's tree, and the workloads that each series runs; `measured` counts the
    collections of this search."""
    readings: dict[str, dict[str, TreeReading]] = {c.hash: {} for c in asked.commits}
    tried = set(measured)
    workloads: dict[str, list[str]] = {}
    names = sorted({name for kept in ledgers.values() for name in kept})
    records = store.process_records()
    canaries = canary_levels(records)
    twice = {commit for commit, *_ in collected_again(records)} | {c for c, n in measured.items() if n > 1}
    for series in store.iter_series(machine=machine_name(settings), samples=False):
        values = [value for _, value in series.key.params]
        label = series.key.benchmark + (f"({', '.join(values)})" if values else "")  # asv's name
        if metric_of(series.key, series.unit, series.kind).role is not Role.TIME:
            continue
        if asked.bench and not any(re.search(pattern, label) for pattern in asked.bench):
            continue
        families = ledger_families(series.key)
        workloads[label] = [name for name in names if families and name.startswith(families)]
        beside = np.log(canaries.beside(series.key, [point.commit for point in series.points])).mean(axis=0)
        for point, machine in zip(series.points, beside.tolist(), strict=True):
            if point.commit not in readings or point.status is Status.SKIPPED:
                continue
            tried.add(point.commit)
            if point.value is not None and point.value > 0:
                error = READING_ERROR / (2**0.5 if point.commit in twice else 1.0)
                readings[point.commit][label] = TreeReading(math.log(point.value), error, machine)
    return [
        Tree(
            cost=_cost(ledgers.get(c.tree, {})),
            readings=readings[c.hash],
            collections=(2 if c.hash in twice else 1) if readings[c.hash] else 0,
            broken=not readings[c.hash] and (c.hash in tried or _fails(ledgers.get(c.tree, {}))),
        )
        for c in asked.commits
    ], workloads


def _cost(kept: Mapping[str, Ledger]) -> dict[str, float]:
    """Work by workload in one unit; a workload that failed has none."""
    return {name: one.cost_bytes for name, one in kept.items() if not one.error and one.pixels}


def _fails(kept: Mapping[str, Ledger]) -> bool:
    return bool(kept) and all(one.error for one in kept.values())
