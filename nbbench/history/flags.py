"""Which decisions belong to which event: flags in their present state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nbbench.history.order import CommitOrder
from nbbench.model import Commit, Decision, Event, Flag, FlagState, Phase

_ID = re.compile(r"(?P<first>\w+?)(?:\.\.(?P<last>\w+?))?-(?P<way>slower|faster|changed|fails)(?P<ending>.*)")


def attach_flags(
    events: Iterable[Event], decisions: Sequence[Decision], plan: str, commits: Sequence[Commit]
) -> list[Flag]:
    """Flags of a plan item: every event that is a regression, in the state of its newest decision.

    A decision belongs to one event: the one that it names, else the one of its direction whose commits its
    own share most of. More measurements narrow a range and change the id, not the event.
    """
    worse = [event for event in events if event.worse]
    places = {commit.short: i for i, commit in enumerate(CommitOrder(commits).commits)}
    mine: dict[str, list[Decision]] = {event.id: [] for event in worse}
    for decision in sorted(decisions, key=lambda d: d.date):
        if decision.plan == plan and (home := _home(decision.event, worse, places)) is not None:
            mine[home.id].append(decision)
    return [
        Flag(e, plan, mine[e.id][-1].state if mine[e.id] else FlagState.DETECTED, tuple(mine[e.id]))
        for e in worse
    ]


def _home(name: str, events: Sequence[Event], places: Mapping[str, int]) -> Event | None:
    """The event that an id means now; None where there is none any more."""
    named = next((event for event in events if event.id == name), None)
    if named is not None:
        return named
    fitting = [(_shared(name, event, places), event) for event in events]
    shared, best = max(fitting, key=lambda item: item[0], default=((0.0, False), None))
    return best if shared[0] > 0 else None


def _shared(name: str, event: Event, places: Mapping[str, int]) -> tuple[float, bool]:
    """The share of commits that an id's range has in common with an event's, and whether the phase is the
    same; an id without a phase may mean any, as ids had none once."""
    said, now = _ID.fullmatch(name), _ID.fullmatch(event.id)
    if said is None or now is None or said["way"] != now["way"]:
        return 0.0, False
    phase = "" if event.phase is Phase.WARM else f"-{event.phase.value.replace(' ', '-')}"
    if said["ending"] and not said["ending"].startswith(phase or said["ending"]):
        return 0.0, False
    known = [
        places.get(commit[:8])
        for commit in (said["first"], said["last"] or said["first"], event.lo_commit, event.hi_commit)
    ]
    first, last, lo, hi = (-1 if place is None else place for place in known)
    common = min(last, hi) - max(first, lo) + 1
    if min(first, last, lo, hi) < 0 or common <= 0:
        return 0.0, False
    return common / (max(last, hi) - min(first, lo) + 1), said["ending"].startswith(phase)
