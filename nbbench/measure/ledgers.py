"""A commit's ledgers: from the side files, or recorded now in a warm process."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, NbbenchError, UsageError
from nbbench.ledger import Ledger
from nbbench.measure import warm_client
from nbbench.measure.process_env import export_workloads, installed_torch, torch_version, tree_environment
from nbbench.measure.warm_runs import Invocation, Servers, invoke_all
from nbbench.model import Commit
from nbbench.probe.device import imported_by_runs
from nbbench.record.atomic import ensure_writable
from nbbench.record.branch import subject_or_none
from nbbench.record.side_files import kept_ledgers, kept_torch, lacking, ledger_path
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import open_subject
from nbbench.subject.tree import extract_tree
from nbbench.units import format_clock
from nbbench.words import Say
from nbbench.workloads import suite_workloads


class TreeProgress:
    """Says which tree is recorded now, of how many, and about how long the rest will take."""

    def __init__(self, say: Say, what: str, total: int) -> None:
        self._say, self._what, self._total = say, what, total
        self._number, self._began = 0, time.monotonic()

    def begin(self, commit: Commit) -> None:
        """Name the next commit."""
        done, self._number = self._number, self._number + 1
        rest = (time.monotonic() - self._began) / max(done, 1) * (self._total - done)
        left = f", {format_clock(rest)} left" if done else ""
        self._say(f"{self._what} [{self._number}/{self._total}{left}] {commit.short} {commit.date:%Y-%m-%d}")


def open_tree(
    settings: Settings, server: warm_client.WarmServer, commit: Commit, *, slot: str = "", bare: bool = False
) -> dict[str, str]:
    """Have the server hold the suite of a commit's tree; returns the environment for its jobs.

    Another `slot` is another server of the same tree. A `bare` one has not imported the subject.
    """
    folder = tree_folder(settings, commit)
    environment = tree_environment(settings, commit.tree, folder, commit=commit.hash)
    open_folder(settings, server, environment, slot=slot, bare=bare)
    return environment


def tree_folder(settings: Settings, commit: Commit) -> Path:
    """Where a commit's tree is extracted. Raises InconclusiveError where it has no measured path."""
    git_dir, path = open_subject(settings).git_dir, settings.measured_path
    if not commit.tree:
        raise InconclusiveError(f"commit {commit.short} has no {path}")
    return extract_tree(git_dir, commit.hash, commit.tree, path, settings.env_dir / "trees")


def open_folder(
    settings: Settings,
    server: warm_client.WarmServer,
    environment: Mapping[str, str],
    *,
    slot: str = "",
    bare: bool = False,
) -> None:
    """Have the server hold the suite of the extracted tree that the environment names."""
    # The subject's first run imports torch._dynamo; a server of `Servers` has it already.
    preload = [] if bare else [*load_profile(settings).preload, "torch._dynamo", *imported_by_runs()]
    path, suite = [environment["NBBENCH_TREE"]], str(settings.root / "benchmarks")
    server.open_suite(path, suite, preload, environment, slot=slot)


def known_ledgers(settings: Settings, commit: Commit, torch: str = "") -> Mapping[str, Ledger]:
    """The ledgers kept for a commit's tree under the installed torch, or the one that is named (none: empty).

    What failed because of the machine is not among them, so that it is recorded again.
    """
    return kept_ledgers(settings.results_dir, commit.tree, torch or torch_version())


def ledger_torch(settings: Settings, commits: Iterable[Commit], say: Say) -> str:
    """The torch under which these commits are compared; said where it is not the installed one.

    Without a registered subject nothing can be recorded, and the kept ledgers must do, whichever torch
    they are of.
    """
    installed = installed_torch()
    if subject_or_none(settings) is not None:
        return installed
    torch = kept_torch(settings.results_dir, (commit.tree for commit in commits), installed)
    if torch and torch != installed:
        say(f"ledgers recorded under torch {torch}; {installed or 'none'} is installed")
    return torch or installed


def record_ledgers(
    settings: Settings,
    servers: Servers,
    commit: Commit,
    workloads: list[str],
    *,
    again: bool = False,
) -> Mapping[str, Ledger]:
    """Record the named workloads on a commit's tree and return all that are kept for it.

    `again` is for what is on record already: it tells what does not repeat. Raises InconclusiveError when
    the process fails (a subject that does not import, say), HostError when nothing can be kept.
    """
    calls = ledger_calls(settings, {commit: workloads}, again=again)
    [why] = invoke_all(settings, servers, calls)
    if why:
        raise InconclusiveError(f"the ledger of {commit.short} could not be recorded: {why}")
    return known_ledgers(settings, commit)


