"""What open regressions still cost, in seconds a run: the work list of a plan item."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, isnan

from nbbench.metrics import Role, change_metric
from nbbench.model import Cause, ChangePoint, Flag, SeriesKey


@dataclass(frozen=True, slots=True)
class Cost:
    """A regression by the series of time that loses most seconds to it.

    The series takes `now_s` seconds at its newest level. Undone by itself, the regression would save
    `saved_s` of them, `lo_s` to `hi_s` by the interval of the change. What several events of one series
    save is no sum: each is a share of what the others leave.
    """

    event: str
    series: SeriesKey
    now_s: float
    saved_s: float
    lo_s: float
    hi_s: float


_NO_CODE = (Cause.ENVIRONMENT, Cause.CONTENTION, Cause.HARNESS)


def costs_of(waiting: Iterable[Flag], every: Iterable[Flag], places: Mapping[str, int]) -> list[Cost]:
    """The open regressions of code whose time was measured, the costliest first.

    `every` flag tells a series' newest level; `places` are the commits' on the branch.
    """
    changes = [change for flag in every for change in flag.event.changes if _is_time(change)]
    changes.sort(key=lambda change: places.get(change.hi_commit, -1))
    newest = {change.key: change.after for change in changes}
    found = []
    for flag in (one for one in waiting if one.event.cause not in _NO_CODE):
        lost = (change for change in flag.event.changes if change.worse and _is_time(change))
        own = [_cost(flag.event.id, change, newest[change.key]) for change in lost]
        found += [max(own, key=lambda cost: cost.saved_s)] if own else []
    return sorted(found, key=lambda cost: -cost.saved_s)


def _is_time(change: ChangePoint) -> bool:
    if change.fails or change.unit not in ("seconds", ""):
        return False
    metric = change_metric(change)
    return metric.role is Role.TIME and metric.unit == "seconds"


def _cost(event: str, change: ChangePoint, now_s: float) -> Cost:
    """A level e^x times as high leaves 1 - e^-x of now to be saved."""
    ends = (change.effect if isnan(end) else end for end in (change.effect_lo, change.effect_hi))
    saved, lo, hi = (now_s * (1 - exp(-effect)) for effect in (change.effect, *ends))
    return Cost(event, change.key, now_s, saved, lo, hi)
