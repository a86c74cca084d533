"""An interleaved pair: base and head of one series in two fresh processes that run slices in turn, and what
disturbed them (docs/statistics.md).
"""

import contextlib
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from nbbench.disturbance import LEAST_COUNTED_S, Disturbance, DisturbedBy
from nbbench.measure.kernel import machine_times
from nbbench.measure.warm_client import Job, JobOutcome
from nbbench.words import last_line

SLICES = 5
"""Slices that count: more lower the noise of a round less than more rounds do (docs/statistics.md). One slice
before them does not count: in it a large workload still faults pages in and takes 10 to 40 % longer."""

SLICE_S = 0.03
"""Seconds of a slice: short against the machine's wandering, long against the hand-over (0.1 ms)."""

MOST_REPEATS = 6
"""Disturbed slices that are taken again; after that fewer than were asked for count."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The figure of one process (in the series' unit), or why there is none; `skipped` itself or failed."""

    value: float | None
    error: str = ""
    skipped: bool = False


class SidesEnded(Exception):
    """Sides that ended or skipped their benchmark, by name, with the reasons."""

    def __init__(self, sides: Mapping[str, Sample]) -> None:
        super().__init__("; ".join(f"{side}: {sample.error}" for side, sample in sides.items()))
        self.sides = dict(sides)


@dataclass(frozen=True, slots=True)
class Slices:
    """What the slices gave.

    `samples` holds the fastest sample (seconds) of each slice that counts, by side. Where every slice waited
    for a core they are the times without the waiting, and `waited` says so. `canaries` are the seconds of
    each reference kernel, (before, after) the slices, by its name and side. The slices took `wall_s`
    seconds, in which other processes used `others_s` CPU seconds and the hypervisor took `steal_s`.
    """

    samples: Mapping[str, Sequence[float]]
    canaries: Mapping[str, Mapping[str, tuple[float, float]]]
    wall_s: float
    others_s: float
    steal_s: float
    waited: bool = False


@dataclass(slots=True)
class _Side:
    """One side: its process and the line to it."""

    name: str
    job: Job
    line: "Connection[Any, Any]"
    samples: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def ask(self, order: float | None = None) -> Any:
        """Send an order (seconds of a slice, else the next step) and wait for the answer.

        Raises SidesEnded when the process ended.
        """
        try:
            self.line.send(order)
            return self.line.recv()
        except (EOFError, OSError):
            raise SidesEnded({self.name: Sample(None)}) from None

    def slice(self) -> float | None:
        """The fastest sample (seconds) of one slice; None when every sample was disturbed."""
        samples, own, cpu_s = self.ask(SLICE_S)
        self.cpu_s += cpu_s
        self.own.append(own)
        return min(samples, default=None)

    def end(self) -> str:
        """End the process; the last line that it printed."""
        self.line.close()
        return last_line(self.job.finish().output)


def take_slices(
    begin: Callable[[str, list[str], int], Job],
    names: Sequence[str],
    benchmark_dir: str,
    benchmark: str,
    random: Random,
    *,
    slices: int = SLICES,
) -> Slices:
    """Have one process for each of `names` run slices of `benchmark` (asv's id), in random orders.

    `begin(name, argv, descriptor)` starts the process of a side, which inherits the descriptor.
    Raises SidesEnded when processes do not run to the end, HostError when the warm server is gone.
    """
    argument = {"benchmark_dir": benchmark_dir, "benchmark": benchmark, "descriptor": 0}
    argv = ["call", "nbbench.probe.slices:serve_slices", json.dumps(argument)]
    with contextlib.ExitStack() as lines:
        sides: list[_Side] = []
        for name in random.sample(names, len(names)):
            ours, theirs = Pipe()
            lines.enter_context(ours)
            with theirs:
                sides.append(_Side(name, begin(name, argv, theirs.fileno()), ours))
        try:
            _set_up(sides)
            taken = _in_turn(sides, random, slices)
        except SidesEnded as ended:
            words = {side.name: side.end() for side in sides}
            said = {n: ": ".join(filter(None, (one.error, words[n]))) for n, one in ended.sides.items()}
            told = {n: replace(one, error=said[n] or "no message") for n, one in ended.sides.items()}
            raise SidesEnded(told) from None
        for side in sides:
            side.end()
    return taken


def _set_up(sides: Sequence[_Side]) -> None:
    """Set all sides up; one that fails does not keep the others from showing what they can."""
    ended: dict[str, Sample] = {}
    for side in sides:
        try:
            if side.ask() == "skipped":
                ended[side.name] = Sample(None, "skipped", skipped=True)
        except SidesEnded as failed:
            ended |= failed.sides
    if ended:
        raise SidesEnded(ended)


def _in_turn(sides: Sequence[_Side], random: Random, slices: int) -> Slices:
    """All slices with the reference kernels around them."""

    def shuffled() -> list[_Side]:
        return random.sample(sides, len(sides))

    before = {side.name: side.ask() for side in shuffled()}
    start, (busy, steal) = time.perf_counter(), machine_times()
    for side in shuffled():
        side.slice()
    for _ in range(slices + MOST_REPEATS):
        fastest = [(side, side.slice()) for side in shuffled()]
        if all(sample is not None for _, sample in fastest):
            for side, sample in fastest:
                side.samples += [sample] if sample is not None else []
        taken, tried = len(sides[0].samples), len(sides[0].own) - 1
        if taken == slices or (tried >= slices and not taken):
            break
    waited = not sides[0].samples
    wall = time.perf_counter() - start
    busy_after, steal_after = machine_times()
    after = {side.name: side.ask() for side in shuffled()}
    return Slices(
        {side.name: tuple(side.own[1:] if waited else side.samples) for side in sides},
        {
            kernel: {side: (first[kernel], after[side][kernel]) for side, first in before.items()}
            for kernel in before[sides[0].name]
        },
        wall,
        busy_after - busy - sum(side.cpu_s for side in sides),
        steal_after - steal,
        waited,
    )


