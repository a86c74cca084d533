"""A commit's host work, scales and compiled work: from the side files, or recorded now in warm processes; and
the dataflow of a workload, which is recorded each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from nbbench.compiled import CompiledWork
from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, PYTHON, REPEATS, HostWork
from nbbench.ledger import Dataflow
from nbbench.measure.ledgers import (
    TreeProgress,
    ensure_kept,
    open_folder,
    open_tree,
    say_failures,
    tree_folder,
)
from nbbench.measure.process_env import (
    compiled_environment,
    require_compiler,
    server_environment,
    torch_version,
    tree_environment,
)
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import Invocation, Servers, call, invoke, invoke_all, shared_servers
from nbbench.model import Commit
from nbbench.record.branch import subject_or_none
from nbbench.record.packed import noun_of
from nbbench.record.side_files import (
    LedgerFile,
    kept_compiled,
    kept_host,
    kept_scales,
    ledger_path,
    write_ledgers,
)
from nbbench.subject.profile import load_profile
from nbbench.words import Say
from nbbench.workloads import Scale, suite_workloads

_RECORDING = "nbbench.measure.recording"


def known_host(settings: Settings, commit: Commit, torch: str = "") -> Mapping[str, HostWork]:
    """The host work kept for a commit's tree under this Python and the installed torch, or the named one."""
    return kept_host(settings.results_dir, commit.tree, torch or torch_version())


def counts_host(settings: Settings) -> bool:
    """Whether the suite has workloads whose host work can be recorded."""
    return bool(suite_workloads(settings.root).workloads)


