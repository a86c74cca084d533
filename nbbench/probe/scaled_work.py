"""Recording a scale: one workload at several small values of its parameter, tensors and Python together."""

import gc
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch

from nbbench.growth import STEPS, LineCounts, Quantity, ScaledWork
from nbbench.host import HOST_KINDS, PYTHON, HostMetric
from nbbench.model import Phase
from nbbench.probe.forked import forked
from nbbench.probe.host_work import HostRecorder
from nbbench.probe.resources import alone
from nbbench.probe.workload import record_ledger
from nbbench.workloads import Scale

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
        run, _ = alone(partial(build, 2 * scale.values[-1] - scale.values[-2]))
        alone(run)
        alone(run)
        gc.freeze()  # each ledger looks for the tensors that were there before, among all objects
        found = [_count(build, value, source_root) for value in scale.values]
        places = {place: tuple(counts[place] for counts in found) for place in set().union(*found)}
        mine = {one: [counts for place, counts in places.items() if place[0] is one] for one in Quantity}
        none = (0,) * len(found)
        totals = tuple(
            (one, tuple(map(sum, zip(none, *counts, strict=True)))) for one, counts in mine.items()
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
        run, asked = alone(partial(build, value))
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
