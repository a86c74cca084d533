"""What one evidence folder states, and the comparisons that follow from it; no formatting."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nbbench.ledger import Ledger
from nbbench.metrics import metric_of
from nbbench.model import Commit, EventDirection, Flag, Result, SeriesKey, Status
from nbbench.plan.compare_evidence import log_effect
from nbbench.words import clean

# What timeout(1) and shells report; kept here so that a summary can name the reason.
_TIMEOUT_CODE = 124
_SIGNAL_BASE = 128
_WORDS = {
    EventDirection.REGRESSION: "worse",
    EventDirection.IMPROVEMENT: "better",
    EventDirection.CHANGE: "moved",
}


@dataclass(frozen=True, slots=True)
class HeadlineFigure:
    """A headline figure that belongs to no single series: a ratio, a bandwidth, a fault count."""

    name: str
    value: float | None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceInput:
    """Everything that one export states.

    `machine_name` is what results call the machine that measured, `machine` its facts.
    `commands` are argument lists, quoted for the shell here, or ready shell lines (with pipes,
    redirections), kept as they are. `ceiling` holds bytes a second by name (copy, triad).
    `floor` is the relative change below which a comparison with `baseline` is called unmoved.
    `artifacts` names files that others put into the folder, with a word about each.
    """

    stamp: str
    cluster: str
    plan: str
    commands: tuple[str | tuple[str, ...], ...]
    cwd: str
    exit_code: int
    commit: Commit | None = None
    tree: str = ""
    branch: str = ""
    timed_out: bool = False
    blocker: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    machine_name: str = ""
    machine: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    environment: tuple[str, ...] = ()
    torch_env: str = ""
    results: tuple[Result, ...] = ()
    baseline: tuple[Result, ...] = ()
    baseline_name: str = ""
    floor: float = 0.03
    flags: tuple[Flag, ...] = ()
    ledgers: tuple[Ledger, ...] = ()
    ceiling: tuple[tuple[str, float], ...] = ()
    metrics: tuple[HeadlineFigure, ...] = ()
    resources: tuple[tuple[str, str], ...] = ()
    observations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    artifacts: tuple[tuple[str, str], ...] = ()
    next_actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One series against the baseline; `effect` is log(now/baseline), infinite from
    or to zero, None where signs differ.

    `caveat` says what the two do not share (machine, environment, benchmark version).
    """

    series: str
    unit: str
    baseline: float
    now: float
    effect: float | None
    word: str
    caveat: str = ""


def status_line(evidence: EvidenceInput) -> str:
    """How the run ended, from its exit code; never better than the code says."""
    code = evidence.exit_code
    if evidence.blocker:
        return f"BLOCKED (exit code {code}): {clean(evidence.blocker)}"
    if evidence.timed_out or code == _TIMEOUT_CODE:
        return f"TIMED OUT (exit code {code})"
    if code < 0 or code > _SIGNAL_BASE:
        return f"KILLED by signal {-code if code < 0 else code - _SIGNAL_BASE} (exit code {code})"
    return f"FAILED (exit code {code})" if code else "PASSED (exit code 0)"


def shell_lines(evidence: EvidenceInput) -> list[str]:
    """The commands as lines that can be pasted into a shell."""
    return [command if isinstance(command, str) else shlex.join(command) for command in evidence.commands]


def elapsed_s(evidence: EvidenceInput) -> float | None:
    """Seconds between start and end; None when either is not known."""
    if evidence.started_at is None or evidence.ended_at is None:
        return None
    return (evidence.ended_at - evidence.started_at).total_seconds()


def variation(samples: Sequence[float]) -> float | None:
    """The coefficient of variation (standard deviation / mean); None below two samples."""
    if len(samples) < 2 or not (mean := statistics.fmean(samples)):
        return None
    return statistics.stdev(samples) / abs(mean)


def comparisons(evidence: EvidenceInput) -> list[Comparison]:
    """Every measured series against its baseline, losses first, the largest on top."""
    exact = {result.key: result for result in evidence.baseline if _has_value(result)}
    by_label = {result.key.label: result for result in evidence.baseline if _has_value(result)}
    found = []
    for result in evidence.results:
        before = exact.get(result.key) or by_label.get(result.key.label)
        if before and _has_value(result) and before.unit == result.unit:
            found.append(_compare(before, result, evidence.floor))
    order = {"worse": 0, "better": 1, "moved": 2, "within the floor": 3}
    return sorted(found, key=lambda c: (order[c.word], -abs(c.effect or 0.0), c.series))


def _has_value(result: Result) -> bool:
    return result.status is Status.OK and result.value is not None and math.isfinite(result.value)


def _compare(before: Result, now: Result, floor: float) -> Comparison:
    a, b = before.value or 0.0, now.value or 0.0
    effect = log_effect(a, b)
    metric = metric_of(now.key, now.unit)
    direction = metric.direction(b - a)
    moved = a != b if metric.exact or effect is None else abs(math.expm1(effect)) > floor
    if not moved:
        word = "within the floor"
    else:
        word = _WORDS[direction]
    return Comparison(now.key.label, now.unit, a, b, effect, word, _caveat(before.key, now.key))


def _caveat(before: SeriesKey, now: SeriesKey) -> str:
    names = ("machine", "environment", "version")
    different = [name for name in names if getattr(before, name) != getattr(now, name)]
    return f"different {' and '.join(different)}" if different else ""
