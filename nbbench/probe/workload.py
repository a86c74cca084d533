"""Recording one workload: its ledger with totals, lines, functions and the image's fingerprint; and a scale,
one workload at several small values of its parameter, tensors and Python together.
"""

import functools
import gc
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch

from nbbench.growth import STEPS, LineCounts, Quantity, ScaledWork
from nbbench.host import HOST_KINDS, PYTHON, HostCount, HostKind, HostMetric, HostPhase
from nbbench.ledger import Ledger, LedgerLine
from nbbench.model import Phase
from nbbench.probe.forked import forked
from nbbench.probe.host_work import HostRecorder
from nbbench.probe.resources import alone, collector_off
from nbbench.probe.traffic import COMPILED_NOTE, Traffic, TrafficLedger, dtype_name
from nbbench.workloads import Scale

_Result = TypeVar("_Result")
# What a ledger has as its recording has it.
_TOTALS = (
    *("ops", "dispatched", "bytes", "upcast_bytes", "peak_live_bytes", "fused_bytes"),
    *("peak_line", "backward_ops", "backward_bytes"),
)
_COMPILE = re.compile(r"^[^#\n]*\btorch\.compile\b", re.MULTILINE)


def record_ledger(
    workload: str,
    function: Callable[[], torch.Tensor],
    *,
    pixels: int,
    asked: torch.dtype,
    source_root: str,
) -> Ledger:
    """Run `function` once under the traffic ledger.

    `pixels` is the number of pixels (or points) that the work is divided by. The function
    must return the image; lines are sorted by bytes, largest first.
    """
    image, traffic = record_traffic(function, asked=asked, source_root=source_root)
    mark = fingerprint(image)
    costs = traffic.lines.items()
    lines = [LedgerLine(*place, one.count, one.bytes, one.upcast_bytes) for place, one in costs]
    return Ledger(
        workload=workload,
        pixels=pixels,
        **{name: getattr(traffic, name) for name in _TOTALS},
        bytes_by_dtype=tuple(sorted(traffic.by_dtype.items())),
        image_sum=repr(mark.total),
        image_digest=mark.digest,
        output_dtype=dtype_name(image.dtype),
        image_blocks=mark.blocks,
        lines=tuple(sorted(lines, key=lambda one: (-one.bytes, one.path, one.line, one.op, one.dtype))),
        notes=_notes(traffic, source_root),
        counts=tuple(sorted(traffic.counts.items())),
    )


def record_traffic(
    function: Callable[[], _Result], *, asked: torch.dtype = torch.float32, source_root: str
) -> tuple[_Result, Traffic]:
    """What a function returns, and the traffic of that run."""
    with repeatable(), TrafficLedger(source_root=source_root, asked=asked) as recorder:
        result = alone(function)
    return result, recorder.traffic


def start_phase(phase: Phase, traffic: Traffic, usual: Ledger | None = None) -> HostPhase:
    """What tensors do in a phase of starting up, line by line, beyond the `usual` run where one is given."""
    lines = usual.lines if usual else ()
    known = {(x.path, x.line, x.function, x.op, x.dtype): (x.count, x.bytes) for x in lines}
    counts = []
    for (path, line, func, op, dtype), cost in traffic.lines.items():
        count, moved = known.get((path, line, func, op, dtype), (0, 0))
        amounts = {HostKind.OPERATION: cost.count - count, HostKind.MOVED: cost.bytes - moved}
        more = ((kind, amount) for kind, amount in amounts.items() if amount > 0)
        counts += [HostCount(kind, path, line, func, f"{op} {dtype}", amount) for kind, amount in more]
    if (peak := traffic.peak_live_bytes - (usual.peak_live_bytes if usual else 0)) > 0:
        counts.append(HostCount(HostKind.ALIVE, *traffic.peak_line, "", peak))
    return HostPhase(phase, tuple(sorted(counts)))


