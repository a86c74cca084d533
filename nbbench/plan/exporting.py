"""What an export states: one machine's results of a commit, and what is on record since its baseline."""

import os
import sys
from collections.abc import Sequence
from datetime import timedelta

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.history.history import current_flags, up_to_date
from nbbench.measure.machine import torch_env_text, torch_versions
from nbbench.metrics import change_metric
from nbbench.model import Commit, Result
from nbbench.plan.exported import Export
from nbbench.record.projects import choose_machine
from nbbench.record.redact import redacted_environment
from nbbench.record.store import Store
from nbbench.words import shell_word


def gather(
    settings: Settings, store: Store, *, cluster: str, commit: str | None, machine: str | None
) -> Export:
    """The export of `commit` (default: the newest measured) beside the one that was measured before it.

    Raises UsageError for commits without results and where several machines could be meant,
    InconclusiveError where nothing was measured.
    """
    events = up_to_date(settings, store)
    name = choose_machine(settings, store, machine)
    branch = store.commits()
    known = branch if commit is None else list(filter(None, [store.commit(commit)]))
    chosen, results = _newest(store, name, known)
    if chosen is None and commit is not None:
        hint = "`nbbench run --commits HASH` measures it"
        raise UsageError(f"no results of commit {commit!r} on {name}", hint=hint)
    if chosen is None:
        raise InconclusiveError("there are no results to export", hint="run `nbbench run` first")
    order = {known.hash: i for i, known in enumerate(branch)}
    place = order.get(chosen.hash, 0)
    before, old = _newest(store, name, branch[:place], figures=True)
    records = [r for r in store.process_records(commit=chosen.hash) if r.machine == name]
    # Of other machines and of later commits this one says nothing.
    flags = [
        flag
        for flag in current_flags(store, events, settings.plan)
        if flag.event.recovered_by is None
        and order.get(flag.event.hi_commit, -1) <= place
        and any(c.key.machine == name or change_metric(c).exact for c in flag.event.changes)
    ]
    named = {result.key.label for result in results}
    return Export(
        cluster=cluster,
        plan=settings.plan,
        command=f"nbbench export {chosen.hash} --cluster {shell_word(cluster)} --machine {shell_word(name)}",
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
        flags=tuple(flags),
        not_judged=tuple(one for one in store.not_judged() if one.series in named),
        ledgers=tuple(s.ledger for s in store.ledgers() if s.tree == chosen.tree and s.ledger.pixels),
    )


def _newest(
    store: Store, machine: str, among: Sequence[Commit], *, figures: bool = False
) -> tuple[Commit | None, list[Result]]:
    """The newest of these commits that has results (`figures`: with a value) on the machine; None without."""
    for commit in reversed(among):
        found = [r for r in store.results(commit=commit.hash) if r.key.machine == machine]
        if any(r.value is not None for r in found) if figures else found:
            return commit, found
    return None, []
