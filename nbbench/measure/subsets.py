"""Exact work of trees that have only some hunks of a difference, two recorded at a time, each one once."""

import shutil
from collections.abc import Collection, Sequence

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, HostWork
from nbbench.ledger import Ledger, TreeHunk
from nbbench.measure.ledgers import HOST, LEDGERS, SCALES, open_folder, recording_call, tree_folder
from nbbench.measure.process_env import torch_version, tree_environment
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import Invocation, Servers, invoke_all
from nbbench.model import Commit
from nbbench.record.asv_values import BadFileError
from nbbench.record.side_files import ledger_path, read_ledgers
from nbbench.subject.hunks import TreeDifference
from nbbench.subject.repository import open_subject

_LIMIT_S = 60.0  # of one recording: hunks that were not written for each other may loop for ever
_KEPT = 32  # pairs of trees


class SubsetRecorder:
    """Records the trees between base and head, by the servers given.

    What was recorded lies below the state folder and is not recorded again, by a later search neither.
    `recorded` counts what this one recorded. `root` and `prefix` place the paths of ledgers in a tree.
    """

    def __init__(
        self, settings: Settings, base: Commit, head: Commit, servers: Servers, *, root: str, prefix: str
    ) -> None:
        """Compare the trees. Raises SubjectError where that fails."""
        self._settings, self._servers, self.recorded = settings, servers, 0
        folders = tree_folder(settings, base), tree_folder(settings, head)
        git_dir = open_subject(settings).git_dir
        self.difference = TreeDifference(git_dir, (base.tree, head.tree), folders, root=root, prefix=prefix)
        self._folder = settings.state_dir / "hunks" / f"{base.tree[:16]}-{head.tree[:16]}"
        self._failed: set[tuple[str, str, str]] = set()
        # Make room: the pairs used longest ago go.
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.touch()
        pairs = sorted(self._folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in pairs[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

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
        if missing:
            calls = [self._invocation(key, one, name, how) for key, one in missing.items()]
            reasons = invoke_all(self._settings, self._servers, calls, _LIMIT_S)
            server = self._servers.bare if how == "host" else self._servers.full
            for key in missing:
                shutil.rmtree(server.scratch / key, ignore_errors=True)
            self._failed |= {(key, name, how) for key, why in zip(missing, reasons, strict=True) if why}
        found = [self._known(key, name, how) for key in keys]
        return [None if one is None or one.error else one for one in found]

    def _known(self, key: str, name: str, how: str) -> Ledger | HostWork | ScaledWork | None:
        try:
            file = read_ledgers(ledger_path(self._folder, key, torch_version()))
        except BadFileError:
            return None
        imported = file.host.get(IMPORT_WORKLOAD) if how == "host" else None
        return imported if imported and imported.error else getattr(file, how).get(name)

    def _invocation(self, key: str, chosen: Collection[TreeHunk], name: str, how: str) -> Invocation:
        def opened(server: WarmServer) -> dict[str, str]:
            folder = server.scratch / key
            environment = tree_environment(self._settings, key, folder, results_dir=self._folder)
            try:
                self.difference.write(chosen, folder)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise InconclusiveError("its files do not go together") from error
            open_folder(self._settings, server, environment, bare=how == "host")
            return environment

        kind = {"host": HOST, "scaled": SCALES}.get(how, LEDGERS)
        return recording_call(self._settings, kind, opened, [name])
