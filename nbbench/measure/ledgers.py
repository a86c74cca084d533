"""A commit's exact work: from the side files, or recorded now in warm processes."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, NbbenchError, UsageError
from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, REPEATS
from nbbench.ledger import Ledger
from nbbench.measure.process_env import export_workloads, installed_torch, torch_version, tree_environment
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import Invocation, Servers, invoke_all, shared_servers
from nbbench.model import Commit
from nbbench.probe.device import imported_by_runs
from nbbench.record.atomic import ensure_writable
from nbbench.record.branch import subject_or_none
from nbbench.record.side_files import KeptWork, kept_torch, kept_work, ledger_path
from nbbench.subject.profile import import_path, load_profile
from nbbench.subject.repository import open_subject
from nbbench.subject.tree import UnfitTree, extract_commit
from nbbench.units import format_clock
from nbbench.words import Say
from nbbench.workloads import Scale, suite_workloads


class WorkKind(NamedTuple):
    """A kind of exact work: what progress calls it, the function that records it and what that calls its
    names."""

    told: str
    function: str
    names: str


LEDGERS = WorkKind("exact work", "write", "workloads")
HOST = WorkKind("host work", "write_host", "workloads")
SCALES = WorkKind("scaling", "write_scaled", "scales")


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
    settings: Settings, server: WarmServer, commit: Commit, *, slot: str = "", bare: bool = False
) -> dict[str, str]:
    """Have the server hold the suite of a commit's tree; returns the environment for its jobs.

    Another `slot` is another server of the same tree. A `bare` one has not imported the subject.
    """
    folder = tree_folder(settings, commit)
    environment = tree_environment(settings, commit.tree, folder, commit=commit.hash)
    open_folder(settings, server, environment, slot=slot, bare=bare)
    return environment


def tree_folder(settings: Settings, commit: Commit) -> Path:
    """Where a commit's tree is extracted. Raises InconclusiveError where the commit cannot be measured."""
    if not commit.tree:
        raise InconclusiveError(f"commit {commit.short} has no {settings.measured_path}")
    try:
        return extract_commit(open_subject(settings), commit.hash, commit.tree, settings.env_dir / "trees")
    except UnfitTree as error:
        raise InconclusiveError(str(error), hint=error.hint) from error


def open_folder(
    settings: Settings,
    server: WarmServer,
    environment: Mapping[str, str],
    *,
    slot: str = "",
    bare: bool = False,
) -> None:
    """Have the server hold the suite of the extracted tree that the environment names."""
    # The subject's first run imports torch._dynamo; a server of `Servers` has it already.
    preload = [] if bare else [*load_profile(settings).preload, "torch._dynamo", *imported_by_runs()]
    path, suite = import_path(settings, environment["NBBENCH_TREE"]), str(settings.root / "benchmarks")
    server.open_suite(path, suite, preload, environment, slot=slot)


def known_work(settings: Settings, commit: Commit, torch: str = "") -> KeptWork:
    """What is kept for a commit's tree under the installed torch, or the one that is named (none: empty).

    What failed because of the machine is not among it, so that it is recorded again.
    """
    return kept_work(settings.results_dir, commit.tree, torch or torch_version())


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


def lacking_work(
    settings: Settings, kind: WorkKind, commits: Iterable[Commit], names: Sequence[str]
) -> dict[Commit, list[str]]:
    """Which of these workloads (or scales) are not kept, of each commit that lacks any; of equal trees once.

    Host work comes with that of importing; a suite without workloads counts none. A scale is kept if it was
    recorded with the values that the suite declares now.
    """
    declared = suite_workloads(settings.root)
    values = {one.name: one.values for one in declared.scales}
    if kind is HOST:
        names = (IMPORT_WORKLOAD, *names) if declared.workloads else ()

    def is_kept(kept: KeptWork, name: str) -> bool:
        if kind is LEDGERS:
            return name in kept.whole
        if kind is HOST:
            return name in kept.host and bool(kept.host[name].python)
        return _is_current(kept.scaled.get(name), values[name])

    found = {}
    for commit in {commit.tree: commit for commit in commits}.values():
        kept = known_work(settings, commit)
        if missing := [name for name in names if not is_kept(kept, name)]:
            found[commit] = missing
    return found


def _is_current(scaled: ScaledWork | None, values: tuple[int, ...]) -> bool:
    return scaled is not None and (bool(scaled.error) or scaled.values == values)


def recording_call(
    settings: Settings,
    kind: WorkKind,
    opened: Callable[[WarmServer], dict[str, str]],
    names: Iterable[str],
    *,
    again: bool = False,
) -> Invocation:
    """What records these workloads (or scales) of the tree that `opened` has a server hold.

    Host work needs a bare server, so that all that the subject imports is seen; the suite's own host.py goes
    first.
    """
    asked: dict[str, Any] = {kind.names: [name for name in names if name != IMPORT_WORKLOAD]}
    asked |= {"again": True} if again else {}
    target = f"nbbench.measure.recording:{kind.function}"
    if kind is HOST and (settings.root / "benchmarks" / "host.py").is_file():
        target = "benchmarks.host:write"
    elif kind is HOST:
        asked["modules"] = list(load_profile(settings).preload)
    return Invocation(opened, target, asked, bare=kind is HOST)


