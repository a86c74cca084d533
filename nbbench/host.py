"""The nouns of host work: what a program asks Python for, counted by source line; no I/O."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from nbbench.model import Cause, Phase


class HostKind(StrEnum):
    """What is counted: OUTPUT counts bytes, MEMORY bytes in whole MiB, all others how often.

    The last three are of tensors while a program starts up; what a warm run asks of tensors is its ledger.
    """

    CALL = "call"  # of a function of the subject
    LINE = "line"  # of the subject, executed
    OUTSIDE = "outside"  # a call of C or of another package's Python from a line of the subject, by name
    MODULE = "module"  # imported, with the line that imported it
    FILE = "file"  # opened
    OUTPUT = "output"  # bytes to stdout or stderr
    WARNING = "warning"
    LAUNCH = "launch"  # a thread or another process is started
    WAIT = "wait"  # for time to pass, a thread, a process: how long it takes is not counted
    SETTING = "setting"  # of torch for the whole process, that is another one when the phase ends
    MEMORY = "memory"  # by which the peak of what Python's allocators handed out rose on the line
    OPERATION = "operation"  # of torch that moves bytes, by name and dtype
    MOVED = "moved"  # bytes that those read and wrote
    ALIVE = "alive"  # most bytes of tensors alive at once, on the line that ran then


TENSOR_KINDS = frozenset({HostKind.OPERATION, HostKind.MOVED, HostKind.ALIVE})

MEMORY_UNIT = 2**20
"""Bytes to which MEMORY is rounded: allocations differ by hundreds of bytes from process to process, since
Python keeps freed objects for the next of their kind."""

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The Python that runs now: host work is compared under one."""

HOST_TRACK = "track_host_"
"""What the names of its series begin with."""

IMPORT_WORKLOAD = "import"
"""The name under which importing the subject is on record: all workloads share it."""


REPEATS = 2
"""How often exact work is recorded again before a difference is told: a coin may fall twice the same way."""


class HostMetric(StrEnum):
    """What is judged of a phase; the values are the units."""

    STEPS = "steps"  # lines executed and calls to the outside
    MODULES = "modules"
    OUTPUT = "B printed"
    MEMORY = "B held"
    FILES = "files"
    WARNINGS = "warnings"
    LAUNCHES = "spawns"
    WAITS = "waits"
    SETTINGS = "setting changes"
    OPERATIONS = "tensor operations"
    MOVED = "B moved"
    ALIVE = "B alive"


HOST_KINDS = {
    HostMetric.STEPS: (HostKind.LINE, HostKind.OUTSIDE),
    HostMetric.MODULES: (HostKind.MODULE,),
    HostMetric.OUTPUT: (HostKind.OUTPUT,),
    HostMetric.MEMORY: (HostKind.MEMORY,),
    HostMetric.FILES: (HostKind.FILE,),
    HostMetric.WARNINGS: (HostKind.WARNING,),
    HostMetric.LAUNCHES: (HostKind.LAUNCH,),
    HostMetric.WAITS: (HostKind.WAIT,),
    HostMetric.SETTINGS: (HostKind.SETTING,),
    HostMetric.OPERATIONS: (HostKind.OPERATION,),
    HostMetric.MOVED: (HostKind.MOVED,),
    HostMetric.ALIVE: (HostKind.ALIVE,),
}
"""What each of them counts."""

OF_WARM_RUNS = (HostMetric.FILES, HostMetric.WARNINGS)
"""Metrics that are judged of warm runs alone: what happens once a process is no loss."""

OF_TENSORS = (HostMetric.OPERATIONS, HostMetric.MOVED, HostMetric.ALIVE)
"""Metrics of tensors, recorded with the ledger and not with the rest."""

_CAUSES: dict[str, Cause] = {
    HostMetric.MODULES: Cause.IMPORT,
    HostMetric.OUTPUT: Cause.OUTPUT,
    HostMetric.WARNINGS: Cause.OUTPUT,
    **dict.fromkeys(OF_TENSORS, Cause.WORK),
}


def host_cause(unit: str) -> Cause:
    """The cause that a change of this metric is: its own, or host work."""
    return _CAUSES.get(unit, Cause.HOST)


FIXED_COST_CALLS = re.compile(
    r"__build_class__|len|isinstance|issubclass|getattr|hasattr|setattr|callable|id|abs|iter|next|super"
    r"|list\.append|dict\.(get|keys|values|items)|set\.add|str\.(startswith|endswith)"
    r"|math\.(?!factorial|comb|perm|gcd|lcm|prod|fsum|dist|sumprod)\w+|importlib\._bootstrap\..*"
    r"|Tensor\.(size|dim|numel|element_size|stride|item)|torch\._tensor\.Tensor\.(__len__|__iter__)"
)
"""Calls whose cost does not depend on what they are given; what is imported is counted."""

