"""One occasion of `nbbench run`: which commits it takes, what that costs, and what came of it here."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from nbbench.config import Settings
from nbbench.errors import UsageError
from nbbench.measure.process_env import installed_torch
from nbbench.model import Commit, ProcessRecord, Result, Status
from nbbench.record import Store
from nbbench.record.machines import machine_name
from nbbench.subject.repository import Subject, describe
from nbbench.subject.selection import select, spread


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is on record of the asked commits and benchmarks, on this machine and in this environment.

    `ran` are the results of this occasion; the others were there before. `tried` says whether it started a
    process at all: one that was killed leaves no result.
    """

    machine: str
    commits: tuple[Commit, ...]
    results: tuple[Result, ...]
    ran: tuple[Result, ...]
    records: tuple[ProcessRecord, ...]
    tried: bool = False

    @property
    def measured(self) -> int:
        """Figures that count: of what ran now, else (all was measured already) of what is there."""
        return sum(result.status is Status.OK for result in self.ran or (() if self.tried else self.results))


def chosen_commits(
    subject: Subject, span: str | None, named: str | None, limit: int | None, *, again: bool
) -> list[Commit]:
    """The commits to measure, in the order of measuring: a range or the branch, spread, or named ones.

    Raises UsageError for a range and names at once, and where there is no commit.
    """
    if named is not None:
        if span is not None:
            raise UsageError("give a RANGE or --commits, not both")
        found = [describe(subject, name.strip()) for name in named.split(",") if name.strip()]
        if not found:
            raise UsageError("--commits names no commit")
        placed = {c.hash: c for c in select(subject, None)}
        return list(dict.fromkeys(placed.get(c.hash, c) for c in found))[:limit]
    commits = select(subject, span)
    # the same N when it is repeated, in another order
    kept = {c.hash for c in spread(commits)[:limit]}
    commits, lots = [c for c in commits if c.hash in kept], Random()  # noqa: S311 -- no secret
    # spread, a machine that is slow at first would meet the same commits in both collections
    return lots.sample(commits, len(commits)) if again else spread(commits, lots)


def look_back(
    settings: Settings, store: Store, commits: Sequence[Commit], bench: Sequence[str], began: datetime
) -> Occasion:
    """What became of an occasion that `began` then."""
    machine = machine_name(settings)
    stored = [result for commit in commits for result in store.results(commit=commit.hash)]
    results = _of_this_place(settings, stored, bench)
    # Not by pattern: one that names parameters does not fit the name of a benchmark that was killed.
    others = {r.key.benchmark for r in stored} - {r.key.benchmark for r in results}
    found = [r for c in commits for r in store.process_records(commit=c.hash) if r.machine == machine]
    records = [record for record in found if record.benchmark not in others]
    ran = tuple(r for r in results if r.started_at is not None and r.started_at >= began)
    tried = any(record.started_at >= began for record in found)
    return Occasion(machine, tuple(commits), tuple(results), ran, tuple(records), tried)


def _of_this_place(settings: Settings, results: Sequence[Result], bench: Sequence[str]) -> list[Result]:
    """Results of this machine and environment, of benchmarks that asv would choose by these patterns."""
    machine = machine_name(settings)
    # The mark of a GPU stands behind torch's version, so a version alone must end the name, or a part of it.
    environment = f"py{sys.version_info[0]}.{sys.version_info[1]}-torch{installed_torch()}-"
    wanted = [re.compile(text) for text in bench]

    def is_asked(result: Result) -> bool:
        name = f"{result.key.benchmark}({', '.join(value for _, value in result.key.params)})"
        return not wanted or any(p.search(result.key.benchmark) or p.search(name) for p in wanted)

    return [
        r
        for r in results
        if r.key.machine == machine and environment in f"{r.key.environment}-" and is_asked(r)
    ]
