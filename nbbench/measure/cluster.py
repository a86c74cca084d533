"""Trees measured by several machines: Dask hands them out, and their files join the results.

Dask knows the workers and carries what they are given. What is here cuts shares, gives each to one idle node,
a lost node's share to another, and takes over what comes back, each share once.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from nbbench.config import Settings
from nbbench.errors import HostError, UsageError
from nbbench.measure.cluster_client import RESOURCE, open_cluster
from nbbench.measure.cluster_nodes import Nodes
from nbbench.measure.cluster_task import Brought, WorkOrder, carry_out, share_files
from nbbench.measure.ledgers import LEDGERS, lacking_work
from nbbench.measure.process_env import export_workloads
from nbbench.model import Commit
from nbbench.record.asv_results import BENCHMARKS_JSON, MACHINE_JSON
from nbbench.record.asv_values import BadFileError
from nbbench.record.atomic import ensure_writable, write_bytes
from nbbench.record.side_files import parse_ledgers, write_ledgers
from nbbench.subject.carried import pack_trees
from nbbench.subject.repository import open_subject
from nbbench.units import format_clock
from nbbench.words import Say, clean, plural

_MOST_COMMITS = 8  # in a share: what a lost worker loses
_TRIES = 4  # of a share: its node may go away, or fail at it
_LOOK_S = 1.0
_BRING_S = 30.0  # that a share's files may take from its node
_NOT_SENT = frozenset({"NBBENCH_DB", "NBBENCH_MACHINE", "NBBENCH_PROJECT", "NBBENCH_MEASURING"})


def spread_times(
    settings: Settings, where: str, commits: Sequence[Commit], work: WorkOrder, say: Say, detail: Say
) -> Sequence[str]:
    """Measure commits in the given order on the nodes of a class, or of each; the classes, which are the
    machines' names.

    Raises as `_Spread.run` does.
    """
    with _spread(settings, where, work, say, detail) as spread:
        machines = spread.nodes.choose(work.machine)
        shares: list[_Share] = []
        for machine in machines:
            size = len(commits) if work.together else spread.size(len(commits), machine)
            shares += _cut(commits, size, machine)
        spread.run(shares)
    return machines


def spread_ledgers(
    settings: Settings, where: str, commits: Sequence[Commit], workloads: Sequence[str], say: Say, detail: Say
) -> None:
    """Record the ledgers that these commits lack, and their host work, on any nodes.

    Raises as `_Spread.run` does.
    """
    missing = list(lacking_work(settings, LEDGERS, commits, workloads))
    if missing:
        work = WorkOrder(cluster_environment(settings), tuple(workloads))
        with _spread(settings, where, work, say, detail) as spread:
            spread.run(_cut(missing, max(spread.size(len(missing)), spread.nodes.jobs())))


def cluster_environment(settings: Settings) -> dict[str, str]:
    """The variables that travel with a run: what the caller set for nbbench and the suite, and its flags.

    None that says where results go, or how to log in there.
    """
    named = {name: value for name, value in os.environ.items() if name.startswith("NBBENCH_")}
    kept = {name: value for name, value in named.items() if name not in _NOT_SENT}
    return kept | {"NBBENCH_BRANCH": settings.branch, "NBBENCH_THREADS": str(settings.threads)}


@contextmanager
def _spread(settings: Settings, where: str, work: WorkOrder, say: Say, detail: Say) -> "Iterator[_Spread]":
    """A cluster whose first workers have said what they are."""
    with open_cluster(where, settings.state_dir / "slurm") as client:
        spread = _Spread(settings, client, work, say, detail)
        if not spread.nodes.look():
            say("waiting for workers: interrupt at any time")
        while not spread.nodes.look() or spread.nodes.waits:
            time.sleep(_LOOK_S / 4)
        yield spread


@dataclass(eq=False)
class _Share:
    """Commits that are measured as one task, the class of hardware to time on ('' for ledgers, which any
    records), the hosts that had them, and the worker that has them now."""

    commits: Sequence[Commit]
    machine: str = ""
    hosts: list[str] = field(default_factory=list)
    address: str = ""
    slot: str = ""

    def __str__(self) -> str:
        return ", ".join(commit.short for commit in self.commits)


def _cut(commits: Sequence[Commit], size: int, machine: str = "") -> list[_Share]:
    return [_Share(commits[at : at + size], machine) for at in range(0, len(commits), size)]


class _Spread:
    """One run over a cluster: shares are cut, handed out one for each node, and taken over as they end."""

    def __init__(self, settings: Settings, client: Any, work: WorkOrder, say: Say, detail: Say) -> None:
        self._settings, self._client, self._work = settings, client, work
        self._say, self._detail = say, detail
        self.nodes = Nodes(client, work.environment, say)
        self._left: list[_Share] = []
        self._begun: dict[Any, _Share] = {}
        self._failed: list[str] = []

    def size(self, commits: int, machine: str = "") -> int:
        """Commits in a share: four shares a node, so that all end at about the same time."""
        slots = set(self.nodes.slots(self.nodes.of_class(self.nodes.look(), machine)).values())
        return min(_MOST_COMMITS, math.ceil(commits / (4 * max(1, len(slots)))))

    def run(self, shares: Sequence[_Share]) -> None:
        """Have all shares measured.

        What is finished is kept whatever happens to the rest. Raises UsageError where a node refuses the
        order, HostError where some commits could not be measured anywhere, or the scheduler is gone.
        """
        ensure_writable(self._settings.results_dir)
        export_workloads(self._settings)
        files, began, done, waited = self._project(), time.monotonic(), 0, set[str]()
        self._left, total = [*shares][::-1], sum(len(share.commits) for share in shares)
        while self._left or self._begun:
            here = self.nodes.look()
            lacking = {one.machine for one in self._left if not self.nodes.of_class(here, one.machine)}
            if lacking and lacking != waited:
                which = f"of {', '.join(sorted(lacking))} " if any(lacking) else ""
                self._say(f"no node {which}is left: waiting for one, interrupt at any time")
            waited = lacking
            gone = [task for task, one in self._begun.items() if one.address not in self.nodes.known]
            for task in gone:
                task.cancel()
                self._again(self._begun.pop(task), "its node went away")
            self._hand_out(files, here)
            for share in self._ended():
                done, spent = done + len(share.commits), time.monotonic() - began
                rest = format_clock(spent / done * (total - done))
                where = f"{format_clock(spent)}, {rest} left, {plural(len(here), 'node')}"
                self._say(f"[{done}/{total}, {where}] {share.hosts[-1]}: {share}")
        if self._failed:
            said = f"{plural(len(self._failed), 'share')} could not be measured; the first: {self._failed[0]}"
            raise HostError(said, hint="the others are kept: run again to resume")

    def _project(self) -> dict[str, bytes]:
        root, suite = self._settings.root, self._settings.root / "benchmarks"
        paths = [root / "asv.conf.json", root / "pyproject.toml"]
        paths += [path for path in sorted(suite.rglob("*")) if "__pycache__" not in path.parts]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}

    def _hand_out(self, files: Mapping[str, bytes], here: Sequence[str]) -> None:
        """Give each idle node a share; one that failed there only where nobody else is left for it."""
        for address, slot in self.nodes.slots(here).items():
            if slot in [share.slot for share in self._begun.values()]:
                continue
            if share := next((one for one in reversed(self._left) if self._fits(one, address, here)), None):
                self._left.remove(share)
                share.hosts.append(self.nodes.known[address].host)
                share.address, share.slot = address, slot
                self._begun[self._send(files, share)] = share

    def _fits(self, share: _Share, address: str, here: Sequence[str]) -> bool:
        able = self.nodes.of_class(here, share.machine)
        hosts = {self.nodes.known[one].host for one in able}
        return address in able and (
            self.nodes.known[address].host not in share.hosts or hosts <= set(share.hosts)
        )

    def _send(self, files: Mapping[str, bytes], share: _Share) -> Any:
        commits, machine = tuple(share.commits), share.machine
        known = share_files(self._settings.results_dir, machine, commits)
        sent = {**files, **{f"results/{name}": data for name, data in known.items()}}
        pack = pack_trees(open_subject(self._settings), [commit.hash for commit in commits])
        order = replace(self._work, commits=commits, machine=machine, jobs=self.nodes.jobs())
        given = {"workers": [share.address], "resources": {RESOURCE: 1}, "pure": False}
        return self._client.submit(carry_out, order, sent, pack, **given)

    def _again(self, share: _Share, why: str) -> None:
        """Put a share back for another node, or give it up."""
        if len(share.hosts) < _TRIES:
            self._detail(f"{share.hosts[-1]}: {share}: {why}; tried again")
            self._left.insert(0, share)
        else:
            self._failed.append(f"{share}: {why}")

    def _ended(self) -> Iterator[_Share]:
        """The shares that were measured since the last call, taken over."""
        from distributed import wait

        if not self._begun:
            time.sleep(_LOOK_S)
            return
        with suppress(TimeoutError):
            wait(list(self._begun), timeout=_LOOK_S, return_when="FIRST_COMPLETED")
        for task, share in list(self._begun.items()):
            if task.status == "cancelled":
                raise HostError("the scheduler is gone", hint="what is finished is kept: run again to resume")
            if task.status == "error":
                del self._begun[task]
                self._again(share, clean(str(task.exception())))
            elif task.status == "finished":
                try:
                    brought: Brought = task.result(timeout=_BRING_S)
                except TimeoutError:  # its node is cut off just now
                    continue
                del self._begun[task]
                self._take(brought, share.machine)
                yield share

    def _take(self, brought: Brought, machine: str) -> None:
        """Put the files of a share in place of those that it began with."""
        for line in brought.said:
            self._detail(f"{brought.host}: {line}")
        if brought.refused:
            raise UsageError(brought.refused)
        for name, data in brought.files.items():
            path = self._settings.results_dir / name
            parts = PurePosixPath(name).parts
            if parts[0] not in ("ledger", machine, BENCHMARKS_JSON) or ".." in parts:
                self._failed.append(f"{clean(name)} is no file of results")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if parts[0] == "ledger":
                try:
                    write_ledgers(path, parse_ledgers(data, path))
                except BadFileError as error:
                    self._failed.append(str(error))
            elif path.name != MACHINE_JSON or not path.exists():  # the facts of a class's first node
                write_bytes(path, data)
