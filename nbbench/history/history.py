"""Import what is new, detect over everything, attach flags; an event by its id, and its two commits."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbbench.config import ImageTolerance, Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.growth import ScaledWork
from nbbench.history.flags import attach_flags
from nbbench.history.ledger_series import CommitOrder, ledger_series
from nbbench.host import HostWork
from nbbench.ledger import Ledger
from nbbench.measure.process_env import installed_torch
from nbbench.model import Commit, Event, Flag, FlagState, ProcessRecord
from nbbench.record.branch import subject_or_none
from nbbench.record.refresh import import_all, open_store, order_notes, result_notes
from nbbench.record.side_files import evidence_torch, kept_work
from nbbench.record.store import Store
from nbbench.subject.profile import load_profile
from nbbench.workloads import WORKLOADS_FILE

if TYPE_CHECKING:
    from nbbench.history.changes import History
    from nbbench.history.confirmed import Repeats
    from nbbench.history.facts import Setups


RULES = 30
"""Raised whenever the same results give other events: those that an older nbbench saved are found anew."""


def load_history(
    store: Store,
    *,
    tolerance: ImageTolerance | None = None,
    results_dir: Path | None = None,
) -> History:
    """Everything that detection looks at; the series stay in the database, host work by line in its files."""
    from nbbench.history.changes import History
    from nbbench.history.curves import StoredCurves

    by_torch, commits = stored_ledgers(store), tuple(store.commits())
    records = tuple(store.process_records())
    # Evidence compares trees under one torch.
    torch = evidence_torch({t: len(f) for t, f in by_torch.items()}, installed_torch())

    @cache
    def host(tree: str) -> Mapping[str, HostWork]:
        return kept_work(results_dir, tree, torch).host if results_dir else {}

    @cache
    def scaled(tree: str) -> Mapping[str, ScaledWork]:
        return kept_work(results_dir, tree, torch).scaled if results_dir else {}

    return History(
        series=[s for torch, found in by_torch.items() for s in ledger_series(commits, found, torch)],
        commits=commits,
        ledgers=by_torch.get(torch, {}),
        host=host,
        scaled=scaled,
        records=records,
        stored=StoredCurves(store, CommitOrder(commits)),
        repeats=_repeats(store, records),
        measured_at=store.file_times(),
        setups=_setups(store, records),
        tolerance=tolerance or ImageTolerance(),
    )


def stored_ledgers(store: Store) -> Mapping[str, Mapping[str, Mapping[str, Ledger]]]:
    """The ledgers on record by torch, tree and workload."""
    found: dict[str, dict[str, dict[str, Ledger]]] = defaultdict(lambda: defaultdict(dict))
    for stored in store.ledgers(lines=True):
        found[stored.torch][stored.tree][stored.ledger.workload] = stored.ledger
    return found


def _setups(store: Store, records: Sequence[ProcessRecord]) -> Setups:
    """What each result file was measured with; the sampling of a series is read when an event asks."""
    from nbbench.history.facts import Setups, telemetry_setup

    files = {place: dict(setup) for place, setup in store.file_setups().items()}
    for place, setup in telemetry_setup(records).items():
        files.setdefault(place, {}).update(setup)

    return Setups(files, cache(store.samplings()))


def _repeats(store: Store, records: Sequence[ProcessRecord]) -> Repeats:
    """What was collected twice, with both values; samples of other benchmarks are not read."""
    from nbbench.history.confirmed import repeats_of
    from nbbench.history.telemetry import collected_again

    again = collected_again(records)
    names = sorted({re.escape(benchmark) for _, _, _, benchmark in again})
    if not names:
        return {}
    pattern = f"^({'|'.join(names)})$"
    return repeats_of(store.iter_series(pattern), again)


def detect_events(settings: Settings, store: Store) -> list[Event]:
    """Detect over everything in the database and save the events."""
    from nbbench.history.changes import judge_history
    from nbbench.history.events import build_events

    rests_on = store.fingerprint()  # before reading: what comes meanwhile is new to the next command
    history = load_history(store, tolerance=load_profile(settings).image, results_dir=settings.results_dir)
    found = judge_history(history, min_effect=settings.min_effect, declared=settings.directions)
    events = build_events(history, found.changes, settings.min_effect)
    info = {
        "series": history.size(),
        "judged": found.judged,
        "changes": len(found.changes),
        "events": len(events),
        "settings": _relevant(settings),
        "rests_on": rests_on,
        "order": order_notes(store),
        "detected_at": datetime.now(UTC).isoformat(),
    }
    store.save_events(events, info, found.not_judged)
    return events


def _relevant(settings: Settings) -> list[Any]:
    """What saved events depend on, besides the results."""
    units = [list(one) for one in settings.directions.items()]
    path = settings.results_dir / WORKLOADS_FILE
    workloads = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    image = load_profile(settings).image
    rounding = [image.median, image.block]
    return [RULES, settings.min_effect, None, units, installed_torch(), workloads, rounding]


def up_to_date(settings: Settings, store: Store) -> list[Event]:
    """Events of everything under results/: imports, and detects again when what they rest on has changed.

    That is everything in the store (results, telemetry, ledgers, the branch's commits and their order,
    declarations), the rules, the settings and torch. Raises InconclusiveError when there are no
    results at all.
    """
    import_all(settings, store)
    info = store.run_info()
    if info.get("settings") != _relevant(settings) or info.get("rests_on") != store.fingerprint():
        events = detect_events(settings, store)
    else:
        events = store.events()
    if not store.run_info().get("series"):
        hint = "; ".join(result_notes(store)) or "measure with `nbbench run` first"
        raise InconclusiveError("there are no results to judge", hint=hint)
    return events


def nothing_judged(store: Store) -> bool:
    """Whether the saved events rest on no series that could be judged."""
    info = store.run_info()
    return not info.get("judged") and not info.get("events")


def current_flags(store: Store, events: Sequence[Event], plan: str) -> list[Flag]:
    """Flags of a plan item in their present state."""
    return attach_flags(events, store.decisions(), plan, store.commits())


def every_flag(store: Store, events: Sequence[Event], plan: str) -> list[Flag]:
    """A flag for each event: those of a plan item, and what needs no decision, being no regression."""
    others = (Flag(event, "", FlagState.DETECTED) for event in events if not event.worse)
    return [*current_flags(store, events, plan), *others]


def find_event(settings: Settings, name: str) -> Event | None:
    """The event of this id, the database brought up to date first."""
    with open_store(settings) as store:
        return next((e for e in up_to_date(settings, store) if e.id == name), None)


def event_ends(settings: Settings, event: Event) -> tuple[Commit, Commit]:
    """The commit before an event's range that there is something to compare with, and the range's last.

    That is the last one which is not known to be broken; without a subject to record with, the
    last one whose ledgers hold figures. Raises UsageError when the event is not of this branch.
    """
    from nbbench.measure.ledgers import known_work, ledger_torch

    with open_store(settings) as store:  # an event may end at a commit beside the measured paths
        commits = store.commits()
    places = {c.hash: i for i, c in enumerate(commits)}
    if event.lo_commit not in places or event.hi_commit not in places:
        raise UsageError(f"event {event.id!r} is not of this branch", hint="give two commits")
    before = commits[: places[event.lo_commit]]
    records = subject_or_none(settings) is not None
    torch = ledger_torch(settings, before, lambda _: None)
    runs = (c for c in reversed(before) if _runs(known_work(settings, c, torch).ledgers, unknown=records))
    base = next(runs, before[-1] if before else commits[0])
    return base, commits[places[event.hi_commit]]


def _runs(kept: Mapping[str, Ledger], *, unknown: bool) -> bool:
    """Whether any workload runs, by what is on record; `unknown` where nothing is."""
    return any(not one.error for one in kept.values()) if kept else unknown
