"""A duel: base and head of one series in two fresh processes that take turns, and what disturbed them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from nbbench.disturbance import LEAST_COUNTED_S, Disturbance, DisturbedBy
from nbbench.measure.turns import TURNS, Lost, Played, play
from nbbench.measure.warm_client import Job

KEPT = 2
"""A side's figure is the geometric mean of its fastest turns, so many: noise only adds time, and two fastest
scatter less than one (docs/statistics.md)."""

_SIDES = ("base", "head")


@dataclass(frozen=True, slots=True)
class Sample:
    """The time of one process (seconds, `figure` of its turns), or why there is none."""

    seconds: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Canaries:
    """Seconds of the canaries, each (before, after) the turns, by side."""

    frames_s: Mapping[str, tuple[float, float]]
    arithmetic_s: Mapping[str, tuple[float, float]]

    @property
    def log_ratio(self) -> float:
        """ln(head / base) of both canaries' mean: what a wandering machine adds to the workload's."""
        return statistics.fmean(
            statistics.fmean(map(math.log, found["head"])) - statistics.fmean(map(math.log, found["base"]))
            for found in (self.frames_s, self.arithmetic_s)
        )

    @property
    def jump(self) -> float:
        """Largest absolute log-ratio of the arithmetic canary between before and after, over the sides.

        The kernel that moves frames has no say: one that is bound by memory moved by more than 10 % in 37 %
        of quiet duels, and their log-ratios erred no more than others (docs/statistics.md).
        """
        return max(abs(math.log(after / before)) for before, after in self.arithmetic_s.values())


@dataclass(frozen=True, slots=True)
class Pair:
    """What one duel gave: base, head, the log-ratio of their figures, and what disturbed it ('' nothing)."""

    base: Sample
    head: Sample
    log_ratio: float = math.nan
    turns: int = 0
    repeated: int = 0
    disturbed: str = ""
    wall_s: float = 0.0
    canaries: Canaries | None = None

    @property
    def contended(self) -> bool:
        """Whether it has to be measured again."""
        return bool(self.disturbed)


def duel(
    begin: Callable[[str, list[str]], Job],
    benchmark_dir: str,
    benchmark: str,
    random: Random,
    *,
    turns: int = TURNS,
    abreast: bool = False,
    spare: int = 0,
    scratch: Path | None = None,
) -> Pair:
    """Run one duel of `benchmark` (asv's id).

    `begin(side, argv)` starts the process of "base" or "head"; `abreast` sets both up at the same time, for
    machines with cores to spare; others may use `spare` cores without disturbing it; `scratch` as in `play`.
    A side that fails has its reason in the pair. Raises HostError when the warm server is gone.
    """
    try:
        played = play(
            begin, _SIDES, benchmark_dir, benchmark, random, turns=turns, abreast=abreast, scratch=scratch
        )
    except Lost as lost:
        base, head = (Sample(None, lost.reason if side == lost.side else "") for side in _SIDES)
        return Pair(base, head)
    return judge(played, turns, spare)


def judge(played: Played, turns: int = TURNS, spare: int = 0) -> Pair:
    """The pair that the turns of "base" and "head" gave; without a figure when no turn counted."""
    canaries = Canaries(played.canaries["frames_s"], played.canaries["arithmetic_s"])
    done = len(played.samples["base"])
    if not done:  # nobody's fault: to be measured again
        nothing = Sample(None)
        return Pair(
            nothing,
            nothing,
            disturbed="every turn waited for a core",
            wall_s=played.wall_s,
            canaries=canaries,
        )
    base, head = (figure(played.samples[side]) for side in _SIDES)
    others_s = played.others_s - spare * played.wall_s
    return Pair(
        Sample(base),
        Sample(head),
        math.log(head / base),
        turns=done,
        repeated=played.tries - done,
        disturbed=disturbance(played.wall_s, others_s, played.steal_s, done < turns, canaries.jump),
        wall_s=played.wall_s,
        canaries=canaries,
    )


def figure(turns: Sequence[float]) -> float:
    """Geometric mean of the KEPT fastest turns (seconds, at least one)."""
    return statistics.geometric_mean(sorted(turns)[:KEPT])


def disturbance(wall_s: float, others_s: float, steal_s: float, short: bool, jump: float) -> str:
    """What disturbed a duel, in a few words; '' when nothing did.

    Takes the seconds of its turns, the CPU seconds that others used beyond the spare cores and that the
    hypervisor took meanwhile, whether it fell `short` of clean turns, and the canaries' jump. None of it
    depends on which side was the faster one.
    """
    if short:
        return DisturbedBy.WAITED
    wall = max(wall_s, LEAST_COUNTED_S)
    causes = Disturbance(others_s / wall, steal_s / wall, jump).causes
    return causes[0] if causes else ""
