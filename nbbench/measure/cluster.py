"""Trees measured by several machines: Dask hands them out, and their files join the results.

Dask keeps the workers, gives a dead one's share to another, and holds the resource by which a worker does one
thing at a time. What is here chooses the nodes, cuts shares, and takes over what comes back, each share once.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from nbbench.config import Settings
from nbbench.errors import HostError, UsageError
from nbbench.measure.cluster_client import RESOURCE, open_cluster
from nbbench.measure.cluster_task import (
    Brought,
    Kit,
    Node,
    TreeBatch,
    WorkOrder,
    carry_out,
    look_at_node,
    own_versions,
    share_files,
)
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

CANARY_LIMIT = 0.10
"""A node is set aside where its canary's arithmetic is slower or faster than its class's by such a share."""

_RETRIES = 2  # of a share whose process fails, perhaps on another node
_MOST_COMMITS = 8  # in a share: what a dead worker loses
_MOST_JOBS = 4  # trees that a worker records at a time: each takes a core and a gigabyte
_LOOK_S = 1.0
_NOT_SENT = frozenset({"NBBENCH_DB", "NBBENCH_MACHINE", "NBBENCH_PROJECT", "NBBENCH_MEASURING"})


def set_aside(nodes: Sequence[Node], wanted: tuple[str, str, str], hardware: str = "") -> dict[str, str]:
    """Why nodes take no part, by host: other versions than `wanted` or, where times are measured, another
    class than `hardware`, or a canary that disagrees with its class.

    A class's speed is the median of its hosts, of two the faster one.
    """
    aside: dict[str, str] = {}
    for node in nodes:
        names = zip(("nbbench", "torch", "Python"), node.versions, wanted, strict=True)
        other = [
            f"{name} {theirs or 'none'} and not {ours}" for name, theirs, ours in names if theirs != ours
        ]
        if other:
            aside[node.host] = f"has {', '.join(other)}"
        elif hardware and node.hardware != hardware:
            aside[node.host] = (
                f"is of another class: {node.hardware} (--machine {node.hardware} measures there)"
            )
    canaries = {node.host: node.canary_s for node in nodes if hardware and node.host not in aside}
    usual = statistics.median_low(canaries.values()) if canaries else 0.0
    for host, seconds in canaries.items():
        if abs(moved := seconds / usual - 1.0) > CANARY_LIMIT:
            word = "slower" if moved > 0 else "faster"
            aside[host] = f"its canary is {abs(moved):.0%} {word} than its class's"
    return aside


class Nodes:
    """The workers of a cluster as they come and go, and those that a share may go to."""

    def __init__(self, client: Any, environment: Mapping[str, str], say: Say) -> None:
        self._client, self._environment, self._say = client, dict(environment), say
        self._asked: dict[str, Any] = {}
        self._told: set[str] = set()
        self.known: dict[str, Node] = {}
        self.hardware = ""

    def look(self) -> list[str]:
        """The addresses that take shares now: of nodes that times are measured on, one a host."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        self._asked = {address: asked for address, asked in self._asked.items() if address in workers}
        for address in workers.keys() - self._asked.keys():
            self._asked[address] = self._client.submit(
                look_at_node, self._environment, workers=[address], pure=False
            )
        for address, asked in self._asked.items():
            if asked.status == "error":
                self._tell(address, str(asked.exception()))
            elif not workers[address].get("resources", {}).get(RESOURCE):
                self._tell(address, f"it has no resource {RESOURCE}=1")
        fit = {a: one for a, one in self._asked.items() if workers[a].get("resources", {}).get(RESOURCE)}
        self.known = {a: asked.result() for a, asked in fit.items() if asked.status == "finished"}
        aside = set_aside(list(self.known.values()), own_versions(), self.hardware)
        for host, why in aside.items():
            self._tell(host, why)
        good = sorted(address for address, node in self.known.items() if node.host not in aside)
        if not good and self._asked and not self.waits:
            raise HostError("no worker can measure", hint="see above why each is set aside")
        if self.hardware:
            good = list({self.known[address].host: address for address in reversed(good)}.values())
        return good

    @property
    def waits(self) -> bool:
        """Whether some worker has not said yet what it is."""
        return any(asked.status == "pending" for asked in self._asked.values())

    def jobs(self) -> int:
        """How many trees each worker may record at a time, as several may share a host."""
        shared = Counter(node.host for node in self.known.values())
        cores = [node.cores // shared[node.host] for node in self.known.values()]
        return max(1, min([_MOST_JOBS, *cores]))

    def choose(self, asked: str | None) -> str:
        """The class of hardware to time on: the one asked for, else that of most nodes.

        Raises UsageError where no node is of the class.
        """
        classes = Counter({node.host: node.hardware for node in self.known.values()}.values())
        if asked and asked not in classes:
            raise UsageError(
                f"no node is of the class {asked!r}", hint=f"there are: {', '.join(sorted(classes))}"
            )
        self.hardware = asked or max(sorted(classes), key=classes.__getitem__)
        return self.hardware

    def _tell(self, who: str, why: str) -> None:
        if (line := f"{who} is set aside: {clean(why)}") not in self._told:
            self._told.add(line)
            self._say(line)


def spread_times(
    settings: Settings,
    where: str,
    commits: Sequence[Commit],
    work: WorkOrder,
    hardware: str | None = None,
    *,
    together: bool = False,
    say: Say,
    detail: Say,
) -> str:
    """Measure commits on the nodes of one class in the given order; the class, which is the machine's name.

    Those that are compared with each other stay `together` on one node. Raises as `_Spread.run` does.
    """
    with open_cluster(where) as client:
        nodes = Nodes(client, work.environment, say)
        here = _first(nodes, say)
        machine = nodes.choose(hardware)
        spread = _Spread(settings, client, nodes, work, machine, say, detail)
        size = len(commits) if together else spread.size(len(commits), len(here))
        spread.run(commits, size)
    return machine


def spread_ledgers(
    settings: Settings,
    where: str,
    commits: Sequence[Commit],
    workloads: Sequence[str],
    *,
    say: Say,
    detail: Say,
) -> None:
    """Record the ledgers that these commits lack, and their host work, on any nodes.

    Raises as `_Spread.run` does.
    """
    missing = list(lacking_work(settings, LEDGERS, commits, workloads))
    if not missing:
        return
    work = WorkOrder(cluster_environment(settings), tuple(workloads))
    with open_cluster(where) as client:
        nodes = Nodes(client, work.environment, say)
        here = _first(nodes, say)
        spread = _Spread(settings, client, nodes, work, "", say, detail)
        spread.run(missing, max(spread.size(len(missing), len(here)), nodes.jobs()))


def cluster_environment(settings: Settings) -> dict[str, str]:
    """The variables that travel with a run: what the caller set for nbbench and the suite, and its flags.

    None that says where results go, or how to log in there.
    """
    named = {name: value for name, value in os.environ.items() if name.startswith("NBBENCH_")}
    kept = {name: value for name, value in named.items() if name not in _NOT_SENT}
    return kept | {"NBBENCH_BRANCH": settings.branch, "NBBENCH_THREADS": str(settings.threads)}


def _first(nodes: Nodes, say: Say) -> list[str]:
    """Wait until the first workers have said what they are; their addresses."""
    waited = False
    while not (here := nodes.look()) or nodes.waits:
        if not waited:
            say("waiting for workers: interrupt at any time")
        waited = True
        time.sleep(_LOOK_S / 4)
    return here


@dataclass
class _Spread:
    """One run over a cluster: shares are cut, handed out one for each node, and taken over as they end."""

    settings: Settings
    client: Any
    nodes: Nodes
    work: WorkOrder
    machine: str
    say: Say
    detail: Say

    def size(self, commits: int, nodes: int) -> int:
        """Commits in a share: four shares a node, so that all end at about the same time."""
        return min(_MOST_COMMITS, math.ceil(commits / (4 * nodes)))

    def run(self, commits: Sequence[Commit], size: int) -> None:
        """Have all commits measured, `size` as one task.

        What is finished is kept whatever happens to the rest. Raises UsageError where a node refuses the
        order, HostError where some commits could not be measured anywhere, or the scheduler is gone.
        """
        ensure_writable(self.settings.results_dir)
        export_workloads(self.settings)
        kit = self.client.submit(Kit, *self._kit(commits), pure=False)  # sent once; workers share it
        left = [commits[start : start + size] for start in range(0, len(commits), size)][::-1]
        done, began, failed = 0, time.monotonic(), list[str]()
        begun: dict[Any, tuple[Sequence[Commit], list[str]]] = {}
        while left or begun:
            here = self.nodes.look()
            for task in [
                task for task, (_, places) in begun.items() if self.nodes.known.keys().isdisjoint(places)
            ]:
                left.append(begun.pop(task)[0])  # every node that it may go to is gone
                task.cancel()
            while left and len(begun) < len(here):
                one = left.pop()
                begun[self._hand_out(kit, one, here)] = one, here
            for task in self._ended(list(begun)):
                mine, _ = begun.pop(task)
                host = self._take(task, mine, failed)
                done, spent = done + len(mine), time.monotonic() - began
                rest = f", {format_clock(spent / done * (len(commits) - done))} left" if left or begun else ""
                where = f"{format_clock(spent)}{rest}, {plural(len(here), 'node')}"
                self.say(f"[{done}/{len(commits)}, {where}] {host}: {', '.join(c.short for c in mine)}")
        if failed:
            said = f"{plural(len(failed), 'share')} could not be measured; the first: {failed[0]}"
            raise HostError(said, hint="the others are kept: run again to resume")

    def _kit(self, commits: Sequence[Commit]) -> tuple[dict[str, bytes], bytes, tuple[str, ...]]:
        root, suite = self.settings.root, self.settings.root / "benchmarks"
        paths = [root / "asv.conf.json", root / "pyproject.toml"]
        paths += [path for path in sorted(suite.rglob("*")) if "__pycache__" not in path.parts]
        files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}
        hashes = tuple(commit.hash for commit in commits)
        return files, pack_trees(open_subject(self.settings), hashes), hashes

    def _hand_out(self, kit: Any, commits: Sequence[Commit], here: list[str]) -> Any:
        known = share_files(self.settings.results_dir, self.machine, commits)
        share = TreeBatch(tuple(commits), self.machine, self.nodes.jobs(), known)
        where = {"workers": here, "resources": {RESOURCE: 1}, "retries": _RETRIES, "pure": False}
        return self.client.submit(carry_out, kit, self.work, share, **where)

    def _ended(self, begun: list[Any]) -> list[Any]:
        from distributed import wait

        if not begun:
            time.sleep(_LOOK_S)
            return []
        with suppress(TimeoutError):
            wait(begun, timeout=_LOOK_S, return_when="FIRST_COMPLETED")
        return [task for task in begun if task.status != "pending"]

    def _take(self, task: Any, commits: Sequence[Commit], failed: list[str]) -> str:
        """Take over what came of a share and tell its host; why it `failed`, if it did."""
        if task.status == "cancelled":
            raise HostError("the scheduler is gone", hint="what is finished is kept: run again to resume")
        if task.status != "finished":
            failed.append(f"{', '.join(commit.short for commit in commits)}: {clean(str(task.exception()))}")
            return "failed"
        brought: Brought = task.result()
        for line in brought.said:
            self.detail(f"{brought.host}: {line}")
        if brought.refused:
            raise UsageError(brought.refused)
        failed += self._merge(brought.files)
        return clean(brought.host)

    def _merge(self, files: Mapping[str, bytes]) -> Iterator[str]:
        """Put the files of a share in place of those that it began with; what is wrong with one."""
        for name, data in files.items():
            path = self.settings.results_dir / name
            parts = PurePosixPath(name).parts
            if parts[0] not in ("ledger", self.machine, BENCHMARKS_JSON) or ".." in parts:
                yield f"{clean(name)} is no file of results"
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if parts[0] == "ledger":
                try:
                    write_ledgers(path, parse_ledgers(data, path))
                except BadFileError as error:
                    yield str(error)
            elif path.name != MACHINE_JSON or not path.exists():  # the facts of a class's first node
                write_bytes(path, data)