@contextmanager
def repeatable() -> Iterator[None]:
    """What else would decide: when cycles are collected, and how a sum is split among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with collector_off():
            yield
    finally:
        torch.set_num_threads(threads)


def _notes(traffic: Traffic, source_root: str) -> tuple[str, ...]:
    """With TORCHDYNAMO_DISABLE torch.compile gives its argument back, so only the source tells: a loaded
    module below the root that names it in its code."""
    if COMPILED_NOTE in traffic.notes or not source_root:
        return traffic.notes
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    mine = sorted(name for name in files if name.startswith(source_root.rstrip("/") + "/"))
    return (*traffic.notes, COMPILED_NOTE) if any(map(_names_compile, mine)) else traffic.notes


@functools.cache
def _names_compile(path: str) -> bool:
    try:
        return bool(_COMPILE.search(Path(path).read_text("utf-8", "replace")))
    except OSError:
        return False


_GRID = 8


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Sum (float64), digest of the exact bits, and the means of an 8 × 8 grid of blocks."""

    total: float
    digest: str
    blocks: tuple[float, ...]


def fingerprint(image: torch.Tensor) -> Fingerprint:
    """Fingerprint of `image` of any shape; one-dimensional results are cut into 64 runs."""
    exact = image.detach().cpu().contiguous()
    digest = hashlib.sha256(exact.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
    wide = exact.to(torch.float64)
    if wide.dim() >= 2:
        rows = torch.tensor_split(wide.flatten(1), _GRID, dim=0)
        blocks = [part for row in rows for part in torch.tensor_split(row, _GRID, dim=1)]
    else:
        blocks = list(torch.tensor_split(wide.reshape(-1), _GRID * _GRID))
    means = tuple(float(block.mean()) if block.numel() else 0.0 for block in blocks)
    return Fingerprint(float(wide.sum()), digest, means)


Builds: TypeAlias = Callable[[int], tuple[Callable[[], torch.Tensor], torch.dtype]]
"""Constructs the workload with a value of the parameter; returns what it runs, and the dtype asked for."""


def record_scale(
    scale: Scale, build: Builds, *, source_root: str, clean: Callable[[str], str] = str
) -> ScaledWork:
    """What the runs of a scale count at each of its values, in a fork of this process.

    A larger value runs before them all: what the subject makes once a process is no part of any law. `clean`
    is given the text of an error.
    """

    def record() -> ScaledWork:
        run, _ = alone(functools.partial(build, 2 * scale.values[-1] - scale.values[-2]))
        alone(run)
        alone(run)
        gc.freeze()  # each ledger looks for the tensors that were there before, among all objects
        found = [_count(build, value, source_root) for value in scale.values]
        places = {place: tuple(counts[place] for counts in found) for place in set().union(*found)}
        totals = tuple(
            (one, tuple(sum(n for place, n in counts.items() if place[0] is one) for counts in found))
            for one in Quantity
        )
        lines = [LineCounts(*place, counts) for place, counts in places.items() if len(set(counts)) > 1]
        return ScaledWork(scale.name, scale.parameter, PYTHON, scale.values, totals, tuple(sorted(lines)))

    answer = forked(record, ScaledWork, root=source_root)
    if isinstance(answer, ScaledWork):
        return answer
    return ScaledWork(scale.name, scale.parameter, PYTHON, error=clean(answer))


def _count(build: Builds, value: int, source_root: str) -> Counter[tuple[Quantity, str, int, str]]:
    """All counts by quantity and line, with one value of the parameter."""
    recorder = HostRecorder(source_root, peaks={})
    with recorder.phase(Phase.CONSTRUCT):
        run, asked = alone(functools.partial(build, value))
    for phase in (Phase.FIRST, Phase.WARM):
        with recorder.phase(phase):
            alone(run)
    counts: Counter[tuple[Quantity, str, int, str]] = Counter()
    for done in recorder.phases:
        for one in done.counts:
            if one.kind in HOST_KINDS[HostMetric.STEPS]:
                counts[STEPS[done.phase], one.path, one.line, one.function] += one.amount
                if done.phase is Phase.WARM:  # a first run is counted without what a warm one does
                    counts[Quantity.FIRST, one.path, one.line, one.function] -= one.amount
    ledger = record_ledger("", run, pixels=1, asked=asked, source_root=source_root)
    for line in ledger.lines:
        place = line.path, line.line, line.function
        counts[Quantity.OPERATIONS, *place] += line.count
        counts[Quantity.BYTES, *place] += line.bytes
        counts[Quantity.UPCAST, *place] += line.upcast_bytes
    counts[Quantity.PEAK, *ledger.peak_line] = ledger.peak_live_bytes
    return counts
