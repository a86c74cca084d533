"""Where a plan item stands, from the database, evidence folders and the project's files."""

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from nbbench.captured import Folder
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, NbbenchError
from nbbench.history.history import stored_ledgers
from nbbench.history.ledger_series import LEDGER_SERIES, ledger_series
from nbbench.history.telemetry import disturbed_results
from nbbench.model import Commit, ProcessRecord, Result
from nbbench.plan.plan import CriterionState, judge_plan
from nbbench.plan.plans import Criterion, Plan, PlanInput, PlanInputs
from nbbench.plan.values import few_cores, series_name
from nbbench.probe.device import CUDA_MARK
from nbbench.record.branch import subject_or_none
from nbbench.record.evidence_folder import evidence_folders
from nbbench.record.projects import choose_machine, machine_name
from nbbench.record.refresh import import_all
from nbbench.record.store import Store
from nbbench.subject.repository import Subject, describe


def plan_states(
    settings: Settings, store: Store, plan: Plan, now: datetime, *, machine: str | None = None
) -> tuple[str, tuple[CriterionState, ...]]:
    """Import what is new, then judge every criterion by one machine's figures; gives its name too.

    Raises UsageError where results of several machines are on record and none is chosen.
    """
    import_all(settings, store)
    try:
        chosen = choose_machine(settings, store, machine)
    except InconclusiveError:
        chosen = machine or machine_name(settings)  # folders and documents may be there
    return chosen, judge_plan(plan, plan_inputs(settings, store, plan, chosen), now)


def plan_inputs(
    settings: Settings, store: Store, plan: Plan, machine: str, also: Sequence[Commit] = ()
) -> PlanInputs:
    """What is on record of a machine for the plan, and of others for what only they can measure.

    `also` are commits beside the branch's that figures may belong to.
    """
    commits, subject = [*store.commits()], subject_or_none(settings)
    known = {commit.hash for commit in commits}
    commits += [commit for commit in also if commit.hash not in known]
    names = _series_names(plan.criteria)
    given = PlanInput(
        machine,
        results={},
        commits=commits,
        folders=[_placed(folder, commits, subject) for folder in evidence_folders(settings)],
        documents={c.document: _first(settings.root, c.document) for c in plan.criteria if c.document},
    )
    own = _of_machine(store, given, names, machine)
    gpus = _measured_last(store, [one for one in plan.criteria if one.device == "cuda"])
    gpu = next(iter(gpus), machine)
    asking = [one for one in plan.criteria if one.device == "cpu" and few_cores(one, own)]
    return PlanInputs(
        own,
        own if machine in gpus or gpu == machine else _of_machine(store, given, names, gpu),
        tuple(_of_machine(store, given, names, x) for x in _measured_last(store, asking) if x != machine),
    )


def _series_names(criteria: Iterable[Criterion]) -> set[str]:
    return {series_name(text)[0] for criterion in criteria for text in criterion.series}


def _of_machine(store: Store, given: PlanInput, names: Iterable[str], machine: str) -> PlanInput:
    """What was measured on a machine, beside what belongs to none."""
    measuring = _measuring((r for r in store.process_records() if r.machine == machine), names)
    facts = next((dict(m.facts) for m in store.machines() if m.name == machine), {})
    processors = facts.get("num_cpu", "")  # as asv recorded them
    return dataclasses.replace(
        given,
        machine=machine,
        results=_results(store, names, machine, given.commits),
        threads={
            (r.commit, r.environment, r.benchmark): int(dict(r.extra).get("threads") or 0) for r in measuring
        },
        disturbed=disturbed_results(map(kept_by_others, measuring)),
        cores=int(processors) if processors.isdecimal() else None,
    )


def _measured_last(store: Store, criteria: Sequence[Criterion]) -> list[str]:
    """The machines with results that these criteria are judged by, each on its device; the latest first."""
    found: dict[str, float] = {}
    for device in ("cpu", "cuda"):
        for name in _series_names(one for one in criteria if one.device == device):
            for r in store.results(benchmark=name):
                if (CUDA_MARK in r.key.environment) is (device == "cuda"):
                    at = r.started_at.timestamp() if r.started_at else 0.0
                    found[r.key.machine] = max(at, found.get(r.key.machine, 0.0))
    return sorted(found, key=found.__getitem__, reverse=True)


def _results(
    store: Store, names: Iterable[str], machine: str, commits: Sequence[Commit]
) -> dict[str, list[Result]]:
    """The machine's results of these benchmarks; a ledger's figures belong to every machine."""
    found = {name: [r for r in store.results(benchmark=name) if r.key.machine == machine] for name in names}
    if any(name.startswith(LEDGER_SERIES) for name in found):
        ledgers = stored_ledgers(store).items()
        for series in (s for torch, kept in ledgers for s in ledger_series(commits, kept, torch)):
            if (known := found.get(series.key.benchmark)) is not None:
                known += [Result(series.key, p.commit, p.status, p.value, series.unit) for p in series.points]
    return found


def _measuring(records: Iterable[ProcessRecord], names: Iterable[str]) -> list[ProcessRecord]:
    """The processes that took these benchmarks' figures: of a tracked one its module's setup_cache."""
    tracked = [name for name in names if name.rpartition(".")[2].startswith("track_")]
    found = []
    for record in records:
        if record.kind == "run":
            found.append(record)
        elif record.kind == "setup_cache":
            module = f"{record.benchmark.partition('.')[0]}."
            took = [name for name in tracked if name.startswith(module)]
            found += [dataclasses.replace(record, kind="run", benchmark=name) for name in took]
    return found


def kept_by_others(record: ProcessRecord) -> ProcessRecord:
    """The record without the time in which its own threads waited for each other: others ran for less."""
    said = dict(record.extra)
    if (delay := said.get("run_delay_s")) is not None:
        said["run_delay_s"] = min(float(delay), record.others_cpu_s + record.steal_s)
    return dataclasses.replace(record, extra=tuple(said.items()))


def _placed(folder: Folder, commits: Sequence[Commit], subject: Subject | None) -> Folder:
    """The folder with the recorded commit that it belongs to.

    A folder made by hand gives only a beginning of its hash; a commit between recorded ones (it changed
    nothing that is measured) counts as the recorded one with the same tree: equal trees give equal results.
    """
    found = [c for c in commits if folder.commit and c.hash.startswith(folder.commit)]
    if not found and folder.commit and subject is not None:
        with contextlib.suppress(NbbenchError):  # a commit that this clone does not have
            tree = describe(subject, folder.commit).tree
            found = [c for c in commits if tree and c.tree == tree][-1:]
    return dataclasses.replace(folder, commit=found[0].hash) if len(found) == 1 else folder


def _first(root: Path, pattern: str) -> str:
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    return str(found[-1].relative_to(root)) if found else ""
