"""What the measurements after a run say: the allocator's price, and the bandwidth that was really reached."""

from __future__ import annotations

from collections.abc import Sequence

from nbbench import units
from nbbench.analyse.causes import MALLOC_REMEDY, Contention
from nbbench.analyse.figures import times
from nbbench.captured import (
    BaselineFigure,
    BaselineLine,
    CallUsage,
    Check,
    Diagnosis,
    Figure,
    MallocTrial,
    TestRun,
)

GIB = 2**30
# AT-PERF-003's guess of what a pixel moves: 8 B in each of 3 passes.
LEGACY_BYTES_PER_PIXEL = 24
# glibc raises its dynamic mmap threshold up to this (mallopt(3), M_MMAP_THRESHOLD).
_MMAP_CEILING = 32 * 2**20
# Medians of three runs on a shared machine agree within 10 %; a quarter more is no chance.
_PENALTY = 1.25
# A frame of 512² float32 has 256 pages: ten thousand faults are dozens of frames mapped anew.
_FAULTS = 10_000
_FAULTS_RATIO = 5
_SYSTEM_SHARE = 0.15
# A fault costs about a microsecond: a hundred thousand are a tenth of a second that computes nothing.
_MANY_FAULTS = 100_000
_BUSY_SYSTEM = 0.25
# An interval that covers the median less often is no basis for a verdict (six samples cover 97 %).
_COVERAGE = 0.9


def allocator_trials(diagnosis: Diagnosis) -> list[MallocTrial]:
    """The trials in which malloc alone costs time, the worst first."""
    found = [t for t in diagnosis.trials if _malloc_costs(t, _is_disturbed(diagnosis))]
    return sorted(found, key=lambda t: -(t.cpu_penalty or 0.0))


def _is_disturbed(diagnosis: Diagnosis) -> bool:
    return Contention(diagnosis.others_share, diagnosis.steal_share, 1).disturbed


def _malloc_costs(trial: MallocTrial, disturbed: bool) -> bool:
    """Slower by default, with page faults and system time that pinning takes away."""
    if trial.default is None or trial.pinned is None:
        return False
    penalty = trial.cpu_penalty if disturbed else trial.penalty
    return (
        (penalty or 0.0) >= _PENALTY
        and trial.default.minor_faults >= max(_FAULTS, _FAULTS_RATIO * trial.pinned.minor_faults)
        and trial.default.system_share - trial.pinned.system_share >= _SYSTEM_SHARE
    )


def allocator_evidence(diagnosis: Diagnosis | None, run: TestRun, dtype: str) -> tuple[list[str], bool]:
    """Sentences about the allocator, with the remedy (empty where it costs nothing), and whether
    it explains the test's figures: those of another dtype than the test's it does not.

    Without a trial the test's own page faults are the evidence.
    """
    trials = allocator_trials(diagnosis) if diagnosis else []
    usage = max((t.usage for t in run.tests if t.usage), key=lambda u: u.repeated_faults, default=None)
    suspect = usage is not None and _maps_again(usage)
    tried = diagnosis is not None and any(t.penalty is not None for t in diagnosis.trials)
    if not trials and (tried or not suspect):
        return [], False
    told = [_trial_sentence(t, _is_disturbed(diagnosis), dtype) for t in trials] if diagnosis else []
    if usage is not None and usage.minor_faults:
        again = f", {usage.repeated_faults:,} of them on memory it had before," if suspect else ""
        told.append(
            f"allocator: the test's own call met {usage.minor_faults:,} minor page faults{again} "
            f"and spent {usage.system_share:.0%} of its CPU time in the system"
        )
    explains = suspect or any(not dtype or t.dtype == dtype for t in trials)
    return [*told, f"allocator remedy: {MALLOC_REMEDY}"], explains


def _maps_again(usage: CallUsage) -> bool:
    """Whether a call was busy with memory that it gave back and got again."""
    return usage.repeated_faults >= _MANY_FAULTS and usage.system_share >= _BUSY_SYSTEM


def _trial_sentence(trial: MallocTrial, disturbed: bool, dtype: str) -> str:
    default, pinned = trial.default, trial.pinned
    assert default is not None and pinned is not None
    other = f" (the test computes in {dtype})" if dtype not in ("", trial.dtype) else ""
    if disturbed:
        kind, before, after, factor = "CPU time", default.cpu_s, pinned.cpu_s, trial.cpu_penalty
    else:
        kind, before, after, factor = "time", default.wall_s, pinned.wall_s, trial.penalty
    return (
        f"allocator: at {trial.size}² {trial.dtype}{other} malloc makes a warm run {factor or 0:.2g} times "
        f"as long ({kind} {units.format_seconds(before)}, with its thresholds pinned "
        f"{units.format_seconds(after)}; "
        f"{default.minor_faults:,} minor page faults against {pinned.minor_faults:,}, "
        f"{default.system_share:.0%} system time against {pinned.system_share:.0%}){_reason(trial)}"
    )


def _reason(trial: MallocTrial) -> str:
    frame = trial.size**2 * (8 if trial.dtype == "float64" else 4)
    if frame >= _MMAP_CEILING:
        return (
            f": each temporary of {frame / 1e6:.1f} MB is above the largest block that glibc keeps (32 MiB), "
            "so it is mapped, faulted in and unmapped every time"
        )
    return ": freed temporaries go back to the system and are faulted in again"


