"""A commit's compiled work, from the side files or recorded now in a warm process; and the dataflow of a
workload, which is recorded each time.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from nbbench.compiled import CompiledWork
from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.host import PYTHON
from nbbench.ledger import Dataflow
from nbbench.measure.ledgers import ensure_kept, known_work, open_folder, open_tree, tree_folder
from nbbench.measure.process_env import (
    compiled_environment,
    require_compiler,
    server_environment,
    torch_version,
    tree_environment,
)
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import call, invoke
from nbbench.model import Commit
from nbbench.record.branch import subject_or_none
from nbbench.record.packed import noun_of
from nbbench.record.side_files import LedgerFile, ledger_path, write_ledgers
from nbbench.words import Say

_SHARED = ("torch._dynamo", "torch._inductor.compile_fx")
_TIMEOUT_S = 1200.0


def workload_compiled(
    settings: Settings, commit: Commit, workloads: Sequence[str], say: Say
) -> dict[str, CompiledWork]:
    """The compiled work of these workloads at a commit; with a subject, what is missing is recorded.

    A workload that was ended because of the machine is left out. Raises HostError without a C++ compiler.
    """
    torch = torch_version()
    known = known_work(settings, commit).compiled
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
                    target = "nbbench.measure.recording:write_compiled"
                    invoke(settings, server, environment, target, _TIMEOUT_S, workload=name)
                except InconclusiveError as error:  # what compiled code did to its process is its error
                    failed = CompiledWork(name, PYTHON, error=str(error))
                    path = ledger_path(settings.results_dir, commit.tree, torch)
                    write_ledgers(
                        path, LedgerFile(commit.tree, commit.hash, torch, {}, compiled={name: failed})
                    )
        known = known_work(settings, commit).compiled
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
    target = "nbbench.measure.recording:trace"
    answer = call(settings, server, environment, target, workload=workload, **asked)
    try:
        found = noun_of(Dataflow, answer)
    except ValueError as error:
        raise InconclusiveError(f"{workload} on {commit.short}: damaged recording ({error})") from error
    if found.error:
        raise InconclusiveError(f"{workload} on {commit.short}: {found.error}")
    return found
