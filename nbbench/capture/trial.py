"""What the measurements after a run say: the allocator's price, and the bandwidth that was really reached."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nbbench import units
from nbbench.capture.figures import times
from nbbench.capture.malloc_setting import MMAP_CEILING
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
from nbbench.disturbance import Disturbance
from nbbench.work.allocator_cost import MALLOC_REMEDY

GIB = 2**30
# AT-PERF-003's guess of what a pixel moves: 8 B in each of 3 passes; until about 2025-10 it took 4 B.
LEGACY_BYTES_PER_PIXEL = (24, 12)
_LEGACY_TOLERANCE = 0.05  # printed times have two digits and more; the two guesses differ by half
# Medians of three runs on a shared machine agree within 10 %; a quarter more is no chance.
_PENALTY = 1.25
# A frame of 512² float32 has 256 pages: ten thousand faults are dozens of frames mapped anew.
_FAULTS = 10_000
_FAULTS_RATIO = 5
_SYSTEM_SHARE = 0.15
# A fault costs about a microsecond: a hundred thousand are a tenth of a second that computes nothing.
_MANY_FAULTS = 100_000
_BUSY_SYSTEM = 0.25
_RATIO_MOVED = 0.1
# An interval that covers the median less often is no basis for a verdict (six samples cover 97 %).
_COVERAGE = 0.9


def allocator_trials(diagnosis: Diagnosis) -> list[MallocTrial]:
    """The trials in which malloc alone costs time, the worst first."""
    found = [t for t in diagnosis.trials if _malloc_costs(t, is_disturbed(diagnosis))]
    return sorted(found, key=lambda t: -(t.cpu_penalty or 0.0))


def is_disturbed(diagnosis: Diagnosis) -> bool:
    """Whether others were busy on the cores that the diagnosis ran on."""
    return Disturbance(diagnosis.others_share, diagnosis.steal_share).disturbed


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
    told = _trial_sentences(diagnosis, trials, dtype, "allocator: ") if diagnosis else []
    if usage is not None and usage.repeated_faults >= _FAULTS:
        told.append(f"allocator: the test's own call {_faults(usage)}")
    explains = suspect or any(not dtype or t.dtype == dtype for t in trials)
    return [*told, f"allocator remedy: {MALLOC_REMEDY}"], explains


def pinned_evidence(diagnosis: Diagnosis | None, run: TestRun, dtype: str, setting: str) -> list[str]:
    """Sentences about a run whose environment already pins malloc by `setting`: what is left, and what
    the trials without it would have cost."""
    usage = max((t.usage for t in run.tests if t.usage), key=lambda u: u.minor_faults, default=None)
    told = f"malloc's thresholds are pinned by {setting} in the command's environment"
    if "LD_PRELOAD" in setting:
        told = f"glibc's malloc is replaced by {setting} in the command's environment"
    if usage is None:
        return [told]
    if _maps_again(usage):
        told += f", and yet the test's own call {_faults(usage)}: something else maps memory anew"
    else:
        told += (
            f", so the allocator is out of the way: what is left is that the test's own call {_faults(usage)}"
        )
    trials = allocator_trials(diagnosis) if diagnosis else []
    own = [trial for trial in trials if dtype in ("", trial.dtype)]
    return [told, *(_trial_sentences(diagnosis, own, dtype, f"without {setting}: ") if diagnosis else [])]


def _faults(usage: CallUsage) -> str:
    return (
        f"met {usage.minor_faults:,} minor page faults, {usage.repeated_faults:,} of them on memory it had "
        f"before, and spent {usage.system_share:.0%} of its CPU time in the system"
    )


def _trial_sentences(
    diagnosis: Diagnosis, trials: Sequence[MallocTrial], dtype: str, prefix: str
) -> list[str]:
    """A sentence a trial, those of the test's own dtype first."""
    ranked = sorted(trials, key=lambda trial: dtype not in ("", trial.dtype))
    return [prefix + _trial_sentence(trial, is_disturbed(diagnosis), dtype) for trial in ranked]


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
        f"at {trial.size}² {trial.dtype}{other} malloc makes a warm run {factor or 0:.2g} times "
        f"as long ({kind} {units.format_seconds(before)}, with its thresholds pinned "
        f"{units.format_seconds(after)}; "
        f"{default.minor_faults:,} minor page faults against {pinned.minor_faults:,}, "
        f"{default.system_share:.0%} system time against {pinned.system_share:.0%}){_reason(trial)}"
    )


def _reason(trial: MallocTrial) -> str:
    frame = trial.size**2 * (8 if trial.dtype == "float64" else 4)
    if frame >= MMAP_CEILING:
        return (
            f": each temporary of {frame / 1e6:.1f} MB is above the largest block that glibc keeps (32 MiB), "
            "so it is mapped, faulted in and unmapped every time"
        )
    return ": freed temporaries go back to the system and are faulted in again"


