"""Which workers of a cluster may measure: what each node is, and why some are set aside."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from nbbench.errors import HostError, UsageError
from nbbench.measure.cluster_client import RESOURCE
from nbbench.measure.cluster_task import Node, look_at_node, own_versions
from nbbench.words import Say, clean

CANARY_LIMIT = 0.10
"""A node is set aside where its canary's arithmetic is slower or faster than its class's by such a share."""

_MOST_JOBS = 4  # trees that a worker records at a time: each takes a core and a gigabyte
_ANSWER_S = 1.0  # that a node's answer may take from it


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
        self._hosts: dict[str, Node] = {}  # all that ever answered: who leaves still tells the class's speed
        self._told: set[str] = set()
        self.known: dict[str, Node] = {}
        self.hardware = ""

    def look(self) -> list[str]:
        """The addresses of workers that may take shares now.

        Raises HostError where every node that ever answered is set aside.
        """
        # Not Client.scheduler_info: the client's own timer replaces its answer by one without any workers.
        workers = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
        self._asked = {address: asked for address, asked in self._asked.items() if address in workers}
        self.known = {address: node for address, node in self.known.items() if address in workers}
        for address in workers.keys() - self._asked.keys():
            self._asked[address] = self._client.submit(
                look_at_node, self._environment, workers=[address], pure=False
            )
        for address, asked in self._asked.items():
            if not workers[address].get("resources", {}).get(RESOURCE):
                self.tell(address, f"it has no resource {RESOURCE}=1")
            elif asked.status == "error":
                self.tell(address, str(asked.exception()))
            elif asked.status == "finished" and address not in self.known:
                self._answered(address, asked)
        aside = set_aside(list(self._hosts.values()), own_versions(), self.hardware)
        for host, why in aside.items():
            self.tell(host, why)
        if self._asked and not self.waits and self._hosts.keys() <= aside.keys():
            raise HostError("no worker can measure", hint="see above why each is set aside")
        return sorted(address for address, node in self.known.items() if node.host not in aside)

    @property
    def waits(self) -> bool:
        """Whether some worker has not said yet what it is."""
        return any(asked.status == "pending" for asked in self._asked.values())

    def jobs(self) -> int:
        """How many trees each worker may record at a time, as several may share a host."""
        shared = Counter(node.host for node in self.known.values())
        cores = [node.cores // shared[node.host] for node in self.known.values()]
        return max(1, min([_MOST_JOBS, *cores]))

    def choose(self, asked: str) -> str:
        """The class of hardware to time on: the one asked for, else that of most nodes.

        Raises UsageError where no node is of the class.
        """
        others = set_aside(list(self._hosts.values()), own_versions())
        classes = Counter(node.hardware for host, node in self._hosts.items() if host not in others)
        if asked and asked not in classes:
            raise UsageError(
                f"no node is of the class {asked!r}", hint=f"there are: {', '.join(sorted(classes))}"
            )
        self.hardware = asked or max(sorted(classes), key=classes.__getitem__)
        return self.hardware

    def slots(self, addresses: Sequence[str]) -> dict[str, str]:
        """What does one thing at a time, by address: a host, where times are measured, else each worker."""
        return {one: self.known[one].host if self.hardware else one for one in addresses}

    def tell(self, who: str, why: str) -> None:
        """Say once why a node is set aside."""
        if (line := f"{who} is set aside: {clean(why)}") not in self._told:
            self._told.add(line)
            self._say(line)

    def _answered(self, address: str, asked: Any) -> None:
        with suppress(TimeoutError):  # it may be cut off just now
            node = self.known[address] = asked.result(timeout=_ANSWER_S)
            before = self._hosts.get(node.host, node)
            self._hosts[node.host] = min(node, before, key=lambda one: one.canary_s)
