"""What torch.compile makes of a workload: graphs, breaks, recompilations, kernels and the bytes they move.

All private names of torch are here. Inductor counts the bytes that its kernels move where its log of metrics
is switched on; graph breaks and recompilations are told in logs alone. docs/ledger.md has the definition.
"""

import copy
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from nbbench.compiled import CompiledGraph, CompiledProgram, CompiledScope, CompiledWork, CompileEvent
from nbbench.host import PYTHON
from nbbench.probe.traffic import TrafficLedger
from nbbench.words import clean

_MOST_RUNS = 5  # before a program that still compiles counts as one that always does
_REASON = 240  # characters
# The scalar code that is generated is no other than the vector code but for the width (docs/ledger.md).
# Without vectors to choose from none is tried out, which takes longer than a small program.
_PINS: dict[str, int | bool] = dict.fromkeys(("cpp.simdlen", "cpp.threads", "compile_threads"), 1)
_PINS |= dict.fromkeys(("cpp.vec_isa_ok", "fx_graph_cache"), False)
_PLACE = re.compile(r'File "([^"\n]+)", line (\d+)|in user code at ([^\n]+):(\d+)$', re.MULTILINE)
_KIND = re.compile(r"^(?:Graph Break Reason: )?(\S.*)\n  Explanation: (.+)$", re.MULTILINE)
_PLAIN_REASON = re.compile(r"^(?:Graph Break Reason: |\s*- (?:\d+/\d+: )?)(.+)$", re.MULTILINE)
_FUNCTION = re.compile(r"^Recompiling function \S+ in (.+):(\d+)$", re.MULTILINE)
_UNSTEADY = re.compile(r"0x[0-9a-fA-F]+|\d{9,}")  # addresses and ids
_COMMENT = re.compile(r"\s+#.*")  # where a guard comes from
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\":]+/)+")

STILL_COMPILES = f"each run compiles again: counted in the one after {_MOST_RUNS}"
VARYING = "sizes vary: bytes are those of the sizes for which a graph was compiled"
BACKWARD = "a backward pass is there: the kernels compiled for it are not counted"


class NotToldError(RuntimeError):
    """This torch does not tell what it compiles."""


@dataclass(slots=True, eq=False)
class _Graph:
    """A graph since it was compiled, and what the counted run did with it."""

    path: str
    lines: tuple[int, int]
    kernels: int
    bytes: int
    varying: bool
    runs: int = 0
    eager_bytes: int = 0


def record_compiled(
    workload: str, function: Callable[[], object], *, pixels: int, source_root: str
) -> CompiledWork:
    """Compile what `function` runs, twice: what it compiles by itself, and it as a whole.

    The process must not have compiled anything; torch.compile must not be switched off by its environment.
    Raises NotToldError under a torch without the names that this file needs, and whatever compiling raises.
    """
    programs, graphs, still = [], [], False
    eager = TrafficLedger()
    for scope in CompiledScope:
        compiler = _Compiler(source_root)
        with compiler.watching():
            run = torch.compile(function) if scope is CompiledScope.WHOLE else function
            compiler.count(run)
            if scope is CompiledScope.OWN:
                with compiler.eager(), eager:
                    image = function()  # alive to the end: a fused kernel would write it
                del image
        if compiler.graphs or scope is CompiledScope.WHOLE:
            programs.append(compiler.program(scope))
        graphs += compiler.graphs
        still = still or compiler.still
    varying, backward = any(one.varying for one in graphs), eager.traffic.backward_ops > 0
    told = ((still, STILL_COMPILES), (varying, VARYING), (backward, BACKWARD))
    return CompiledWork(
        workload,
        PYTHON,
        pixels,
        eager.traffic.bytes,
        eager.traffic.fused_bytes,
        tuple(programs),
        tuple(note for holds, note in told if holds),
    )


class _Torch:
    """The private names, looked up once. Raises NotToldError where one is missing."""

    def __init__(self) -> None:
        try:
            import torch._dynamo
            import torch._inductor.compile_fx as compile_fx
            from torch._inductor import config, metrics

            torch._logging.set_logs(graph_breaks=True, recompiles=True, inductor_metrics=True)
            self.compile_fx, self.inductor, self.metrics = compile_fx, config, metrics
            self.dynamo = torch._dynamo
            _ = compile_fx.compile_fx, metrics.num_bytes_accessed, metrics.generated_kernel_count
        except (ImportError, AttributeError, ValueError) as error:
            said = f"this torch ({torch.__version__}) does not tell what it compiles: {error}"
            raise NotToldError(said) from error


