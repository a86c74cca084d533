"""Where a plan item stands, from the database, the registered folders and the project's files."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, NbbenchError
from nbbench.evidence import Folder
from nbbench.history.telemetry import disturbed_results
from nbbench.model import Commit, ProcessRecord
from nbbench.plan.benchmarks import series_name
from nbbench.plan.measured import BenchmarkPlace, PlanInput, Processes
from nbbench.plan.plan import CriterionState, judge_plan
from nbbench.plan.plans import Plan
from nbbench.probe.resources import usable_cores
from nbbench.record import Store
from nbbench.record.branch import subject_or_none
from nbbench.record.folders import folder_state, register_all
from nbbench.record.machines import choose_machine, machine_name
from nbbench.record.refresh import import_all
from nbbench.subject.repository import Subject, describe


def plan_states(
    settings: Settings, store: Store, plan: Plan, now: datetime, *, machine: str | None = None
) -> tuple[str, tuple[CriterionState, ...]]:
    """Import what is new, then judge every criterion by one machine's figures; gives its name too.

    Raises UsageError where results of several machines are on record and none is chosen.
    """
    import_all(settings, store)
    register_all(settings, store)
    try:
        chosen = choose_machine(settings, store, machine)
    except InconclusiveError:
        chosen = machine or machine_name(settings)  # folders and documents may be there
    names = {series_name(text)[0] for criterion in plan.criteria for text in criterion.series}
    commits, subject = store.commits(), subject_or_none(settings)
    given = PlanInput(
        machine=chosen,
        results={
            name: [r for r in store.results(benchmark=name) if r.key.machine == chosen] for name in names
        },
        commits=commits,
        folders=[
            (_placed(folder, commits, subject), folder_state(settings, folder)[0])
            for folder in store.folders()
        ],
        documents={c.document: _first(settings.root, c.document) for c in plan.criteria if c.document},
        processes=_processes((r for r in store.process_records() if r.machine == chosen), names),
        cores=_cores(settings, store, chosen),
    )
    return chosen, tuple(_with_source(settings.root, state) for state in judge_plan(plan, given, now))


def _processes(records: Iterable[ProcessRecord], names: Iterable[str]) -> dict[BenchmarkPlace, Processes]:
    """What telemetry says of each result. Tracked figures are measured in their module's setup_cache."""
    tracked: dict[str, list[str]] = {}
    for name in names:
        if name.rpartition(".")[2].startswith("track_"):
            tracked.setdefault(name.partition(".")[0], []).append(name)
    measuring = []
    for record in records:
        if record.kind == "setup_cache":
            places = tracked.get(record.benchmark.partition(".")[0], [])
            measuring += [dataclasses.replace(record, kind="run", benchmark=name) for name in places]
        elif record.kind == "run":
            measuring.append(record)
    disturbed = disturbed_results(measuring)
    found: dict[BenchmarkPlace, Processes] = {}
    for record in measuring:
        place = record.commit, record.environment, record.benchmark
        is_disturbed = (record.commit, record.machine, *place[1:]) in disturbed
        found[place] = Processes(dict(record.extra).get("threads"), is_disturbed)
    return found


def _cores(settings: Settings, store: Store, machine: str) -> int | None:
    """The machine's processors: this one's own, or as asv recorded them; None where it did not."""
    if machine == machine_name(settings):
        return usable_cores()
    facts = {m.name: dict(m.facts) for m in store.machines()}.get(machine, {})
    recorded = facts.get("num_cpu", "")
    return int(recorded) if recorded.isdecimal() else None


def _with_source(root: Path, state: CriterionState) -> CriterionState:
    """The same, without the name of a result file that is not there (a database that came alone)."""
    if state.found is None or (root / state.found.source).is_file():
        return state
    return dataclasses.replace(state, found=dataclasses.replace(state.found, source=""))


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