def ledger_calls(
    settings: Settings, wanted: Mapping[Commit, Sequence[str]], *, again: bool = False
) -> list[Invocation]:
    """What records the named workloads on the trees of these commits; `again` is as for `record_ledgers`.

    Raises HostError when nothing can be kept.
    """

    def opened(commit: Commit) -> Callable[[warm_client.WarmServer], dict[str, str]]:
        return lambda server: open_tree(settings, server, commit)

    for commit in wanted:
        ensure_kept(settings, commit)
    target = "nbbench.measure.recording:write"
    return [
        Invocation(opened(commit), target, {"workloads": list(names), "again": again})
        for commit, names in wanted.items()
    ]


def say_failures(commits: Iterable[Commit], reasons: Iterable[str], say: Say) -> None:
    """Say of each commit whose recording failed why."""
    for commit, why in zip(cycle(commits), reasons, strict=False):
        if why:
            say(f"{commit.short}: {why}")


def ensure_kept(settings: Settings, commit: Commit) -> None:
    """Raise HostError when a commit's ledgers could not be kept; the suite's declaration goes beside them."""
    ensure_writable(ledger_path(settings.results_dir, commit.tree, torch_version()).parent)
    export_workloads(settings)


def commit_ledgers(
    settings: Settings, commits: Sequence[Commit], workloads: list[str], *, say: Say, jobs: int = 1
) -> dict[str, Mapping[str, Ledger]]:
    """The ledgers of many commits by tree; what is missing is recorded, `jobs` trees at a time.

    A commit whose process fails is said and has what was kept for it. Without a subject nothing is recorded.
    """
    torch = ledger_torch(settings, commits, say)
    found = {c.tree: known_ledgers(settings, c, torch) for c in commits}
    if torch != installed_torch():
        return found
    if subject_or_none(settings) is None:
        if short := [tree for tree, kept in found.items() if not kept.keys() >= set(workloads)]:
            say(
                f"{len(short)} of {len(found)} trees lack ledgers on record; a registered subject brings them"
            )
        return found
    lacks = {c.tree: lacking(settings.results_dir, c.tree, torch, workloads) for c in commits}
    missing = {c.tree: c for c in commits if lacks[c.tree]}
    for commit in missing.values():
        ensure_kept(settings, commit)
    progress = TreeProgress(say, "exact work", len(missing))
    todo = list(missing.values())
    with Servers(suites=jobs) as servers:
        for batch in (todo[start : start + jobs] for start in range(0, len(todo), jobs)):
            for commit in batch:
                progress.begin(commit)
            calls = ledger_calls(settings, {commit: lacks[commit.tree] for commit in batch})
            try:
                say_failures(batch, invoke_all(settings, servers, calls), say)
            except NbbenchError as error:
                say(f"{', '.join(commit.short for commit in batch)}: {error}")
                servers.close()  # the next trees get a new one
    return found | {tree: known_ledgers(settings, commit, torch) for tree, commit in missing.items()}


def workload_names(settings: Settings, pattern: re.Pattern[str]) -> list[str]:
    """Names of the suite's workloads that match.

    Raises UsageError when none does, or when the suite declares none.
    """
    if chosen := matching_workloads(settings, pattern):
        return chosen
    raise UsageError("this suite declares no workloads", hint="declare them in benchmarks/workloads.py")


def matching_workloads(settings: Settings, pattern: re.Pattern[str]) -> list[str]:
    """Names of the suite's workloads that match; none where it declares none.

    Raises UsageError when none of those declared does.
    """
    names = suite_workloads(settings.root).by_name
    chosen = [name for name in names if pattern.search(name)]
    if names and not chosen:
        raise UsageError(f"no workload matches {pattern.pattern!r}", hint=f"workloads: {', '.join(names)}")
    return chosen


def workload_ledgers(
    settings: Settings,
    commit: Commit,
    pattern: re.Pattern[str],
    *,
    say: Say,
    server: warm_client.WarmServer | None = None,
) -> Mapping[str, Ledger]:
    """Ledgers of the matching workloads for one commit, recording those that are missing."""
    wanted = workload_names(settings, pattern)
    found = known_ledgers(settings, commit)
    missing = lacking(settings.results_dir, commit.tree, torch_version(), wanted)
    if missing:
        ensure_kept(settings, commit)
        say(f"recording {len(missing)} ledgers of {commit.short}")
        with Servers(server) as servers:
            found = record_ledgers(settings, servers, commit, missing)
    return {name: found[name] for name in wanted if name in found}