def work_calls(
    settings: Settings,
    kind: WorkKind,
    wanted: Mapping[Commit, Sequence[str]],
    say: Say,
    *,
    again: bool = False,
) -> list[Invocation]:
    """What records these workloads (or scales) of each commit, and says so when it begins.

    `again` is for what is on record already: it tells what does not repeat (of host work by REPEATS
    processes). Raises HostError when nothing can be kept.
    """
    repeats = REPEATS if again and kind is HOST else 1
    progress = TreeProgress(say, kind.told, repeats * len(wanted))

    def opened(commit: Commit, server: WarmServer) -> dict[str, str]:
        progress.begin(commit)
        return open_tree(settings, server, commit, bare=kind is HOST)

    for commit in wanted:
        ensure_kept(settings, commit)
    calls = (
        recording_call(settings, kind, partial(opened, commit), names, again=again)
        for commit, names in wanted.items()
    )
    return list(calls) * repeats


def say_failures(commits: Iterable[Commit], reasons: Iterable[str], say: Say) -> None:
    """Say of each commit whose recording failed why."""
    for commit, why in zip(cycle(commits), reasons, strict=False):
        if why:
            say(f"{commit.short}: {why}")


def ensure_kept(settings: Settings, commit: Commit) -> None:
    """Raise HostError when a commit's ledgers could not be kept; the suite's declaration goes beside them."""
    ensure_writable(ledger_path(settings.results_dir, commit.tree, torch_version()).parent)
    export_workloads(settings)


def ensure_work(
    settings: Settings,
    kind: WorkKind,
    commits: Iterable[Commit],
    names: Sequence[str],
    *,
    say: Say,
    servers: Servers | None = None,
    jobs: int = 2,
) -> dict[Commit, str]:
    """Record what these commits lack, `jobs` trees at a time; those whose process failed, with the reason.

    Each failure is said, and the commit has what was kept for it. Without a subject nothing is recorded.
    Raises HostError when nothing can be kept or a server that was given is gone.
    """
    if subject_or_none(settings) is None or not (wanted := lacking_work(settings, kind, commits, names)):
        return {}
    calls, failed = work_calls(settings, kind, wanted, say), dict[Commit, str]()
    with shared_servers(servers, suites=jobs) as mine:
        for start in range(0, len(calls), mine.suites):
            batch = slice(start, start + mine.suites)
            trees = list(wanted)[batch]
            try:
                reasons = invoke_all(settings, mine, calls[batch])
            except NbbenchError as error:
                if servers is not None:
                    raise
                reasons = [str(error)] * len(trees)
                mine.close()  # the next trees get a new one
            say_failures(trees, reasons, say)
            failed |= {commit: why for commit, why in zip(trees, reasons, strict=True) if why}
    return failed


def commit_ledgers(
    settings: Settings, commits: Sequence[Commit], workloads: Sequence[str], *, say: Say, jobs: int = 1
) -> dict[str, Mapping[str, Ledger]]:
    """The ledgers of many commits by tree; what is missing is recorded, `jobs` trees at a time."""
    ensure_work(settings, LEDGERS, commits, workloads, say=say, jobs=jobs)
    torch = ledger_torch(settings, commits, say)
    found = {commit.tree: known_work(settings, commit, torch).ledgers for commit in commits}
    short = sum(not kept.keys() >= set(workloads) for kept in found.values())
    if short and subject_or_none(settings) is None:
        say(f"{short} of {len(found)} trees lack ledgers on record; a registered subject brings them")
    return found


def workload_ledgers(
    settings: Settings,
    commit: Commit,
    pattern: re.Pattern[str],
    *,
    say: Say,
    servers: Servers | None = None,
) -> dict[str, Ledger]:
    """Ledgers of the matching workloads for one commit, recording those that are missing.

    Raises InconclusiveError when the process fails (a subject that does not import, say), UsageError where no
    workload matches.
    """
    wanted = workload_names(settings, pattern)
    with shared_servers(servers) as mine:
        failed = ensure_work(settings, LEDGERS, [commit], wanted, say=say, servers=mine)
    for why in failed.values():
        raise InconclusiveError(f"the ledger of {commit.short} could not be recorded: {why}")
    found = known_work(settings, commit).ledgers
    return {name: found[name] for name in wanted if name in found}


def scaled_work(
    settings: Settings,
    commits: Sequence[Commit],
    scales: Sequence[Scale],
    *,
    torch: str = "",
    say: Say,
    servers: Servers | None = None,
) -> list[dict[str, ScaledWork]]:
    """What these scales count at each commit, by name; with a subject, what is missing is recorded."""
    ensure_work(settings, SCALES, commits, [one.name for one in scales], say=say, servers=servers)
    kept = [known_work(settings, commit, torch).scaled for commit in commits]
    wanted = {one.name: one.values for one in scales}
    return [
        {name: some[name] for name, values in wanted.items() if _is_current(some.get(name), values)}
        for some in kept
    ]


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
