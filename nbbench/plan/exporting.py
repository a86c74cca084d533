"""What an export states: one machine's results of a commit, and what is on record since its baseline."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.history.history import current_flags, up_to_date
from nbbench.history.telemetry import disturbed_results
from nbbench.measure.machine import torch_env_text, torch_versions
from nbbench.model import Commit, Event, ProcessRecord, Result
from nbbench.plan.exported import Between, Export
from nbbench.record import Store
from nbbench.record.machines import choose_machine
from nbbench.record.redact import redacted_environment


def gather(
    settings: Settings,
    store: Store,
    *,
    cluster: str,
    commit: str | None,
    baseline: str | None,
    machine: str | None,
) -> Export:
    """The export of `commit` (default: the newest measured) against `baseline` (default: the one before).

    Raises UsageError for commits without results and where several machines could be meant,
    InconclusiveError where nothing was measured.
    """
    events = up_to_date(settings, store)
    name = choose_machine(settings, store, machine)
    branch = store.commits()
    chosen, results = _measured(store, name, commit, branch, "commit")
    if chosen is None:
        raise InconclusiveError("there are no results to export", hint="run `nbbench run` first")
    place = next((i for i, known in enumerate(branch) if known.hash == chosen.hash), 0)
    before, old = _measured(store, name, baseline, branch[:place], "baseline")
    records = [r for r in store.process_records(commit=chosen.hash) if r.machine == name]
    flags = current_flags(store, events, settings.plan)
    return Export(
        cluster=cluster,
        plan=settings.plan,
        command=f"nbbench export {chosen.hash} --cluster {cluster} --machine {name}",
        commit=chosen,
        branch=settings.branch,
        machine=name,
        facts={m.name: m.facts for m in store.machines()}.get(name, ()),
        versions=tuple(torch_versions().items()),
        environment=tuple(redacted_environment(os.environ)),
        torch_env=torch_env_text(sys.executable),
        started_at=min((r.started_at for r in results if r.started_at), default=None),
        ended_at=max((r.started_at + timedelta(seconds=r.wall_s) for r in records), default=None),
        measuring_s=sum(r.wall_s for r in records),
        results=tuple(results),
        baseline=tuple(old),
        baseline_commit=before,
        between=_between(settings, store, events, before, chosen, records),
        flags=tuple(flag for flag in flags if flag.event.recovered_by is None),
        not_judged=tuple(store.not_judged()),
        ledgers=tuple(s.ledger for s in store.ledgers() if s.tree == chosen.tree and s.ledger.pixels),
    )


def _measured(
    store: Store, machine: str, name: str | None, among: Sequence[Commit], what: str
) -> tuple[Commit | None, list[Result]]:
    """The named commit, or the newest of `among` that has results on the machine; None without one.

    A baseline needs figures; of the exported commit failures are a result too.
    """
    known = store.commit(name) if name is not None else None
    for commit in [known] if known else reversed(among) if name is None else []:
        results = [r for r in store.results(commit=commit.hash) if r.key.machine == machine]
        if results if what == "commit" else any(r.value is not None for r in results):
            return commit, results
    if name is not None:
        hint = "`nbbench run --commits HASH` measures it"
        raise UsageError(f"no results of {what} {name!r} on {machine}", hint=hint)
    return None, []


def _between(
    settings: Settings,
    store: Store,
    events: Sequence[Event],
    before: Commit | None,
    commit: Commit,
    records: Sequence[ProcessRecord],
) -> Between:
    """What is on record between the baseline and the commit; an event that was undone by then is left out."""
    if before is None:
        return Between()
    place = {known.hash: i for i, known in enumerate(store.commits())}
    first, last = place.get(before.hash, -1), place.get(commit.hash, -1)
    inside = [
        event
        for event in events
        if first < place.get(event.lo_commit, -1)
        and place.get(event.hi_commit, last + 1) <= last
        and place.get(event.recovered_by or "", last + 1) > last
    ]
    inside.sort(key=lambda event: place[event.hi_commit])
    both = [*records, *store.process_records(commit=before.hash)]
    same = bool(commit.tree) and commit.tree == before.tree
    return Between(tuple(inside), same, disturbed_results(both), tuple(settings.directions.items()))
