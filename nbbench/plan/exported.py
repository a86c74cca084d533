"""An exported commit: its results against a baseline's, by the rules of `regressions`. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nbbench.history.telemetry import Disturbed, is_left_out
from nbbench.ledger import Ledger
from nbbench.metrics import Better, metric_of
from nbbench.model import Commit, Event, EventDirection, Flag, NotJudged, Result, SeriesKey, Status
from nbbench.plan.compare_evidence import log_effect


class Standing(StrEnum):
    """What a series is against its baseline."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    CANNOT_TELL = "cannot tell"
    NO_DIFFERENCE = "no difference"


_BY_DIRECTION = {
    EventDirection.REGRESSION: Standing.WORSE,
    EventDirection.IMPROVEMENT: Standing.BETTER,
    EventDirection.CHANGE: Standing.CHANGED,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One series against the baseline; `effect` is log(now/baseline), infinite from or to zero, None
    where signs differ. `why` is one short clause: what the standing rests on.
    """

    series: str
    unit: str
    baseline: float
    now: float
    effect: float | None
    standing: Standing
    why: str = ""


@dataclass(frozen=True, slots=True)
class Between:
    """What is on record of the commits from the baseline (exclusive) to the exported one.

    `events` begin and end there; `same_tree` says that both have one source; `disturbed` names results
    whose processes others kept waiting.
    """

    events: tuple[Event, ...] = ()
    same_tree: bool = False
    disturbed: Disturbed = frozenset()
    declared: tuple[tuple[str, Better], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Everything that one exported folder states; figures are of one machine.

    `machine` is what results call it, `facts` what asv recorded of it. `measuring_s` is the time of all
    measuring processes together. The environment and `torch_env` are those of the export.
    """

    stamp: str = ""
    cluster: str
    plan: str
    command: str
    commit: Commit
    branch: str
    machine: str
    facts: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    environment: tuple[str, ...] = ()
    torch_env: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    measuring_s: float = 0.0
    results: tuple[Result, ...] = ()
    baseline: tuple[Result, ...] = ()
    baseline_commit: Commit | None = None
    between: Between = field(default_factory=Between)
    flags: tuple[Flag, ...] = ()
    ledgers: tuple[Ledger, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where the commit has a figure, else 4."""
        return 0 if any(result.status is Status.OK for result in self.results) else 4


def comparisons(results: Iterable[Result], baseline: Iterable[Result], between: Between) -> list[Comparison]:
    """Every measured series against its baseline, regressions first, the largest on top."""
    before = {result.key: result for result in baseline if _has_value(result)}
    known = _event_of_series(between.events)
    found = []
    for now in results:
        old = before.get(now.key)
        if old and _has_value(now) and old.unit == now.unit:
            found.append(_compare(old, now, between, known.get(now.key)))
    order = {standing: place for place, standing in enumerate(Standing)}
    return sorted(found, key=lambda c: (order[c.standing], -abs(c.effect or 0.0), c.series))


def _has_value(result: Result) -> bool:
    return result.status is Status.OK and result.value is not None and math.isfinite(result.value)


def _event_of_series(events: Sequence[Event]) -> Mapping[SeriesKey, Event]:
    """The newest event that moved each series."""
    return {change.key: event for event in events for change in event.changes}


def _compare(before: Result, now: Result, between: Between, event: Event | None) -> Comparison:
    """A noisy series is worse or better only where detection over the whole history says so (`event`)."""
    a, b = before.value or 0.0, now.value or 0.0
    metric = metric_of(now.key, now.unit, declared=dict(between.declared))
    standing, why = Standing.NO_DIFFERENCE, "within the noise"
    if metric.exact:
        why = "exact"
        standing = _BY_DIRECTION[metric.direction(b - a)] if a != b else standing
    elif event is not None:
        standing, why = _BY_DIRECTION[event.direction], event.id
    elif between.same_tree:
        why = "the same source"
    elif abs(b - a) > math.expm1(metric.least_effect) * min(abs(a), abs(b)):
        doubts = [
            f"others disturbed {which}"
            for result, which in ((before, "the baseline"), (now, "this commit"))
            if is_left_out(between.disturbed, result.key, result.commit)
        ]
        standing = Standing.CANNOT_TELL
        why = "; ".join(doubts) or "one value against one, and no event on record"
    return Comparison(now.key.label, now.unit, a, b, log_effect(a, b), standing, why)
