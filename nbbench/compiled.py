"""The nouns of compiled work: what torch.compile makes of a workload on the CPU; no I/O."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

GRAPH_BREAKS = "track_graph_breaks"
COMPILED_BYTES = "track_compiled_bytes"
COMPILED_SERIES = (GRAPH_BREAKS, COMPILED_BYTES)
"""The names of its series."""


class CompiledScope(StrEnum):
    """What is given to torch.compile."""

    OWN = "what the subject compiles"  # the rest of the run is eager
    WHOLE = "the whole run"


class CompileEvent(NamedTuple):
    """A graph break, or a recompilation, and how often it came.

    `path` is relative to the subject's source root; '' with line 0 where torch names no line below it. `line`
    of a recompilation is where the function begins. `reason` is torch's own, on one line.
    """

    path: str
    line: int
    reason: str
    times: int


class CompiledGraph(NamedTuple):
    """A graph that a warm run executes.

    `path` and `lines` (first, last) say what it was made of; '' where no line is the subject's. `kernels`
    were generated for it, and move `bytes` in a run of the program; its operations one by one `eager_bytes`.
    """

    path: str
    lines: tuple[int, int]
    runs: int
    kernels: int
    bytes: int
    eager_bytes: int


class CompiledProgram(NamedTuple):
    """One workload under torch.compile.

    `compiled` counts all graphs, those of earlier runs as well.
    """

    scope: CompiledScope
    compiled: int
    graphs: tuple[CompiledGraph, ...]
    breaks: tuple[CompileEvent, ...] = ()
    recompiles: tuple[CompileEvent, ...] = ()

    @property
    def kernels(self) -> int:
        """Kernels of the graphs that a warm run executes."""
        return sum(one.kernels for one in self.graphs)


@dataclass(frozen=True, slots=True)
class CompiledWork:
    """The compiled work of one workload on one tree under one torch and one Python (docs/ledger.md).

    An eager run moves `eager_bytes`; a perfect fusion of the whole would move `fused_bytes`. `notes` say what
    the figures do not tell. `error` says why there are none.
    """

    workload: str
    python: str
    pixels: int = 0
    eager_bytes: int = 0
    fused_bytes: int = 0
    programs: tuple[CompiledProgram, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    def per_pixel(self, program: CompiledProgram) -> float:
        """Bytes per pixel that a warm run of the program moves, what stayed eager included."""
        saved = sum(one.eager_bytes - one.bytes for one in program.graphs)
        return (self.eager_bytes - saved) / self.pixels

    @property
    def figures(self) -> tuple[tuple[str, float], ...]:
        """The figures of the whole run by the names of their series."""
        found = [one for one in self.programs if one.scope is CompiledScope.WHOLE]
        return tuple(
            figure
            for one in found
            for figure in (
                (GRAPH_BREAKS, float(sum(event.times for event in one.breaks))),
                (COMPILED_BYTES, self.per_pixel(one)),
            )
        )
