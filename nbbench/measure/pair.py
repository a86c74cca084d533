"""An interleaved pair: base and head of one series in two fresh processes, and what disturbed them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from nbbench.disturbance import LEAST_COUNTED_S, Disturbance, DisturbedBy
from nbbench.measure.slices import SLICES, SidesEnded, Slices, take_slices
from nbbench.measure.warm_client import Job, JobOutcome
from nbbench.words import last_line

KEPT = 2
"""A side's figure is the geometric mean of its fastest slices, so many: noise only adds time, and two fastest
scatter less than one (docs/statistics.md)."""

SIDES = ("base", "head")
_FROM_ZERO = 20.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The figure of one process (in the series' unit), or why there is none; `skipped` itself or failed."""

    value: float | None
    error: str = ""
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceTimes:
    """Seconds of the reference kernels, each (before, after) the slices, by side."""

    frames_s: Mapping[str, tuple[float, float]]
    arithmetic_s: Mapping[str, tuple[float, float]]

    @property
    def log_ratio(self) -> float:
        """ln(head / base) of both kernels' mean: what a wandering machine adds to the workload's."""
        return statistics.fmean(
            statistics.fmean(map(math.log, found["head"])) - statistics.fmean(map(math.log, found["base"]))
            for found in (self.frames_s, self.arithmetic_s)
        )

    @property
    def jump(self) -> float:
        """Largest absolute log-ratio of the arithmetic kernel between before and after, over the sides.

        The kernel that moves frames does not count: one that is bound by memory moved by more than 10 % in
        37 % of quiet pairs, and their log-ratios erred no more than others (docs/statistics.md).
        """
        return max(abs(math.log(after / before)) for before, after in self.arithmetic_s.values())


@dataclass(frozen=True, slots=True)
class Pair:
    """What one pair gave: base, head, the log-ratio of their figures, and what disturbed it ('' nothing).

    A pair that was disturbed has to be measured again.
    """

    base: Sample
    head: Sample
    log_ratio: float = math.nan
    repeated: int = 0
    disturbed: str = ""
    wall_s: float = 0.0
    canaries: ReferenceTimes | None = None


def sliced_pair(
    begin: Callable[[str, list[str]], Job],
    benchmark_dir: str,
    benchmark: str,
    random: Random,
    *,
    abreast: bool = False,
    spare: int = 0,
    scratch: Path | None = None,
) -> Pair:
    """Measure one pair of the timed `benchmark` (asv's id), both sides alive and run in slices.

    `begin(side, argv)` starts the process of "base" or "head"; `abreast` sets both up at the same time, for
    machines with cores to spare; others may use `spare` cores without disturbing it; `scratch` as in
    `take_slices`. A side that fails has its reason in the pair. Raises HostError when the server is gone.
    """
    try:
        taken = take_slices(begin, SIDES, benchmark_dir, benchmark, random, abreast=abreast, scratch=scratch)
    except SidesEnded as ended:
        found = [ended.sides.get(side) for side in SIDES]
        base, head = (Sample(None, end.reason, end.skipped) if end else Sample(None) for end in found)
        return Pair(base, head)
    return pair_of(taken, spare)


def pair_of(taken: Slices, spare: int = 0) -> Pair:
    """The pair that slices of "base" and "head" gave; without a figure when no slice counted."""
    canaries = ReferenceTimes(taken.canaries["frames_s"], taken.canaries["arithmetic_s"])
    done = len(taken.samples["base"])
    if not done:  # nobody's fault: to be measured again
        why = "every slice waited for a core"
        return Pair(Sample(None), Sample(None), disturbed=why, wall_s=taken.wall_s, canaries=canaries)
    base, head = (figure(taken.samples[side]) for side in SIDES)
    others_s = taken.others_s - spare * taken.wall_s
    return Pair(
        Sample(base),
        Sample(head),
        math.log(head / base),
        repeated=taken.tries - done,
        disturbed=disturbed_by(taken.wall_s, others_s, taken.steal_s, done < SLICES, canaries.jump),
        wall_s=taken.wall_s,
        canaries=canaries,
    )


def figure(samples: Sequence[float]) -> float:
    """Geometric mean of the KEPT fastest slices (seconds, at least one)."""
    return statistics.geometric_mean(sorted(samples)[:KEPT])


def disturbed_by(wall_s: float, others_s: float, steal_s: float, short: bool, jump: float) -> str:
    """What disturbed a pair, in a few words; '' when nothing did.

    Takes the seconds of its slices, the CPU seconds that others used beyond the spare cores and that the
    hypervisor took meanwhile, whether it fell `short` of clean slices, and the kernels' jump. None of it
    depends on which side was the faster one.
    """
    if short:
        return DisturbedBy.WAITED
    wall = max(wall_s, LEAST_COUNTED_S)
    found = Disturbance(others=others_s / wall, steal=steal_s / wall, canary=jump)
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
            disturbed = disturbed or disturbed_by(seen["wall_s"], others_s, seen["steal_s"], False, 0.0)
    base, head = found["base"], found["head"]
    if base.value is None or head.value is None:
        return Pair(base, head)
    return Pair(base, head, _log_ratio(base.value, head.value), disturbed=disturbed)


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
