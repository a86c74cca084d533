"""Where a plan item stands, from the database, the registered folders and the project's files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from nbbench.config import Settings
from nbbench.evidence import Folder, FolderState
from nbbench.model import Commit, Result
from nbbench.plan.plan import CriterionState, PlanInput, judge_plan, series_name
from nbbench.plan.plans import Plan
from nbbench.record import Store
from nbbench.record.folders import folder_state, register_all
from nbbench.record.refresh import import_all


def plan_states(
    settings: Settings, store: Store, plan: Plan, now: datetime, *, machine: str = ""
) -> tuple[CriterionState, ...]:
    """Import what is new, then judge every criterion; results of one machine only, where one is named."""
    import_all(settings, store)
    register_all(settings, store)
    names = {
        series_name(text)[0]
        for criterion in plan.criteria
        for text in (criterion.value, criterion.over, criterion.minus)
        if text
    }
    results = {name: _results(store, name, machine) for name in names}
    folders = [(folder, folder_state(settings, folder)[0]) for folder in store.folders()]
    documents = {c.document: _first(settings.root, c.document) for c in plan.criteria if c.document}
    given = PlanInput(results, store.commits(), _usable(folders, store.commits()), documents)
    return tuple(_with_source(settings.root, state) for state in judge_plan(plan, given, now))


def _with_source(root: Path, state: CriterionState) -> CriterionState:
    """The same, without the name of a result file that is not there (a database that came alone)."""
    known = state.source and (root / state.source).is_file()
    return state if known or not state.source else dataclasses.replace(state, source="")


def _results(store: Store, benchmark: str, machine: str) -> Sequence[Result]:
    return [r for r in store.results(benchmark=benchmark) if machine in ("", r.key.machine)]


def _usable(
    folders: Sequence[tuple[Folder, FolderState]], commits: Sequence[Commit]
) -> list[tuple[Folder, FolderState]]:
    """Folders with their commits' whole hashes, where a folder made by hand gives only a beginning."""
    known = [commit.hash for commit in commits]

    def whole(commit: str) -> str:
        found = [name for name in known if commit and name.startswith(commit)]
        return found[0] if len(found) == 1 else commit

    return [(dataclasses.replace(folder, commit=whole(folder.commit)), state) for folder, state in folders]


def _first(root: Path, pattern: str) -> str:
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    return str(found[-1].relative_to(root)) if found else ""
