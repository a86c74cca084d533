"""Whether the machine was busy with something else while it measured: one notion, all limits here.

Four signs tell it. *waited* is what a process felt itself: it was ready to run and had no core. *steal* is
time that the hypervisor gave to other guests. *others* are processors that other processes used meanwhile.
*canary* is how far the time of a reference kernel moved, a fixed program that is timed beside the benchmark.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, median

from nbbench.model import ProcessRecord

WAITED_SHARE = 0.05
"""Share of its wall time that a process waited for a core or lost to the hypervisor. The median over the
processes of a result was 2.6 % at most in the committed histories of an idle machine (435 results), and 5 %
is the least change that is reported."""

SAMPLE_WAITED_SHARE = 0.02
"""The same share for a single sample of an interleaved pair, which is simply taken again. It is of the size
of the effects that are looked for."""

OTHERS_CORES = 0.20
"""Processors that others use beyond those that the workload leaves free. The gate's error rates
(docs/statistics.md) were recorded with this limit."""

STEAL_SHARE = 0.03
"""Share of the time that the hypervisor takes; recorded with the gate's error rates as well."""

MACHINE_MOVED = math.log(1.10)
"""Log ratio from which on a reference kernel or a ceiling says that the machine's speed changed. Medians of
five agree within a few per cent on one machine."""

BUSY_LOAD = 0.5
"""Load average for each processor above which a session is said to begin on a busy machine."""

LEAST_WALL_S = 0.05
"""Shorter processes are mostly start-up: their shares mean nothing."""

LEAST_COUNTED_S = 0.2
"""/proc/stat counts in steps of 10 ms: shares of a shorter time mean nothing."""


class DisturbedBy(StrEnum):
    """What disturbed a measurement, in the words that are shown."""

    WAITED = "waited for a core"
    STEAL = "the hypervisor took time"
    OTHERS = "other processes ran"
    CANARY = "the reference kernel's time jumped"


LIMITS = {
    DisturbedBy.WAITED: WAITED_SHARE,
    DisturbedBy.STEAL: STEAL_SHARE,
    DisturbedBy.OTHERS: OTHERS_CORES,
    DisturbedBy.CANARY: MACHINE_MOVED,
}
"""From where on each sign counts, the surest sign first."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """How much others disturbed a measurement.

    `others` in processors, `steal` and `waited` as shares of the wall time (0.1 = 10 %), `canary` as the log
    ratio of a reference kernel's times; `waited` is None where it is not on record. `processes` says how many
    measuring processes this rests on: of none nothing is known.
    """

    others: float = 0.0
    steal: float = 0.0
    canary: float = 0.0
    waited: float | None = None
    processes: int = 1

    @property
    def causes(self) -> tuple[DisturbedBy, ...]:
        """Every sign that is above its limit, the surest first."""
        return tuple(sign for sign, limit in LIMITS.items() if self.size(sign) > limit)

    def size(self, sign: DisturbedBy) -> float:
        """How large one sign is, in the unit of its limit; 0.0 where it is not on record."""
        return {
            DisturbedBy.WAITED: self.waited or 0.0,
            DisturbedBy.STEAL: self.steal,
            DisturbedBy.OTHERS: self.others,
            DisturbedBy.CANARY: abs(self.canary),
        }[sign]

    @property
    def disturbed(self) -> bool:
        """Whether timings made under this should be taken again."""
        return bool(self.causes)


def disturbance_of(record: ProcessRecord) -> Disturbance | None:
    """How much others disturbed one benchmark process; None where it is too short or no benchmark."""
    if record.kind != "run" or record.wall_s < LEAST_WALL_S:
        return None
    delay = dict(record.extra).get("run_delay_s")
    return Disturbance(
        others=record.others_cpu_s / record.wall_s,
        steal=record.steal_s / record.wall_s,
        waited=None if delay is None else float(delay) / record.wall_s,
    )


def mean_disturbance(records: Iterable[ProcessRecord]) -> Disturbance:
    """The mean over benchmark processes: how busy the machine was while all of them ran."""
    found = [one for record in records if (one := disturbance_of(record)) is not None]
    if not found:
        return Disturbance(processes=0)
    waits = [one.waited for one in found if one.waited is not None]
    return Disturbance(
        others=fmean(one.others for one in found),
        steal=fmean(one.steal for one in found),
        waited=fmean(waits) if waits else None,
        processes=len(found),
    )


def typical_kept_waiting(disturbances: Iterable[Disturbance]) -> bool:
    """Whether the typical process of a result was kept waiting, which is what the result is left out for.

    A process says itself what it felt. Others that run on a spare core cost it nothing, so their processor
    time alone does not count. False where no process has its waiting on record.
    """
    shares = [one.waited + one.steal for one in disturbances if one.waited is not None]
    return bool(shares) and median(shares) > WAITED_SHARE


def busy_load(load: float | None, processors: int) -> bool:
    """Whether a load average says that others are at work already; False where there is none."""
    return load is not None and load > BUSY_LOAD * processors