def pinned_ratio(diagnosis: Diagnosis, checks: Sequence[Check], own: str = "") -> list[str]:
    """AT-PERF-003's ratio of large to small in the trials, with and without the allocator's share.

    `own` is the dtype that the test computes in.
    """
    check = next((c for c in checks if "bandwidth" in c.name and c.op == ">="), None)
    if check is None:
        return []
    told = []
    for dtype in dict.fromkeys(t.dtype for t in diagnosis.trials):
        pairs = sorted((t for t in diagnosis.trials if t.dtype == dtype), key=lambda t: t.size)
        ratios = [r for pinned in (False, True) if (r := _ratio(pairs, pinned)) is not None]
        if len(ratios) == 2:
            default, pinned = (f"{r:.3g} ({_holds(r, check.threshold)})" for r in ratios)
            sizes = f"{pairs[-1].size}²/{pairs[0].size}²"
            told.append(
                f"in {dtype} the bandwidth ratio {sizes} of warm runs is {default} by default and "
                f"{pinned} with malloc pinned (CPU time; the test asks for >= {check.threshold:g})"
                + _why_other(check, ratios[0], dtype, own)
            )
    return told


def _holds(ratio: float, threshold: float) -> str:
    return "holds" if ratio >= threshold else "does not hold"


def _why_other(check: Check, ratio: float, dtype: str, own: str) -> str:
    """Why the test's own ratio is another one, where it is."""
    if dtype != own or not check.value or abs(math.log(check.value / ratio)) <= _RATIO_MOVED:
        return ""
    return (
        f"; the test's own {check.value:.3g} is of one process that runs every size in turn, on the heap "
        "that the sizes before left"
    )


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
    guess = legacy_bytes_per_pixel(figures)
    return {
        size: size * size * guess / figure.value
        for size, figure in times(figures).items()
        if figure.value > 0
    }


def legacy_bytes_per_pixel(figures: Sequence[Figure]) -> int:
    """The guess that printed GB/s and printed times agree on; today's where they fit several or none."""
    timed = {size: figure.value for size, figure in times(figures).items() if figure.value > 0}
    printed = [f for f in figures if f.kind == "bandwidth" and f.size in timed and f.resolution]

    def fits(guess: int, figure: Figure) -> bool:
        rate = figure.size**2 * guess / timed[figure.size]
        slack = figure.resolution + _LEGACY_TOLERANCE * figure.value
        return any(abs(rate / unit - figure.value) <= slack for unit in (1e9, GIB))

    fitting = [guess for guess in LEGACY_BYTES_PER_PIXEL if all(fits(guess, f) for f in printed)]
    return (fitting or LEGACY_BYTES_PER_PIXEL)[0]


def dtype_of_test(diagnosis: Diagnosis, figures: Sequence[Figure]) -> str:
    """The dtype that the test's figures are in: what they say, or else the subject's default."""
    told = {f.dtype for f in figures if f.dtype}
    return told.pop() if len(told) == 1 else diagnosis.default_dtype


def achieved(diagnosis: Diagnosis, figures: Sequence[Figure]) -> dict[int, tuple[float, float | None]]:
    """By size: bytes a second that the ledger's bytes over the test's time make, and the share of the
    copy ceiling (None where that is not known, or was measured while others were busy)."""
    if diagnosis.not_comparable:
        return {}
    dtype = dtype_of_test(diagnosis, figures)
    found: dict[int, tuple[float, float | None]] = {}
    for size, figure in times(figures).items():
        trial = diagnosis.trial(size, dtype)
        if trial is None or trial.ledger is None or figure.value <= 0:
            continue
        rate = trial.ledger.bytes / figure.value
        ceiling = None if is_disturbed(diagnosis) else diagnosis.copy_test_bytes_per_s
        found[size] = rate, rate / ceiling if ceiling else None
    return found


def ledger_view(diagnosis: Diagnosis, figures: Sequence[Figure]) -> list[str]:
    """The test's legacy figure beside what the ledger says was moved, and the ceiling."""
    told, legacy, guess = [], legacy_bandwidths(figures), legacy_bytes_per_pixel(figures)
    dtype = dtype_of_test(diagnosis, figures)
    for size, (rate, share) in sorted(achieved(diagnosis, figures).items()):
        trial = diagnosis.trial(size, dtype)
        assert trial is not None and trial.ledger is not None
        ceiling = units.format_value(diagnosis.copy_test_bytes_per_s, "B/s")
        fraction = "" if share is None else f", {share:.0%} of the copy ceiling ({ceiling}, same threads)"
        if diagnosis.copy_test_bytes_per_s and is_disturbed(diagnosis):
            fraction = f" (others were busy while the copy ceiling was measured, {ceiling}: no share of it)"
        told.append(
            f"{size}² {dtype}: the legacy figure is {legacy[size] / GIB:.3g} GiB/s "
            f"(pixels · {guess // 3} B · 3 passes, a guess); "
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
        elif is_disturbed(diagnosis):
            why = f"others used {diagnosis.others_share:.2f} cores that the diagnosis may use"
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
