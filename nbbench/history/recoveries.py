"""Which events later ones undid, wholly or for the most part: those did not last."""

import math
from collections.abc import Sequence
from dataclasses import replace

from nbbench.metrics import Role, change_role
from nbbench.model import ChangePoint, Event, EventDirection, SeriesKey
from nbbench.stats.changepoint import level_effect

# A recovery undoes at least half of a change (on the log scale).
_RECOVERED_SHARE = 0.5
_WAITED_FOR = (("B/pixel", "B/point", "seconds"), ("seconds",))  # units, what matters most last


def with_recoveries(events: Sequence[Event]) -> list[Event]:
    """Each of the events, oldest first, with the commit by which later ones had undone it, and what it undid.

    It is undone where half of the series that it moved are back, by one later event or by several.
    """
    later: dict[SeriesKey, list[tuple[int, ChangePoint]]] = {}
    for place, event in enumerate(events):
        for change in event.changes:
            later.setdefault(change.key, []).append((place, change))

    def undone(place: int, change: ChangePoint) -> list[int]:
        """The first later event that brought a series back, if one did."""
        others = ((i, c) for i, c in later[change.key] if i > place and _turned(events[place], events[i]))
        return [i for i, c in others if _undone(change, c.after)][:1]

    def healer(place: int, event: Event) -> Event | None:
        moved = _moved_most(event)
        back = sorted(i for change in moved for i in undone(place, change))
        return events[back[(len(moved) - 1) // 2]] if 2 * len(back) >= len(moved) > 0 else None

    healers = [healer(place, event) for place, event in enumerate(events)]
    ended = {healer.id: event.id for event, healer in zip(events, healers, strict=True) if healer}
    return [
        replace(event, recovered_by=healer.hi_commit if healer else None, undoes=ended.get(event.id))
        for event, healer in zip(events, healers, strict=True)
    ]


def _turned(event: Event, later: Event) -> bool:
    return later.direction is not event.direction or event.direction is EventDirection.CHANGE


def _moved_most(event: Event) -> list[ChangePoint]:
    """The changes that must be undone, half of them, before an event is.

    Those of time decide, without them those of bytes moved, without them all: fewer operations or steps of
    Python do not undo what a user waits for.
    """
    own = [c for c in event.changes if c.direction is event.direction]
    # Memory that was given back does not undo page faults, time or work.
    lost = [c for c in own if change_role(c) not in (Role.MEMORY, Role.DERIVED)] or own
    for units in _WAITED_FOR:
        lost = [c for c in lost if c.unit in units] or lost
    return lost


def _undone(change: ChangePoint, level: float) -> bool:
    """Whether a level lies nearer to where the change began than half of it; levels, not sizes of
    steps, so that one improvement does not make up for two regressions."""
    kept = (1 - _RECOVERED_SHARE) * abs(change.effect)
    left = level_effect(change.before, level)
    if math.isinf(kept) or math.isinf(left):  # from or to zero: in the values themselves
        kept, left = (1 - _RECOVERED_SHARE) * abs(change.after - change.before), level - change.before
    return left * math.copysign(1.0, change.after - change.before) <= kept
