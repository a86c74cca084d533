"""Exact work of trees that have only some hunks of a difference, two recorded at a time, each one once."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.host import IMPORT_WORKLOAD, PYTHON, HostWork
from nbbench.ledger import Ledger
from nbbench.measure.host import bare_server
from nbbench.measure.ledgers import open_folder, tree_folder
from nbbench.measure.process_env import torch_version, tree_environment
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import invoke, warm_server
from nbbench.model import Commit
from nbbench.record.ledger_files import kept_host, kept_ledgers
from nbbench.subject.hunks import TreeDifference, TreeHunk
from nbbench.subject.repository import open_subject

_LIMIT_S = 60.0  # of one recording: hunks that were not written for each other may loop for ever
_KEPT = 32  # pairs of trees


class SubsetRecorder:
    """Records workloads on the trees between base and head; a context that ends its servers.

    What was recorded lies below the state folder and is not recorded again, by a later search neither.
    `recorded` counts what this one recorded. `root` and `prefix` place the paths of ledgers in a tree.
    """

    def __init__(
        self, settings: Settings, base: Commit, head: Commit, *, root: str, prefix: str, jobs: int = 2
    ) -> None:
        """Compare the trees. Raises SubjectError where that fails."""
        self._settings, self._jobs = settings, jobs
        folders = tree_folder(settings, base), tree_folder(settings, head)
        git_dir = open_subject(settings).git_dir
        self.difference = TreeDifference(git_dir, (base.tree, head.tree), folders, root=root, prefix=prefix)
        self._folder = settings.state_dir / "hunks" / f"{base.tree[:16]}-{head.tree[:16]}"
        self._servers: Mapping[bool, list[WarmServer]] = {True: [], False: []}
        self._stack = ExitStack()
        self._gone: dict[tuple[str, str, bool], str] = {}  # why a process failed as a whole
        self.recorded = 0

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
        self, subsets: Sequence[Collection[TreeHunk]], workload: str, *, host: bool
    ) -> list[Ledger | HostWork]:
        """The workload's ledger, or its host work, on each tree; one with an error where it does not run."""
        keys = [self.difference.key(one) for one in subsets]
        missing = {
            key: one
            for key, one in zip(keys, subsets, strict=True)
            if self._known(key, workload, host=host) is None
        }
        self.recorded += len(missing)
        if len(missing) > 1 and self._jobs > 1:
            pool = ThreadPoolExecutor(self._jobs)
            try:
                list(pool.map(lambda key: self._record(key, missing[key], workload, host=host), missing))
            except BaseException:
                self._stack.close()  # what is under way ends with its server
                raise
            finally:
                pool.shutdown(cancel_futures=True)
        else:  # in this thread, which the end of a budget reaches
            for key, one in missing.items():
                self._record(key, one, workload, host=host)
        return [
            self._known(key, workload, host=host) or self._failed(key, workload, host=host) for key in keys
        ]

    def _known(self, key: str, workload: str, *, host: bool) -> Ledger | HostWork | None:
        if host:
            counted = kept_host(self._folder, key, torch_version(), PYTHON)
            failed = counted.get(IMPORT_WORKLOAD)
            return counted.get(workload) or (failed if failed and failed.error else None)
        return kept_ledgers(self._folder, key, torch_version()).get(workload)

    def _failed(self, key: str, workload: str, *, host: bool) -> Ledger | HostWork:
        why = self._gone.get((key, workload, host), "it was not recorded")
        if host:
            return HostWork(workload, PYTHON, error=why)
        return Ledger(workload, 0, 0, 0, 0, 0, 0, (), "", "", "", error=why)

    def _record(self, key: str, chosen: Collection[TreeHunk], workload: str, *, host: bool) -> None:
        idle = self._servers[host]
        server = idle.pop() if idle else self._start(host=host)
        folder = server.scratch / key
        environment = tree_environment(self._settings, key, folder, results_dir=self._folder)
        try:
            self.difference.write(chosen, folder)
            open_folder(self._settings, server, environment, bare=host)
            target = "benchmarks.host:write" if host else "nbbench.measure.recording:write"
            wanted = [] if workload == IMPORT_WORKLOAD else [workload]  # which is always recorded
            invoke(self._settings, server, environment, target, timeout_s=_LIMIT_S, workloads=wanted)
        except (InconclusiveError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            self._gone[key, workload, host] = str(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            idle.append(server)

    def _start(self, *, host: bool) -> WarmServer:
        return self._stack.enter_context(closing(bare_server()) if host else warm_server())
