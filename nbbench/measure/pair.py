"""An interleaved pair: base and head of one series in two fresh processes, and what disturbed them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from nbbench.disturbance import LEAST_COUNTED_S, Disturbance, DisturbedBy
from nbbench.measure.slices import SLICES, Sample, SidesEnded, Slices, take_slices
from nbbench.measure.warm_client import Job, JobOutcome
from nbbench.words import last_line

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


def disturbed_by(wall_s: float, others_s: float, steal_s: float, jump: float = 0.0) -> str:
    """What disturbed a measurement of so many seconds, in a few words; '' when nothing did.

    Others used CPU seconds beyond the spare cores, the hypervisor took some, and the kernels jumped.
    """
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
            disturbed = disturbed or disturbed_by(seen["wall_s"], others_s, seen["steal_s"])
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
