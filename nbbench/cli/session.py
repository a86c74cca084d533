"""What several commands do: open the database, keep the commit list, import, detect."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nbbench.cli.app import App
from nbbench.errors import SubjectError
from nbbench.model import Commit, Event, Flag, Ledger

if TYPE_CHECKING:
    from nbbench.report.text import Terminal
    from nbbench.store import ImportReport, Store
    from nbbench.subject.repository import Subject

COMMITS_FILE = "commits.json"


def terminal() -> Terminal:
    """The terminal behind stdout, or a plain pipe."""
    from nbbench.report.text import terminal_for

    return terminal_for(sys.stdout, os.environ)


def open_store(app: App, *, create: bool = True) -> Store:
    """The project's regression database."""
    from nbbench.store import Store

    return Store.open(app.settings.database_url, create=create)


def subject_or_none(app: App) -> Subject | None:
    """The registered subject; None where there is none (a fresh clone with committed results)."""
    from nbbench.subject.repository import open_subject

    try:
        return open_subject(app.settings)
    except SubjectError:
        return None


def branch_commits(app: App) -> list[Commit]:
    """Commits that changed the measured paths: from the subject, or as committed with the results.

    The committed list has hashes, trees, dates and positions but no subject lines.
    """
    found = subject_or_none(app)
    recorded = _read_commits(app)
    if found is None:
        return recorded
    from nbbench.subject.repository import list_commits

    present = list_commits(found)
    known = {c.hash for c in present}
    # Another history's commits (the demo's, say) keep their own places behind the registered one's.
    return present + ([] if known & {c.hash for c in recorded} or not recorded else recorded)


def _read_commits(app: App) -> list[Commit]:
    path = app.settings.results_dir / COMMITS_FILE
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["commits"]
        return [
            Commit(r["hash"], r["tree"], datetime.fromisoformat(r["date"]), "", int(r["position"]))
            for r in rows
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        app.say(f"warning: {path.name} cannot be read ({error}); commits are ordered by date")
        return []


def save_commits(app: App) -> None:
    """Keep the branch's list of measurable commits beside the results, so that they can be read alone."""
    found = subject_or_none(app)
    if found is None:
        return
    from nbbench.model import to_plain
    from nbbench.report.atomic import write_text
    from nbbench.subject.repository import list_commits

    rows = [{k: v for k, v in to_plain(c).items() if k != "subject"} for c in list_commits(found)]
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    text = f'{{"schema": 1, "branch": {json.dumps(found.branch)}, "commits": [\n  {lines}\n]}}\n'
    path = app.settings.results_dir / COMMITS_FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def import_all(app: App, store: Store) -> ImportReport:
    """Import what is new in the results folder, and place its commits on the branch."""
    from nbbench.store import import_results

    report = import_results(store, app.settings.results_dir)
    store.upsert_commits(branch_commits(app))
    return report


def detect_events(app: App, store: Store, *, machine: str | None = None) -> list[Event]:
    """Detect over everything in the database and save the events."""
    from nbbench.analyse.changes import History, find_changes
    from nbbench.analyse.events import Thresholds, build_events

    settings = app.settings
    ledgers: dict[str, dict[str, Ledger]] = defaultdict(dict)
    for stored in store.ledgers(lines=True):
        ledgers[stored.tree][stored.ledger.workload] = stored.ledger
    history = History(
        series=tuple(store.iter_series(machine=machine, samples=False)),
        commits=tuple(store.commits()),
        ledgers=ledgers,
        records=tuple(store.process_records()),
    )
    changes = find_changes(history, alpha=settings.alpha, min_effect=settings.min_effect)
    events = build_events(history, changes, Thresholds(time=settings.min_effect))
    told: dict[str, Any] = {"series": len(history.series), "changes": len(changes), "events": len(events)}
    store.save_events(events, told | {"detected_at": datetime.now(UTC).isoformat()})
    return events


def current_flags(store: Store, events: Sequence[Event], plan: str) -> list[Flag]:
    """Flags of a plan item in their present state."""
    from nbbench.analyse.events import attach_flags

    return attach_flags(events, store.decisions(), plan, store.commits())


def up_to_date(app: App, store: Store) -> list[Event]:
    """Events of everything under results/: imports and detects when something is new."""
    report = import_all(app, store)
    fresh = report.files_new + report.files_changed + report.ledgers + report.telemetry
    info = store.run_info()
    if fresh or not info:
        return detect_events(app, store)
    return store.events()
