"""The subject's bandwidth test beside what was measured apart: what was really moved, and malloc's price.

No I/O. The test's own figure is a guess of bytes over a time; the ledger counts the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbbench import units
from nbbench.capture.figures import times
from nbbench.captured import (
    BandwidthFigure,
    CallUsage,
    Check,
    Diagnosis,
    Figure,
    MallocTrial,
    TestRun,
)
from nbbench.disturbance import LEAST_COUNTED_S, WAITED_SHARE, Disturbance

_LEGACY_TOLERANCE = 0.05  # printed times have two digits and more; the guesses differ by half
# Medians of three runs on a shared machine agree within 10 %; a quarter more is no chance.
_PENALTY = 1.25
# A frame of 512² float32 has 256 pages: ten thousand faults are dozens of frames mapped anew.
_FAULTS = 10_000
_FAULTS_RATIO = 5
_SYSTEM_SHARE = 0.15
# A fault costs about a microsecond: a hundred thousand are a tenth of a second that computes nothing.
_MANY_FAULTS = 100_000
_BUSY_SYSTEM = 0.25
# A call that got this share of the cores that its threads can fill was not kept from them, whoever else ran.
_GOT_ITS_CORES = 0.95


def disturbance_of_calls(run: TestRun) -> Disturbance:
    """How much others disturbed the calls of the tests."""
    calls = [usage for usage in run.usages if usage.wall_s >= LEAST_COUNTED_S]
    wall = sum(usage.wall_s for usage in calls)
    if not wall:
        return Disturbance(processes=0)
    others = sum(usage.others_cpu_s for usage in calls if not _had_its_cores(usage, run.cores))
    return Disturbance(others / wall, sum(u.steal_s for u in calls) / wall, processes=len(calls))


def _had_its_cores(usage: CallUsage, cores: int) -> bool:
    """Whether a call computed all the time, or hardly waited for a core: then nobody kept it from one.

    Where its own threads share a core they wait for each other, and only the first sign tells.
    """
    able = min(cores or 1, max(1, usage.torch_threads))
    if usage.cpu_s >= _GOT_ITS_CORES * able * usage.wall_s:
        return True
    delay = usage.run_delay_s
    return delay is not None and usage.torch_threads <= cores and delay <= WAITED_SHARE * usage.wall_s


def maps_again(usage: CallUsage | None) -> bool:
    """Whether a call was busy with memory that it gave back and got again."""
    return usage is not None and usage.repeated_faults >= _MANY_FAULTS and usage.system_share >= _BUSY_SYSTEM


def costly_trials(diagnosis: Diagnosis | None) -> tuple[MallocTrial, ...]:
    """The trials in which malloc alone costs time, the worst first; none where others were busy meanwhile."""
    if diagnosis is None or diagnosis.disturbance.disturbed:
        return ()
    return tuple(sorted(filter(_malloc_costs, diagnosis.trials), key=lambda trial: -(trial.penalty or 0.0)))


def _malloc_costs(trial: MallocTrial) -> bool:
    """Slower by default, with page faults and system time that pinning takes away."""
    if trial.default is None or trial.pinned is None:
        return False
    return (
        (trial.penalty or 0.0) >= _PENALTY
        and trial.default.minor_faults >= max(_FAULTS, _FAULTS_RATIO * trial.pinned.minor_faults)
        and trial.default.system_share - trial.pinned.system_share >= _SYSTEM_SHARE
    )


def dtype_of_test(diagnosis: Diagnosis | None, figures: Sequence[Figure]) -> str:
    """The dtype that the test's figures are in: what they say, or else the subject's default."""
    named = {figure.dtype for figure in figures if figure.dtype}
    return named.pop() if len(named) == 1 else diagnosis.default_dtype if diagnosis else ""


def legacy_bytes_per_pixel(figures: Sequence[Figure], guesses: Sequence[int]) -> int:
    """The guess that printed GB/s and printed times agree on; the first where they fit several or none."""
    timed = {size: figure.value for size, figure in times(figures).items() if figure.value > 0}
    printed = [f for f in figures if f.kind == "bandwidth" and f.size in timed and f.resolution]

    def fits(guess: int, figure: Figure) -> bool:
        rate = figure.size**2 * guess / timed[figure.size]
        slack = figure.resolution + _LEGACY_TOLERANCE * figure.value
        return any(abs(rate / unit - figure.value) <= slack for unit in (1e9, units.GIB))

    fitting = [guess for guess in guesses if all(fits(guess, figure) for figure in printed)]
    return (fitting or guesses)[0]


def bandwidths_of(
    diagnosis: Diagnosis | None, figures: Sequence[Figure], legacy: int
) -> tuple[BandwidthFigure, ...]:
    """By size: the test's figure, from printed times (finer than printed GB/s), and the ledger's."""
    dtype, found = dtype_of_test(diagnosis, figures), []
    for size, figure in sorted(times(figures).items()):
        if figure.value <= 0:
            continue
        row = BandwidthFigure(size, size * size * legacy / figure.value)
        trial = diagnosis.trial(size, dtype) if diagnosis and not diagnosis.not_comparable else None
        if diagnosis and trial and trial.ledger:
            ceiling = None if diagnosis.disturbance.disturbed else diagnosis.copy_test_bytes_per_s
            rate = trial.ledger.bytes / figure.value
            share = rate / ceiling if ceiling else None
            row = replace(row, dtype=dtype, per_pixel=trial.ledger.bytes_per_pixel, rate=rate, share=share)
        found.append(row)
    return tuple(found)


def with_dtype(checks: Sequence[Check], dtype: str) -> tuple[Check, ...]:
    """The checks, those of bandwidths and times with the dtype that they were computed in."""
    timed = ("bandwidth", "time")
    return tuple(replace(c, dtype=dtype) if any(w in c.name for w in timed) else c for c in checks)
