"""A commit's host work, scales and compiled work: from the side files, or recorded now in warm processes; and
the dataflow of a workload, which is recorded each time. Trees that have only some hunks of a difference are
recorded two at a time, each one once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

from nbbench.compiled import CompiledWork
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, PYTHON, REPEATS, HostWork
from nbbench.ledger import Dataflow, Ledger, TreeHunk
from nbbench.measure.ledgers import (
    TreeProgress,
    call,
    ensure_kept,
    invoke,
    open_folder,
    open_tree,
    tree_folder,
    warm_server,
)
from nbbench.measure.process_env import (
    compiled_environment,
    require_compiler,
    server_environment,
    torch_version,
    tree_environment,
)
from nbbench.measure.warm_client import WarmServer
from nbbench.model import Commit
from nbbench.record.asv_values import BadFileError
from nbbench.record.branch import subject_or_none
from nbbench.record.packed import noun_of
from nbbench.record.side_files import (
    LedgerFile,
    kept_compiled,
    kept_host,
    kept_scales,
    ledger_path,
    read_ledgers,
    write_ledgers,
)
from nbbench.subject.hunks import TreeDifference
from nbbench.subject.repository import open_subject
from nbbench.words import Say
from nbbench.workloads import Scale

_RECORDING = "nbbench.measure.recording"


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


def scaled_work(
    settings: Settings,
    commits: Sequence[Commit],
    scales: Sequence[Scale],
    *,
    torch: str = "",
    say: Say,
    server: WarmServer | None = None,
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
        with warm_server(server) as warm:
            for number, commit in enumerate(missing, start=1):
                say(f"scaling [{number}/{len(missing)}] {commit.short} {commit.date:%Y-%m-%d}")
                names = [one.name for one in scales if one.name not in known(commit)]
                try:
                    ensure_kept(settings, commit)
                    target = f"{_RECORDING}:write_scaled"
                    invoke(settings, warm, open_tree(settings, warm, commit), target, scales=names)
                except InconclusiveError as error:
                    say(f"{commit.short}: {error}")
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


_LIMIT_S = 60.0  # of one recording: hunks that were not written for each other may loop for ever
_KEPT = 32  # pairs of trees


class SubsetRecorder:
    """Records the trees between base and head; a context that ends its servers.

    What was recorded lies below the state folder and is not recorded again, by a later search neither.
    `recorded` counts what this one recorded. `root` and `prefix` place the paths of ledgers in a tree.
    """

    def __init__(
        self, settings: Settings, base: Commit, head: Commit, *, root: str, prefix: str, jobs: int
    ) -> None:
        """Compare the trees. Raises SubjectError where that fails."""
        self._settings, self._jobs, self.recorded = settings, jobs, 0
        folders = tree_folder(settings, base), tree_folder(settings, head)
        git_dir = open_subject(settings).git_dir
        self.difference = TreeDifference(git_dir, (base.tree, head.tree), folders, root=root, prefix=prefix)
        self._folder = settings.state_dir / "hunks" / f"{base.tree[:16]}-{head.tree[:16]}"
        self._idle: dict[bool, list[WarmServer]] = {True: [], False: []}  # those for host work are bare
        self._failed: set[tuple[str, str, str]] = set()
        self._stack = ExitStack()

    def __enter__(self) -> SubsetRecorder:
        """Make room for what is recorded: the pairs used longest ago go."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.touch()
        pairs = sorted(self._folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in pairs[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def record(
        self, subsets: Sequence[Collection[TreeHunk]], name: str, how: str
    ) -> list[Ledger | HostWork | ScaledWork | None]:
        """What a recording tells of a workload, or a scale, on each tree; None where it fails.

        `how` is the part of a `LedgerFile` that has it: workloads, starts, host or scaled.
        """
        keys = [self.difference.key(one) for one in subsets]
        missing = {
            key: one
            for key, one in zip(keys, subsets, strict=True)
            if (key, name, how) not in self._failed and self._known(key, name, how) is None
        }
        self.recorded += len(missing)
        if len(missing) > 1 and self._jobs > 1:
            pool = ThreadPoolExecutor(self._jobs)
            try:
                list(pool.map(lambda key: self._record(key, missing[key], name, how), missing))
            except BaseException:
                self._stack.close()  # what is under way ends with its server
                raise
            finally:
                pool.shutdown(cancel_futures=True)
        else:  # in this thread, which the end of a budget reaches
            for key, one in missing.items():
                self._record(key, one, name, how)
        found = [self._known(key, name, how) for key in keys]
        return [None if one is None or one.error else one for one in found]

    def _known(self, key: str, name: str, how: str) -> Ledger | HostWork | ScaledWork | None:
        try:
            file = read_ledgers(ledger_path(self._folder, key, torch_version()))
        except BadFileError:
            return None
        imported = file.host.get(IMPORT_WORKLOAD) if how == "host" else None
        return imported if imported and imported.error else getattr(file, how).get(name)

    def _record(self, key: str, chosen: Collection[TreeHunk], name: str, how: str) -> None:
        idle = self._idle[how == "host"]
        server = idle.pop() if idle else self._start(how)
        folder = server.scratch / key
        environment = tree_environment(self._settings, key, folder, results_dir=self._folder)
        target = {"host": "benchmarks.host:write", "scaled": f"{_RECORDING}:write_scaled"}
        wanted = [name] if name != IMPORT_WORKLOAD else []  # which is always recorded
        asked = {"scales" if how == "scaled" else "workloads": wanted}
        call = ["call", target.get(how, f"{_RECORDING}:write"), json.dumps(asked)]
        place = str(self._settings.state_dir)
        try:
            self.difference.write(chosen, folder)
            open_folder(self._settings, server, environment, bare=how == "host")
            done = server.run(call, cwd=place, environment=environment, timeout_s=_LIMIT_S)
            failed = done.exit_code != 0
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            failed = True  # its files do not go together
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            idle.append(server)
        if failed:
            self._failed.add((key, name, how))

    def _start(self, how: str) -> WarmServer:
        return self._stack.enter_context(closing(bare_server()) if how == "host" else warm_server())