KEPT = 2
"""A side's figure is the geometric mean of its fastest slices, so many: noise only adds time, and two fastest
scatter less than one (docs/statistics.md)."""

SIDES = ("base", "head")
_FROM_ZERO = 20.0


@dataclass(frozen=True, slots=True)
class Pair:
    """What one pair gave: base, head, the log-ratio of their figures, and what disturbed it ('' nothing).

    A pair that was disturbed has to be measured again.
    """

    base: Sample
    head: Sample
    log_ratio: float = math.nan
    disturbed: str = ""


def sliced_pair(
    begin: Callable[[str, list[str], int], Job],
    benchmark_dir: str,
    benchmark: str,
    random: Random,
    *,
    spare: int = 0,
) -> Pair:
    """Measure one pair of the timed `benchmark` (asv's id), both sides alive and run in slices.

    `begin(side, argv, descriptor)` starts the process of "base" or "head"; others may use `spare` cores
    without disturbing it. A side that fails has its reason in the pair. Raises HostError when the server is
    gone.
    """
    try:
        return pair_of(take_slices(begin, SIDES, benchmark_dir, benchmark, random), spare)
    except SidesEnded as ended:
        base, head = (ended.sides.get(side, Sample(None)) for side in SIDES)
        return Pair(base, head)


def pair_of(taken: Slices, spare: int = 0) -> Pair:
    """The pair that slices of "base" and "head" gave."""
    base, head = (figure(taken.samples[side]) for side in SIDES)
    return Pair(Sample(base), Sample(head), math.log(head / base), disturbed_slices(taken, spare))


def figure(samples: Sequence[float]) -> float:
    """Geometric mean of the KEPT fastest slices (seconds, at least one)."""
    return statistics.geometric_mean(sorted(samples)[:KEPT])


def disturbed_slices(taken: Slices, spare: int) -> str:
    """What disturbed slices, in a few words; '' when nothing did.

    None of it depends on which side was the faster one. The kernel that moves frames does not count for a
    jump of the machine: one that is bound by memory moved by more than 10 % in 37 % of quiet pairs, and
    their log-ratios erred no more than others (docs/statistics.md).
    """
    if taken.waited or any(len(samples) < SLICES for samples in taken.samples.values()):
        return DisturbedBy.WAITED
    moved = (abs(math.log(after / before)) for before, after in taken.canaries["arithmetic_s"].values())
    return disturbed_by(taken.wall_s, taken.others_s - spare * taken.wall_s, taken.steal_s, max(moved))


def disturbed_by(
    wall_s: float, others_s: float, steal_s: float, jump: float = 0.0, waited_s: float = 0.0
) -> str:
    """What disturbed a measurement of so many seconds, in a few words; '' when nothing did.

    Others used CPU seconds beyond the spare cores, the hypervisor took some, the kernels jumped, and it
    waited for a core.
    """
    wall = max(wall_s, LEAST_COUNTED_S)
    found = Disturbance(others_s / wall, steal_s / wall, jump, waited_s / wall)
    return found.causes[0] if found.causes else ""


def whole_pair(
    run: Callable[[str], JobOutcome], result: Path, random: Random, *, spare: int | None = None
) -> Pair:
    """Measure one pair of a benchmark that cannot be cut into slices: each side once as asv runs it.

    `run(side)` runs asv's command to its end, which writes its answer to `result`: cold starts and peak
    memory need a process of their own for each sample. A time is the median of its samples; others may use
    `spare` cores without disturbing it (None: they do not matter, as for memory).
    """
    found, disturbed = {}, ""
    for side in random.sample(SIDES, len(SIDES)):
        outcome = run(side)
        found[side] = _whole_sample(outcome, result)
        seen = outcome.telemetry
        if spare is not None and seen:
            others_s = seen["others_cpu_s"] - spare * seen["wall_s"]
            disturbed = disturbed or disturbed_by(
                seen["wall_s"], others_s, seen["steal_s"], waited_s=seen["run_delay_s"]
            )
    base, head = found["base"], found["head"]
    if base.value is None or head.value is None:
        return Pair(base, head)
    return Pair(base, head, _log_ratio(base.value, head.value), disturbed)


def _log_ratio(base: float, head: float) -> float:
    """ln(head / base); from or to zero and across it a change without end, which rounds can still count."""
    if base == head:
        return 0.0
    if base * head <= 0:
        return math.copysign(_FROM_ZERO, head - base)
    return math.log(head / base) if base > 0 else math.log(base / head)


def _whole_sample(outcome: JobOutcome, result: Path) -> Sample:
    """What one process of asv's wrote: a number, samples with the calls that each holds, or NaN (skipped)."""
    last = last_line(outcome.output)
    if outcome.exit_code:
        return Sample(None, last or "no message")
    try:
        answer = json.loads(result.read_text(encoding="utf-8"))
        value = statistics.median(answer["samples"]) if isinstance(answer, dict) else float(answer)
    except (OSError, ValueError, TypeError, KeyError) as error:
        return Sample(None, f"no figure: {error}")
    finally:
        result.unlink(missing_ok=True)
    if math.isnan(value):
        return Sample(None, f"skipped: {last}" if last else "skipped", skipped=True)
    return Sample(value)
