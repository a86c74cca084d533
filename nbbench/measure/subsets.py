"""Exact work of trees that have only some hunks of a difference, two recorded at a time, each one once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from nbbench.config import Settings
from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, HostWork
from nbbench.ledger import Ledger, TreeHunk
from nbbench.measure.counts import bare_server
from nbbench.measure.ledgers import open_folder, tree_folder
from nbbench.measure.process_env import torch_version, tree_environment
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import warm_server
from nbbench.model import Commit
from nbbench.record.asv_values import BadFileError
from nbbench.record.side_files import ledger_path, read_ledgers
from nbbench.subject.hunks import TreeDifference
from nbbench.subject.repository import open_subject

_LIMIT_S = 60.0  # of one recording: hunks that were not written for each other may loop for ever
_KEPT = 32  # pairs of trees
_RECORDERS = {
    "ledger": ("nbbench.measure.recording:write", "workloads"),
    "start": ("nbbench.measure.recording:write", "workloads"),
    "host": ("benchmarks.host:write", "workloads"),
    "scale": ("nbbench.measure.recording:write_scaled", "scales"),
}


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
        """What a recording `how` tells of a workload, or a scale, on each tree; None where it fails.

        `ledger`, `host` work, `start` (what tensors do until the warm run) or `scale`.
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
        if how == "host":
            imported = file.host.get(IMPORT_WORKLOAD)
            return imported if imported and imported.error else file.host.get(name)
        if how == "start":
            return file.starts.get(name)
        return file.scaled.get(name) if how == "scale" else file.ledgers.get(name)

    def _record(self, key: str, chosen: Collection[TreeHunk], name: str, how: str) -> None:
        idle = self._idle[how == "host"]
        server = idle.pop() if idle else self._start(how)
        folder = server.scratch / key
        environment = tree_environment(self._settings, key, folder, results_dir=self._folder)
        target, argument = _RECORDERS[how]
        wanted = [name] if name != IMPORT_WORKLOAD else []  # which is always recorded
        call = ["call", target, json.dumps({argument: wanted})]
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
