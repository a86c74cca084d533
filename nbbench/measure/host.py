"""A commit's host work: from the side files, or recorded now in a process that has not imported it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.host import IMPORT_WORKLOAD, REPEATS, HostWork
from nbbench.measure.ledgers import TreeProgress, ensure_kept, open_tree
from nbbench.measure.process_env import server_environment, torch_version
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import invoke
from nbbench.model import Commit
from nbbench.record.ledger_files import kept_host


def known_host(settings: Settings, commit: Commit, torch: str = "") -> Mapping[str, HostWork]:
    """The host work kept for a commit's tree under this Python and the installed torch, or the named one."""
    return kept_host(settings.results_dir, commit.tree, torch or torch_version())


def counts_host(settings: Settings) -> bool:
    """Whether the suite records host work: its module host.py does."""
    return (settings.root / "benchmarks" / "host.py").is_file()


def workload_host(
    settings: Settings, commits: Sequence[Commit], workloads: Sequence[str], say: Callable[[str], None]
) -> list[Mapping[str, HostWork]]:
    """The host work of these workloads, and of importing, at each commit; what is missing is recorded.

    The server for it holds nothing but torch, so that all that the subject imports is seen. A commit whose
    process fails is said and has what was kept for it.
    """
    asked = IMPORT_WORKLOAD, *workloads
    known = ((commit, known_host(settings, commit)) for commit in commits)
    missing = {c: [name for name in asked if name not in kept or not kept[name].python] for c, kept in known}
    record_host_work(settings, {commit: names for commit, names in missing.items() if names}, say)
    return [known_host(settings, commit) for commit in commits]


def record_host_work(
    settings: Settings,
    wanted: Mapping[Commit, Sequence[str]],
    say: Callable[[str], None],
    *,
    again: bool = False,
) -> None:
    """Record the host work of these workloads of each commit, and of importing.

    `again` is for what is on record already: it tells what does not repeat.
    """
    if not wanted:
        return
    with closing(bare_server()) as server:
        progress = TreeProgress(say, "host work", len(wanted))
        for commit, names in wanted.items():
            progress.begin(commit)
            try:
                ensure_kept(settings, commit)
                environment = open_tree(settings, server, commit, bare=True)
                asked = {"workloads": [name for name in names if name != IMPORT_WORKLOAD], "again": again}
                for _ in range(REPEATS if again else 1):
                    invoke(settings, server, environment, "benchmarks.host:write", **asked)
            except InconclusiveError as error:
                say(f"{commit.short}: {error}")


def bare_server() -> WarmServer:
    """A server for counting host work: it holds nothing but torch, and hashes alike each time."""
    return WarmServer(environment={**server_environment(), "PYTHONHASHSEED": "0"})