class _Compiler(logging.Handler):
    """Stands before Inductor and listens to the logs; each graph's operations can run eager in its place."""

    def __init__(self, source_root: str) -> None:
        super().__init__(1)
        self.graphs: list[_Graph] = []
        self.still = False
        self._torch = _Torch()
        self._root = source_root.rstrip("/") + "/"
        self._breaks: Counter[tuple[str, int, str]] = Counter()
        self._recompiles: Counter[tuple[str, int, str]] = Counter()
        self._places: dict[tuple[str, int], tuple[str, int]] = {}
        self._eager, self._inside = False, False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """What is compiled in the block is counted; afterwards it is lost."""
        asked = "__graph_breaks", "__recompiles", "__inductor_metrics"
        loggers = [logging.getLogger(n) for n in logging.root.manager.loggerDict if n.endswith(asked)]
        inductor = self._torch.compile_fx.compile_fx
        self._torch.dynamo.reset()
        for one in loggers:
            one.addHandler(self)
            one.propagate = False
        self._torch.compile_fx.compile_fx = self._before(inductor)
        try:
            with self._torch.inductor.patch(_PINS):
                yield
        finally:
            self._torch.compile_fx.compile_fx = inductor
            for one in loggers:
                one.removeHandler(self)
            self._torch.dynamo.reset()

    @contextmanager
    def eager(self) -> Iterator[None]:
        """Nothing is compiled in the block, and the operations of graphs run one by one."""
        self._eager = True
        try:
            with self._torch.dynamo.config.patch(disable=True):
                yield
        finally:
            self._eager = False

    def count(self, run: Callable[[], object]) -> None:
        """Run until nothing is compiled any more; then once more, counting the operations of each graph."""
        for _ in range(_MOST_RUNS):
            before = len(self.graphs)
            run()
            if len(self.graphs) == before:
                break
        else:
            self.still = True
        for graph in self.graphs:
            graph.runs, graph.eager_bytes = 0, 0
        self._eager = True
        run()
        self._eager = False

    def program(self, scope: CompiledScope) -> CompiledProgram:
        """What was found."""
        graphs = [
            CompiledGraph(one.path, one.lines, one.runs, one.kernels, one.bytes * one.runs, one.eager_bytes)
            for one in self.graphs
            if one.runs
        ]
        found = [
            tuple(CompileEvent(*place, times) for place, times in sorted(events.items()))
            for events in (self._breaks, self._recompiles)
        ]
        return CompiledProgram(scope, len(self.graphs), tuple(graphs), found[0], found[1])

    def emit(self, record: logging.LogRecord) -> None:
        """Book a graph break or a recompilation."""
        text = record.getMessage()
        if record.name.endswith("__recompiles"):
            where = _FUNCTION.search(text)
            place = self._mine([(where[1], int(where[2]))] if where else [])
            self._recompiles[(*place, self._reason(text))] += 1
        elif record.name.endswith("__graph_breaks"):
            raised = record.exc_info[1] if record.exc_info else None
            reason = self._reason(text) or self._reason(f"Graph Break Reason: {raised}")
            self._breaks[(*self._break_place(text), reason)] += 1

    def _before(self, inductor: Callable[..., Any]) -> Callable[..., Any]:
        """Inductor with our count of what it made; it calls itself with other settings."""

        def compile_fx(module: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return inductor(module, inputs, *args, **kwargs)
            metrics = self._torch.metrics
            eager = torch.fx.GraphModule(module, copy.deepcopy(module.graph))
            bytes_before, kernels_before = metrics.num_bytes_accessed, metrics.generated_kernel_count
            self._inside = True
            try:
                compiled = inductor(module, inputs, *args, **kwargs)
            finally:
                self._inside = False
            path, lines = self._span(eager)
            graph = _Graph(
                path,
                lines,
                metrics.generated_kernel_count - kernels_before,
                metrics.num_bytes_accessed - bytes_before,
                any(isinstance(one, torch.SymInt) for one in inputs),
            )
            self.graphs.append(graph)
            return self._counted(graph, eager, compiled)

        return compile_fx

    def _counted(self, graph: _Graph, eager: Any, compiled: Any) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            if not self._eager:
                return compiled(*inputs)
            graph.runs += 1
            ledger = TrafficLedger()
            with ledger:
                made = eager(*inputs)
            graph.eager_bytes += ledger.traffic.bytes
            return made

        return call

    def _span(self, module: Any) -> tuple[str, tuple[int, int]]:
        """The subject's file that most operations of a graph come from, and the first and last line there."""
        found: dict[str, list[int]] = {}
        for node in module.graph.nodes:
            path, line = self._mine(_places(node.meta.get("stack_trace") or ""))
            if path:
                found.setdefault(path, []).append(line)
        if not found:
            return "", (0, 0)
        path = max(found, key=lambda name: (len(found[name]), name))
        return path, (min(found[path]), max(found[path]))

    def _mine(self, places: list[tuple[str, int]]) -> tuple[str, int]:
        """The innermost of some places that lies below the source root, relative to it."""
        inside = [(path, line) for path, line in places if path.startswith(self._root)]
        return (inside[-1][0].removeprefix(self._root), inside[-1][1]) if inside else ("", 0)

    def _break_place(self, text: str) -> tuple[str, int]:
        """Where a graph broke. Torch shows the stack of a place once, later the innermost frame alone."""
        places = _places(text)
        first = places[0] if places else ("", 0)
        mine = self._mine(places)
        return self._places.setdefault(first, mine) if mine[0] else self._places.get(first, mine)

    def _reason(self, text: str) -> str:
        """Torch's reason without what differs from process to process, and from machine to machine."""
        kind, plain = _KIND.search(text), _PLAIN_REASON.search(text)
        said = f"{kind[1]}: {kind[2]}" if kind else (plain[1] if plain else "")
        said = _COMMENT.sub("", said).replace(self._root, "")
        return _UNSTEADY.sub("…", _FOLDERS.sub("", clean(said)))[:_REASON]


def _places(text: str) -> list[tuple[str, int]]:
    return [(one[1] or one[3], int(one[2] or one[4])) for one in _PLACE.finditer(text)]
