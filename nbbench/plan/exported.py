"""An exported commit beside its baseline, by the events of `regressions`. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbbench.ledger import Ledger
from nbbench.metrics import Better, metric_of
from nbbench.model import Commit, Event, EventDirection, Flag, NotJudged, Result, Status

_WORDS = {
    EventDirection.REGRESSION: "worse",
    EventDirection.IMPROVEMENT: "better",
    EventDirection.CHANGE: "changed",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One series beside the baseline; `effect` is log(now/baseline), infinite from or to zero, None
    where signs differ. `standing` (worse, better, changed) and `why` are empty where one value against one
    tells nothing.
    """

    series: str
    unit: str
    baseline: float
    now: float
    effect: float | None
    standing: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Everything that one exported folder states; figures are of one machine.

    `machine` is what results call it, `facts` what asv recorded of it. `measuring_s` is the time of all
    measuring processes together. `between` are the events from the baseline (exclusive) to the commit. The
    environment and `torch_env` are those of the export.
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
    between: tuple[Event, ...] = ()
    directions: Mapping[str, Better] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    ledgers: tuple[Ledger, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where the commit has a figure, else 4."""
        return 0 if any(result.status is Status.OK for result in self.results) else 4


def comparisons(export: Export) -> list[Comparison]:
    """Every series that both have, regressions first, the largest on top.

    A noisy one is worse or better only where detection over the whole history says so.
    """
    before = {result.key: result for result in export.baseline if _has_value(result)}
    known = {change.key: event for event in export.between for change in event.changes}
    found = []
    for now in export.results:
        old = before.get(now.key)
        if old is None or not _has_value(now) or old.unit != now.unit:
            continue
        a, b = old.value or 0.0, now.value or 0.0
        metric, standing, why = metric_of(now.key, now.unit, declared=export.directions), "", ""
        if metric.exact and a != b:
            standing, why = _WORDS[metric.direction(b - a)], "exact"
        elif (event := known.get(now.key)) is not None:
            standing, why = _WORDS[event.direction], event.id
        found.append(Comparison(now.key.label, now.unit, a, b, _log_effect(a, b), standing, why))
    order = [*_WORDS.values(), ""]
    return sorted(found, key=lambda c: (order.index(c.standing), -abs(c.effect or 0.0), c.series))


def _has_value(result: Result) -> bool:
    return result.status is Status.OK and result.value is not None and math.isfinite(result.value)


def _log_effect(a: float, b: float) -> float | None:
    """log(b/a); infinite from or to zero, None where signs make a ratio meaningless."""
    if a == b:
        return 0.0
    if a < 0 or b < 0:
        return None
    if a == 0:
        return math.inf
    return math.log(b) - math.log(a) if b else -math.inf
