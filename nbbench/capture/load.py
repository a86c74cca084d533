"""How much others disturbed the calls of captured tests, and what is said of it. No I/O."""

from __future__ import annotations

from nbbench import units
from nbbench.captured import CallUsage, TestRun
from nbbench.disturbance import LEAST_COUNTED_S, WAITED_SHARE, Disturbance

# A call that got this share of the cores that its threads can fill was not kept from them, whoever else ran.
_GOT_ITS_CORES = 0.95


def contention_of(run: TestRun) -> Disturbance:
    """How much others disturbed the calls of the tests, as shares of their wall time."""
    calls = [t.usage for t in run.tests if t.usage is not None and t.usage.wall_s >= LEAST_COUNTED_S]
    wall = sum(u.wall_s for u in calls)
    if not wall:
        return Disturbance(processes=0)
    others = sum(u.others_cpu_s for u in calls if not _had_its_cores(u, run.cores))
    return Disturbance(others / wall, sum(u.steal_s for u in calls) / wall, processes=len(calls))


def _had_its_cores(usage: CallUsage, cores: int) -> bool:
    """Whether a call computed all the time, or hardly waited for a core: then nobody kept it from one.

    Where its own threads share a core they wait for each other, and only the first sign tells.
    """
    able = min(cores or 1, max(1, usage.torch_threads))
    if usage.user_s + usage.system_s >= _GOT_ITS_CORES * able * usage.wall_s:
        return True
    crowded = usage.torch_threads > cores
    delay = usage.run_delay_s
    return delay is not None and not crowded and delay <= WAITED_SHARE * usage.wall_s


def is_crowded(run: TestRun) -> bool:
    """More threads than cores: a team of threads waits for its slowest member at every operation."""
    return 0 < run.cores < run.torch_threads


def contention_sentences(load: Disturbance, run: TestRun) -> list[str]:
    """What disturbed the calls: other processes, or the test's own threads."""
    told = []
    if load.disturbed:
        switches = sum(t.usage.involuntary_switches for t in run.tests if t.usage)
        waits = [t.usage.run_delay_s for t in run.tests if t.usage and t.usage.run_delay_s is not None]
        known = bool(waits) and not is_crowded(run)  # of a crowd most is waiting for each other
        waited = f"its threads waited {units.format_seconds(sum(waits))} for a core, " if known else ""
        told.append(
            f"contention: others used {load.others:.2f} cores meanwhile of the "
            f"{run.cores or 'unknown number'} that the test may use ({waited}steal {load.steal:.1%}, "
            f"{switches:,} involuntary switches), so its times say little"
        )
    if is_crowded(run):
        told.append(
            f"contention: {run.torch_threads} torch threads share {run.cores} "
            f"core{'s' if run.cores > 1 else ''}, so threads wait for each other"
        )
    return told