def host_target(settings: Settings, asked: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What records host work, and its arguments: the suite's own host.py goes first."""
    if (settings.root / "benchmarks" / "host.py").is_file():
        return "benchmarks.host:write", dict(asked)
    return f"{_RECORDING}:write_host", {**asked, "modules": list(load_profile(settings).preload)}


def workload_host(
    settings: Settings, commits: Sequence[Commit], workloads: Sequence[str], say: Callable[[str], None]
) -> list[Mapping[str, HostWork]]:
    """The host work of these workloads, and of importing, at each commit; what is missing is recorded.

    The server for it holds nothing but torch, so that all that the subject imports is seen. A commit whose
    process fails is said and has what was kept for it.
    """
    if wanted := lacking_host(settings, commits, workloads):
        with Servers() as servers:
            reasons = invoke_all(settings, servers, host_calls(settings, wanted, say))
        say_failures(wanted, reasons, say)
    return [known_host(settings, commit) for commit in commits]


def lacking_host(
    settings: Settings, commits: Sequence[Commit], workloads: Sequence[str]
) -> dict[Commit, list[str]]:
    """The workloads, and importing, whose host work is not kept, of each commit that lacks any."""
    asked = IMPORT_WORKLOAD, *workloads
    known = ((commit, known_host(settings, commit)) for commit in commits)
    missing = {c: [name for name in asked if name not in kept or not kept[name].python] for c, kept in known}
    return {commit: names for commit, names in missing.items() if names}


def host_calls(
    settings: Settings,
    wanted: Mapping[Commit, Sequence[str]],
    say: Callable[[str], None],
    *,
    again: bool = False,
) -> list[Invocation]:
    """What records the host work of these workloads of each commit, and of importing.

    `again` is for what is on record already: it tells what does not repeat.
    """
    repeats = REPEATS if again else 1
    progress = TreeProgress(say, "host work", repeats * len(wanted))

    def invocation(commit: Commit, names: Sequence[str]) -> Invocation:
        def opened(server: WarmServer) -> dict[str, str]:
            progress.begin(commit)
            return open_tree(settings, server, commit, bare=True)

        asked = {"workloads": [name for name in names if name != IMPORT_WORKLOAD], "again": again}
        return Invocation(opened, *host_target(settings, asked), bare=True)

    for commit in wanted:
        ensure_kept(settings, commit)
    return [invocation(*one) for one in wanted.items()] * repeats


def scaled_work(
    settings: Settings,
    commits: Sequence[Commit],
    scales: Sequence[Scale],
    *,
    torch: str = "",
    say: Say,
    servers: Servers | None = None,
) -> list[dict[str, ScaledWork]]:
    """What these scales count at each commit, by name; what is missing is recorded where there is a subject.

    Kept ones count if they were recorded with the values that the suite declares now. A commit whose process
    fails is said and has what was kept for it.
    """

    def known(commit: Commit) -> dict[str, ScaledWork]:
        kept = kept_scales(settings.results_dir, commit.tree, torch or torch_version())
        found = ((one.name, one.values, kept.get(one.name)) for one in scales)
        return {name: one for name, values, one in found if one and (one.error or one.values == values)}

    missing = [commit for commit in commits if len(known(commit)) < len(scales)]
    if missing and subject_or_none(settings) is not None:
        with shared_servers(servers) as mine:
            progress = TreeProgress(say, "scaling", len(missing))

            def invocation(commit: Commit) -> Invocation:
                def opened(server: WarmServer) -> dict[str, str]:
                    progress.begin(commit)
                    return open_tree(settings, server, commit)

                names = [one.name for one in scales if one.name not in known(commit)]
                return Invocation(opened, "nbbench.measure.recording:write_scaled", {"scales": names})

            for commit in missing:
                ensure_kept(settings, commit)
            reasons = invoke_all(settings, mine, [invocation(commit) for commit in missing])
        say_failures(missing, reasons, say)
    return [known(commit) for commit in commits]


_SHARED = ("torch._dynamo", "torch._inductor.compile_fx")
_TIMEOUT_S = 1200.0


def workload_compiled(
    settings: Settings, commit: Commit, workloads: Sequence[str], say: Say
) -> dict[str, CompiledWork]:
    """The compiled work of these workloads at a commit; with a subject, what is missing is recorded.

    A workload that was ended because of the machine is left out. Raises HostError without a C++ compiler.
    """
    torch = torch_version()
    known = kept_compiled(settings.results_dir, commit.tree, torch)
    missing = [name for name in workloads if name not in known]
    if missing and subject_or_none(settings) is not None:
        require_compiler()
        ensure_kept(settings, commit)
        with closing(WarmServer(compiled_environment(server_environment()), preload=_SHARED)) as server:
            folder = tree_folder(settings, commit)
            environment = tree_environment(settings, commit.tree, folder, commit=commit.hash)
            environment = compiled_environment(environment, server.scratch)
            open_folder(settings, server, environment, bare=True)
            for number, name in enumerate(missing, start=1):
                say(f"compiling [{number}/{len(missing)}] {name} of {commit.short}: half a minute or more")
                try:
                    target = f"{_RECORDING}:write_compiled"
                    invoke(settings, server, environment, target, _TIMEOUT_S, workload=name)
                except InconclusiveError as error:  # what compiled code did to its process is its error
                    failed = CompiledWork(name, PYTHON, error=str(error))
                    path = ledger_path(settings.results_dir, commit.tree, torch)
                    write_ledgers(
                        path, LedgerFile(commit.tree, commit.hash, torch, {}, compiled={name: failed})
                    )
        known = kept_compiled(settings.results_dir, commit.tree, torch)
    return {name: known[name] for name in workloads if name in known}


def trace_workload(
    settings: Settings,
    server: WarmServer,
    commit: Commit,
    workload: str,
    *,
    keep: Sequence[int] = (),
    folder: Path | None = None,
) -> Dataflow:
    """Record a workload's dataflow; what the steps in `keep` gave goes to `folder` as float64, a file a step.

    Raises InconclusiveError when the workload or its process fails.
    """
    environment = open_tree(settings, server, commit)
    asked = {"keep": list(keep), "folder": str(folder or "")}
    target = f"{_RECORDING}:trace"
    answer = call(settings, server, environment, target, workload=workload, **asked)
    try:
        found = noun_of(Dataflow, answer)
    except ValueError as error:
        raise InconclusiveError(f"{workload} on {commit.short}: damaged recording ({error})") from error
    if found.error:
        raise InconclusiveError(f"{workload} on {commit.short}: {found.error}")
    return found
