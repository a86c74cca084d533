"""`nbbench run --adaptive`: measure, look, and choose the next trees until every change is located."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.history.canaries import canary_levels
from nbbench.history.next_tree import NextTrees, Probe, Tree, TreeReading, Why, plan, steadied
from nbbench.ledger import Ledger
from nbbench.measure.asv_run import measure_commits
from nbbench.measure.ledgers import commit_ledgers, known_ledgers, workload_names
from nbbench.metrics import Role, metric_of
from nbbench.model import Commit, Status
from nbbench.record import Store
from nbbench.record.atomic import write_text
from nbbench.record.machines import machine_name
from nbbench.record.refresh import import_all
from nbbench.subject.profile import load_profile
from nbbench.workloads import ledger_families

# Medians of two fresh processes of unchanged code differ by about so much on a quiet machine
# (docs/statistics.md); what asv's samples within a process say is far less and leaves out the
# machine's wandering, which is read from the trees of equal work as they come in.
READING_ERROR = 0.015
BATCH = 6  # probes of different gaps measured by one asv process: its start costs seconds
_STATE = "adaptive.json"
_SCHEMA = "nbbench.adaptive/1"


@dataclass(frozen=True, slots=True)
class AdaptiveOutcome:
    """How far the search came: the commits in order, the last plan, and what was timed."""

    commits: tuple[Commit, ...]
    plan: NextTrees
    timed: int
    broken: int
    stopped: str  # located, budget, limit

    @property
    def open(self) -> tuple[Probe, ...]:
        """Suspicions that could not be followed any more (a coarse look is none)."""
        return tuple(p for p in self.plan.probes if p.why is not Why.COARSE)


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: commits (oldest first), benchmarks, and when to stop."""

    commits: tuple[Commit, ...]
    bench: tuple[str, ...] = ()
    budget_s: float = float("inf")
    limit: int = sys.maxsize
    workloads: str = ""


def search(
    settings: Settings,
    store: Store,
    asked: Search,
    *,
    show: Callable[[str], None],
    detail: Callable[[str], None],
) -> AdaptiveOutcome:
    """Measure the most telling trees of `asked.commits` until nothing is left to look for.

    Repeating it resumes: what is measured is never measured again, except once where a change
    has no explanation. The budget holds while commits are recorded or measured, too: the one that it
    interrupts is lost, finished commits are kept. Raises what the measuring raises.
    """
    budget = Budget(asked.budget_s)
    names = workload_names(settings, re.compile(asked.workloads or load_profile(settings).range_workloads))
    # A commit whose ledger cannot be recorded will fail to run as well; then it counts as broken.
    ledgers = {commit.tree: known_ledgers(settings, commit) for commit in asked.commits}
    with suppress(BudgetSpentError), held(budget):
        ledgers = commit_ledgers(settings, asked.commits, names, say=show)
    looked = _second_looks(settings)
    measured_now: set[str] = set()
    while True:
        import_all(settings, store)
        trees, workloads = _trees(settings, store, asked, ledgers, looked, measured_now)
        trees = steadied(trees, min_effect=settings.min_effect)
        found = plan(trees, workloads, min_effect=settings.min_effect)
        timed = sum(tree.measured for tree in trees)
        stopped = _stopped(found, asked, budget, len(measured_now))
        if stopped:
            return AdaptiveOutcome(asked.commits, found, timed, sum(t.broken for t in trees), stopped)
        batch = found.probes[: min(BATCH, asked.limit - len(measured_now))]
        show(_progress(found, timed, len(trees), batch))
        with suppress(BudgetSpentError), held(budget):
            for again in (False, True):
                commits = [asked.commits[p.index] for p in batch if (p.why is Why.CONFIRM) == again]
                if commits:
                    measure_commits(
                        settings, commits, bench=asked.bench, again=again, show=show, detail=detail
                    )
                    measured_now |= {c.hash for c in commits}
                    looked |= {c.hash for c in commits} if again else set()
        _keep_second_looks(settings, looked)