def pinned_ratio(diagnosis: Diagnosis, checks: Sequence[Check]) -> list[str]:
    """AT-PERF-003's ratio of large to small in the trials, with and without the allocator's share."""
    check = next((c for c in checks if "bandwidth" in c.name and c.op == ">="), None)
    if check is None:
        return []
    told = []
    for dtype in dict.fromkeys(t.dtype for t in diagnosis.trials):
        pairs = sorted((t for t in diagnosis.trials if t.dtype == dtype), key=lambda t: t.size)
        ratios = [r for pinned in (False, True) if (r := _ratio(pairs, pinned)) is not None]
        if len(ratios) == 2:
            told.append(
                f"in {dtype} the bandwidth ratio {pairs[-1].size}²/{pairs[0].size}² is {ratios[0]:.2f} "
                f"by default and {ratios[1]:.2f} with malloc pinned "
                f"(CPU time; the test asks for >= {check.threshold:g})"
            )
    return told


def _ratio(pairs: Sequence[MallocTrial], pinned: bool) -> float | None:
    """bandwidth(large)/bandwidth(small) in CPU time; None where a trial is missing."""
    if len(pairs) < 2:
        return None
    small, large = (t.pinned if pinned else t.default for t in (pairs[0], pairs[-1]))
    if small is None or large is None or not large.cpu_s:
        return None
    return (pairs[-1].size / pairs[0].size) ** 2 * small.cpu_s / large.cpu_s


def legacy_bandwidths(figures: Sequence[Figure]) -> dict[int, float]:
    """AT-PERF-003's own figure in B/s, from the printed times, which are finer than printed GB/s."""
    return {
        size: size * size * LEGACY_BYTES_PER_PIXEL / figure.value
        for size, figure in times(figures).items()
        if figure.value > 0
    }


def dtype_of_test(diagnosis: Diagnosis, figures: Sequence[Figure]) -> str:
    """The dtype that the test's figures are in: what they say, or else the subject's default."""
    told = {f.dtype for f in figures if f.dtype}
    return told.pop() if len(told) == 1 else diagnosis.default_dtype


def achieved(diagnosis: Diagnosis, figures: Sequence[Figure]) -> dict[int, tuple[float, float | None]]:
    """By size: bytes a second that the ledger's bytes over the test's time make, and the share of the
    copy ceiling (None where that is not known)."""
    dtype = dtype_of_test(diagnosis, figures)
    found: dict[int, tuple[float, float | None]] = {}
    for size, figure in times(figures).items():
        trial = diagnosis.trial(size, dtype)
        if trial is None or trial.ledger is None or figure.value <= 0:
            continue
        rate = trial.ledger.bytes / figure.value
        ceiling = diagnosis.copy_test_bytes_per_s
        found[size] = rate, rate / ceiling if ceiling else None
    return found


def ledger_view(diagnosis: Diagnosis, figures: Sequence[Figure]) -> list[str]:
    """The test's legacy figure beside what the ledger says was moved, and the ceiling."""
    told, legacy = [], legacy_bandwidths(figures)
    dtype = dtype_of_test(diagnosis, figures)
    for size, (rate, share) in sorted(achieved(diagnosis, figures).items()):
        trial = diagnosis.trial(size, dtype)
        assert trial is not None and trial.ledger is not None
        ceiling = units.format_value(diagnosis.copy_test_bytes_per_s, "B/s")
        fraction = "" if share is None else f", {share:.0%} of the copy ceiling ({ceiling}, same threads)"
        told.append(
            f"{size}² {dtype}: the legacy figure is {legacy[size] / GIB:.3g} GiB/s "
            "(pixels · 8 B · 3 passes, a guess); "
            f"the ledger counts {trial.ledger.bytes_per_pixel:,.0f} B/pixel, so the test really moved "
            f"{units.format_value(rate, 'B/s')}{fraction}"
        )
    return told


def against_baseline(
    diagnosis: Diagnosis, baseline: Sequence[BaselineFigure], floor: float
) -> tuple[BaselineLine, ...]:
    """Pinned runs of the diagnosis against the intervals that the database has for this machine.

    Only an interval allows `no regression`: every run must lie below its end, widened by `floor`.
    """
    lines = []
    for figure in baseline:
        trial = diagnosis.trial(figure.size, figure.dtype)
        if trial is None or trial.pinned is None:
            continue
        now, word, why = trial.pinned, "cannot tell", ""
        if figure.coverage < _COVERAGE:
            why = f"too few samples for an interval: {figure.samples}"
        elif _is_disturbed(diagnosis):
            why = f"others used {diagnosis.others_share:.2f} cores meanwhile"
        elif now.fastest_s > figure.hi * (1 + floor):
            word = "slower"
        elif now.slowest_s < figure.lo * (1 - floor):
            word = "faster"
        elif now.slowest_s <= figure.hi * (1 + floor):
            word = "no regression"
        else:
            why = "the runs scatter beyond the interval"
        lines.append(BaselineLine(figure, now.wall_s, word, why))
    return tuple(lines)
