"""Which workers of a cluster may measure: what each node is, and why some are set aside."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from nbbench.errors import HostError, UsageError
from nbbench.measure.cluster_client import RESOURCE
from nbbench.measure.cluster_task import Node, look_at_node, own_versions
from nbbench.words import Say, clean

ALL_CLASSES = "all"
"""What `--machine` says for a measurement on each class of hardware that is there."""

CANARY_LIMIT = 0.10
"""A node is set aside where its canary's arithmetic is slower or faster than its class's by such a share."""

_MOST_JOBS = 4  # trees that a worker records at a time: each takes a core and a gigabyte
_ANSWER_S = 1.0  # that a node's answer may take from it


def set_aside(
    nodes: Sequence[Node], wanted: tuple[str, str, str], classes: Sequence[str] = ()
) -> dict[str, str]:
    """Why nodes take no part, by host: other versions than `wanted` or, where times are measured, a class
    that is none of `classes`, or a canary that disagrees with its class.

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
        elif classes and node.hardware not in classes:
            ways = f"--machine {node.hardware} measures there, --machine {ALL_CLASSES} on each class"
            aside[node.host] = f"is of another class: {node.hardware} ({ways})"
    for one in classes:
        alike = [node for node in nodes if node.hardware == one and node.host not in aside]
        usual = statistics.median_low([node.canary_s for node in alike]) if alike else 0.0
        for node in alike:
            if abs(moved := node.canary_s / usual - 1.0) > CANARY_LIMIT:
                word = "slower" if moved > 0 else "faster"
                aside[node.host] = f"its canary is {abs(moved):.0%} {word} than its class's"
    return aside


class Nodes:
    """The workers of a cluster as they come and go, and those that a share may go to."""

    def __init__(self, client: Any, environment: Mapping[str, str], say: Say) -> None:
        self._client, self._environment, self._say = client, dict(environment), say
        self._asked: dict[str, Any] = {}
        self._hosts: dict[str, Node] = {}  # all that ever answered: who leaves still tells the class's speed
        self._told: set[str] = set()
        self.known: dict[str, Node] = {}
        self._classes: Sequence[str] = ()  # that times are measured on

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
                with suppress(TimeoutError):  # it may be cut off just now
                    node = self.known[address] = asked.result(timeout=_ANSWER_S)
                    before = self._hosts.get(node.host, node)
                    self._hosts[node.host] = min(node, before, key=lambda one: one.canary_s)
        aside = set_aside(list(self._hosts.values()), own_versions(), self._classes)
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

    def choose(self, asked: str) -> Sequence[str]:
        """The classes of hardware to time on: the one asked for, or all, else that of most nodes.

        Raises UsageError where no node is of the class.
        """
        others = set_aside(list(self._hosts.values()), own_versions())
        classes = Counter(node.hardware for host, node in self._hosts.items() if host not in others)
        most = sorted(classes, key=lambda one: (-classes[one], one))
        if asked not in ("", ALL_CLASSES, *most):
            raise UsageError(f"no node is of the class {asked!r}", hint=f"there are: {', '.join(most)}")
        self._classes = most if asked == ALL_CLASSES else [asked or most[0]]
        return self._classes

    def of_class(self, addresses: Sequence[str], machine: str) -> list[str]:
        """Those of the addresses whose nodes are of a class; all where it is ''."""
        return [one for one in addresses if machine in ("", self.known[one].hardware)]

    def slots(self, addresses: Sequence[str]) -> dict[str, str]:
        """What does one thing at a time, by address: a host, where times are measured, else each worker."""
        return {one: self.known[one].host if self._classes else one for one in addresses}

    def tell(self, who: str, why: str) -> None:
        """Say once why a node is set aside."""
        if (line := f"{who} is set aside: {clean(why)}") not in self._told:
            self._told.add(line)
            self._say(line)
