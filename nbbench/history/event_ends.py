"""An event by its id, and the two commits to compare for it."""

from __future__ import annotations

from collections.abc import Mapping

from nbbench.config import Settings
from nbbench.errors import UsageError
from nbbench.history.history import up_to_date
from nbbench.ledger import Ledger
from nbbench.measure.ledgers import known_ledgers, ledger_torch
from nbbench.model import Commit, Event
from nbbench.record.branch import subject_or_none
from nbbench.record.refresh import open_store


def find_event(settings: Settings, name: str) -> Event | None:
    """The event of this id, the database brought up to date first."""
    with open_store(settings) as store:
        return next((e for e in up_to_date(settings, store) if e.id == name), None)


def event_ends(settings: Settings, event: Event) -> tuple[Commit, Commit]:
    """The commit before an event's range that there is something to compare with, and the range's last.

    That is the last one which is not known to be broken; without a subject to record with, the
    last one whose ledgers hold figures. Raises UsageError when the event is not of this branch.
    """
    with open_store(settings) as store:  # an event may end at a commit beside the measured paths
        commits = store.commits()
    places = {c.hash: i for i, c in enumerate(commits)}
    if event.lo_commit not in places or event.hi_commit not in places:
        raise UsageError(f"event {event.id!r} is not of this branch", hint="give two commits")
    before = commits[: places[event.lo_commit]]
    records = subject_or_none(settings) is not None
    torch = ledger_torch(settings, before, lambda _: None)
    runs = (c for c in reversed(before) if _runs(known_ledgers(settings, c, torch), unknown=records))
    base = next(runs, before[-1] if before else commits[0])
    return base, commits[places[event.hi_commit]]


def _runs(kept: Mapping[str, Ledger], *, unknown: bool) -> bool:
    """Whether any workload runs, by what is on record; `unknown` where nothing is."""
    return any(not one.error for one in kept.values()) if kept else unknown
