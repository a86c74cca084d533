"""A commit's compiled work: from the side files, or recorded now, each workload in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from nbbench.compiled import CompiledWork
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.host import PYTHON
from nbbench.measure.ledgers import ensure_kept, open_folder, tree_folder
from nbbench.measure.process_env import (
    compiled_environment,
    require_compiler,
    server_environment,
    torch_version,
    tree_environment,
)
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import invoke
from nbbench.model import Commit
from nbbench.record.branch import subject_or_none
from nbbench.record.ledger_files import kept_compiled
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
    known = kept_compiled(settings.results_dir, commit.tree, torch)
    missing = [name for name in workloads if name not in known]
    if missing and subject_or_none(settings) is not None:
        if not (settings.root / "benchmarks" / "compiled.py").is_file():
            raise UsageError(
                "this suite has no benchmarks/compiled.py", hint="docs/ledger.md has what it holds"
            )
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
                    target = "benchmarks.compiled:write"
                    invoke(settings, server, environment, target, _TIMEOUT_S, workload=name)
                except InconclusiveError as error:  # what compiled code did to its process is its error
                    failed = CompiledWork(name, PYTHON, error=str(error))
                    path = ledger_path(settings.results_dir, commit.tree, torch)
                    write_ledgers(
                        path, LedgerFile(commit.tree, commit.hash, torch, {}, compiled={name: failed})
                    )
        known = kept_compiled(settings.results_dir, commit.tree, torch)
    return {name: known[name] for name in workloads if name in known}