TENSOR_CALLS = re.compile(
    r"(torch\.(linalg\.|special\.|nn\.functional\.|_tensor\.Tensor\.)?|Tensor\.)"
    r"(?!set_|use_|get_|save|load|compile|manual_|from_|numpy|tolist|untyped_|storage|share_|pin_|apply|map_"
    r"|as_strided|contiguous|permute|transpose|movedim|moveaxis|swap|expand|t$|unfold|requires_grad|backward)\w+"
)
"""Operations that are counted by bytes, but while importing. Views that change the order of memory are
not among them: the same bytes can then take longer."""


class HostCount(NamedTuple):
    """How often one thing happened on one line of the subject.

    `path` is relative to the subject's source root; '' with line 0 where no line of the subject was under
    way. `line` of a CALL is where the function begins. `name` says which module, function, stream, file or
    warning.
    """

    kind: HostKind
    path: str
    line: int
    function: str
    name: str
    amount: int

    @property
    def site(self) -> HostSite:
        """What is counted, and where."""
        return HostSite(self.kind, self.path, self.line, self.function)


class HostSite(NamedTuple):
    """A kind of count on a line of the subject."""

    kind: HostKind
    path: str
    line: int
    function: str


class HostPhase(NamedTuple):
    """The host work of one phase. Tensors are not in its MEMORY. ALIVE, MOVED and OPERATION of a first
    run are what a warm run has not.
    """

    phase: Phase
    counts: tuple[HostCount, ...]

    def totals(self, without: Collection[HostSite] = ()) -> dict[HostMetric, int]:
        """What each metric counts in all, without the subject's own modules: their lines are its steps.

        Sites `without` which to count are those that do not repeat.
        """
        kept = [one for one in self.counts if one[:4] not in without] if without else self.counts
        own = {path.partition("/")[0].removesuffix(".py") for path in {one.path for one in self.counts}}
        amounts: Counter[HostKind] = Counter()
        for kind, found in groupby(kept, itemgetter(0)):  # an enumeration's hash is slow
            all_count = kind is not HostKind.MODULE
            amounts[kind] += sum(n for *_, name, n in found if all_count or name.partition(".")[0] not in own)
        return {metric: sum(amounts[kind] for kind in told) for metric, told in HOST_KINDS.items()}


@dataclass(frozen=True, slots=True)
class HostWork:
    """The host work of one workload on one tree under one Python (3.11; '' for what tensors do while starting
    up, whichever Python runs); `error` says why there is none.

    `repeated` says that it was recorded more than once, and `varies` what differed then. `started` says that
    what tensors do while starting up is among the counts.
    """

    workload: str
    python: str
    phases: tuple[HostPhase, ...] = ()
    error: str = ""
    varies: tuple[HostSite, ...] = ()
    repeated: bool = False
    started: bool = False

    def joined(self, starts: HostWork) -> HostWork:
        """With what tensors do while starting up."""
        more = {one.phase: one.counts for one in starts.phases}
        phases = tuple(HostPhase(one.phase, (*one.counts, *more.get(one.phase, ()))) for one in self.phases)
        varies = tuple(sorted({*self.varies, *starts.varies}))
        return replace(self, phases=phases, varies=varies, started=True)

    def beside(self, other: HostWork) -> HostWork:
        """What of it was recorded of a comparison's other side as well: Python's work, tensors', or both."""
        kinds = set(HostKind)
        if (self.started or not self.python) != (other.started or not other.python):
            kinds -= TENSOR_KINDS
        if bool(self.python) != bool(other.python):
            kinds &= TENSOR_KINDS
        if len(kinds) == len(HostKind):
            return self
        phases = [HostPhase(p.phase, tuple(c for c in p.counts if c.kind in kinds)) for p in self.phases]
        return replace(self, phases=tuple(phases))

    def agreed(self, again: HostWork) -> HostWork:
        """This recording, knowing another one of the same tree: what differs between the two varies."""
        if self.error or again.error:
            return replace(self, repeated=True)
        sides = ({(one.phase, *c) for one in work.phases for c in one.counts} for work in (self, again))
        differ = {HostCount(*one[1:]).site for one in set.symmetric_difference(*sides)}
        return replace(self, varies=tuple(sorted({*self.varies, *differ})), repeated=True)

    @property
    def figures(self) -> tuple[tuple[str, float], ...]:
        """Every metric of every phase by the name of its series; of a first run what a warm one does not."""
        left_out = frozenset(self.varies)
        found = {phase.phase: phase.totals(left_out) for phase in self.phases}
        warm = found.get(Phase.WARM, {})
        if first := found.get(Phase.FIRST):
            found[Phase.FIRST] = {metric: max(n - warm.get(metric, 0), 0) for metric, n in first.items()}
        return tuple((host_metric(m, p), float(n)) for p, totals in found.items() for m, n in totals.items())


def host_metric(metric: HostMetric, phase: Phase) -> str:
    """The name of a series: `track_host_steps_warm_run`."""
    return f"{HOST_TRACK}{metric.name.lower()}_{phase.replace(' ', '_')}"


def host_series(workload: str, phase: str) -> str:
    """The name of the series of one phase of a workload."""
    return f"host {workload}" if workload == phase else f"host {workload}, {phase}"