def _stopped(found: NextTrees, asked: Search, budget: Budget, measured: int) -> str:
    if not found.probes:
        return "located"
    if budget.spent:
        return "budget"
    return "limit" if measured >= asked.limit else ""


def _progress(found: NextTrees, timed: int, trees: int, batch: Sequence[Probe]) -> str:
    reasons = [p.why.value for p in batch]
    why = ", ".join(f"{reasons.count(one)} × {one}" for one in dict.fromkeys(reasons))
    return f"{timed} of {trees} trees timed, {len(found.located)} changes located; next: {why}"


def _trees(
    settings: Settings,
    store: Store,
    asked: Search,
    ledgers: Mapping[str, Mapping[str, Ledger]],
    looked: set[str],
    measured: set[str],
) -> tuple[list[Tree], dict[str, list[str]]]:
    """What is known of each commit's tree, and the workloads that each series runs."""
    readings: dict[str, dict[str, TreeReading]] = {c.hash: {} for c in asked.commits}
    tried = set(measured)
    workloads: dict[str, list[str]] = {}
    names = sorted({name for kept in ledgers.values() for name in kept})
    patterns = [re.compile(p) for p in asked.bench]
    canaries = canary_levels(store.process_records())
    for series in store.iter_series(machine=machine_name(settings), samples=False):
        label = _asv_name(series.key.benchmark, [v for _, v in series.key.params])
        if metric_of(series.key, series.unit, series.kind).role is not Role.TIME:
            continue
        if patterns and not any(p.search(label) for p in patterns):
            continue
        families = ledger_families(series.key)
        workloads[label] = [name for name in names if families and name.startswith(families)]
        machine = _log_mean(canaries.beside(series.key, [point.commit for point in series.points]))
        for point, beside in zip(series.points, machine, strict=True):
            if point.commit not in readings or point.status is Status.SKIPPED:
                continue
            tried.add(point.commit)
            if point.value is not None and point.value > 0:
                error = READING_ERROR / (2**0.5 if point.commit in looked else 1.0)
                readings[point.commit][label] = TreeReading.of(point.value, error, beside)
    return [
        Tree(
            cost=_cost(ledgers.get(c.tree, {})),
            readings=readings[c.hash],
            collections=(2 if c.hash in looked else 1) if readings[c.hash] else 0,
            broken=not readings[c.hash] and (c.hash in tried or _fails(ledgers.get(c.tree, {}))),
        )
        for c in asked.commits
    ], workloads


def _log_mean(canaries: NDArray[np.float64]) -> list[float]:
    """Logarithm of the canaries' geometric mean (n,) from their seconds (programs, n); NaN where one is
    missing."""
    return [float(one) for one in np.log(canaries).mean(axis=0)]


def _asv_name(benchmark: str, values: Sequence[str]) -> str:
    return f"{benchmark}({', '.join(values)})" if values else benchmark


def _cost(kept: Mapping[str, Ledger]) -> dict[str, float]:
    """Work by workload in one unit; a workload that failed has none."""
    return {name: one.cost_bytes for name, one in kept.items() if not one.error and one.pixels}


def _fails(kept: Mapping[str, Ledger]) -> bool:
    return bool(kept) and all(one.error for one in kept.values())


def _second_looks(settings: Settings) -> set[str]:
    """Commits that were measured a second time to confirm a change."""
    try:
        kept = json.loads((settings.state_dir / _STATE).read_text(encoding="utf-8"))
        return set(kept["second_looks"]) if kept.get("schema") == _SCHEMA else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # the worst that follows is one more second look


def _keep_second_looks(settings: Settings, looked: set[str]) -> None:
    text = json.dumps({"schema": _SCHEMA, "second_looks": sorted(looked)})
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    write_text(settings.state_dir / _STATE, text)
