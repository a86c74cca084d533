"""The project's database, opened and brought up to date with the results folder."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, StoreError, UsageError
from nbbench.record import Store
from nbbench.record.branch import branch_line, line_by_date, order_key
from nbbench.record.database_url import parse_url
from nbbench.record.importing import ImportReport
from nbbench.record.load import import_results
from nbbench.record.projects import own_project, place_of
from nbbench.record.shapes import digest_of
from nbbench.record.tables import UnusableDatabaseError
from nbbench.words import escaped, plural


def open_store(
    settings: Settings, *, create: bool = True, project: str | None = None, anew: bool = False
) -> Store:
    """The regression database, as the history of this project, of the setting's, or of `project`.

    Says so on stderr where the tables had to be made anew. Raises UsageError for a setting that names no
    known project.
    """
    own = own_project(settings)
    if not settings.db and create:
        settings.results_dir.mkdir(parents=True, exist_ok=True)
    name = project or settings.project or own
    if name == own or project:
        store = Store.open(settings.database_url, create=create, project=name, anew=anew)
        if store.made_anew:
            print(f"nbbench: {store.made_anew}", file=sys.stderr)
        return store
    with Store.open(settings.database_url, create=create, project=own) as first:
        known = first.projects()
    if name not in known:
        listed = ", ".join(repr(one) for one in known) or "none"
        raise UsageError(f"no project {name!r} is on record", hint=f"on record: {listed}")
    return Store.open(settings.database_url, create=create, project=name)


def import_all(settings: Settings, store: Store, results_dir: Path | None = None) -> ImportReport:
    """Import what is new in a results folder (default: the project's) and order the commits of its history.

    Of another project than this one nothing but its results is known: its commits stand by their dates.
    """
    own = store.project == own_project(settings)
    report = ImportReport()
    if folder := results_dir or (settings.results_dir if own else None):
        report = import_results(store, folder, place=place_of(store, folder))
    measured = store.measured_commits()
    key = order_key(settings, measured) if own else digest_of(sorted(commit.hash for commit in measured))
    if store.placed().partition("\n")[0] != key:
        line = branch_line(settings, measured) if own else line_by_date(measured)
        store.place_commits(line.commits, "\n".join((key, *line.notes)))
    report.notes += order_notes(store)
    return report


def order_notes(store: Store) -> list[str]:
    """What is to be known of the order of the commits, in sentences (dates instead of git, say)."""
    return [note for note in store.placed().split("\n")[1:] if note]


def result_notes(store: Store) -> list[str]:
    """The notes on the order, and which files of the results are left out because they cannot be used."""
    notes = order_notes(store)
    if bad := store.bad_files():
        path, reason = bad[0]
        files = plural(len(bad), "file of the results", "files of the results")
        notes.append(f"{files} cannot be used, so left out; the first: {escaped(path)}: {reason}")
    return notes


def no_results(store: Store) -> InconclusiveError:
    """The error of a history without one result: none were measured, or none can be used."""
    return InconclusiveError(
        "there are no results to judge",
        hint="; ".join(result_notes(store)) or "measure with `nbbench run` first",
    )


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of a database that was made anew: `report` is of this project's own import.

    `moved` is where a file went that this nbbench cannot use and `reason` why it cannot; `left_out` are the
    folders that were imported from elsewhere.
    """

    report: ImportReport
    left_out: tuple[str, ...]
    moved: Path | None
    reason: str


def rebuild(settings: Settings) -> Rebuilt:
    """Make the database anew from this project's results.

    A damaged file, and one that a newer nbbench wrote, is moved aside and not deleted. Raises StoreError for
    a database that is somebody else's or in use.
    """
    places: set[str] = set()
    moved, reason = None, ""
    try:
        with open_store(settings) as store:
            places = {place for _, place in store.places()}
    except UnusableDatabaseError as error:
        moved, reason = _move_aside(settings, error), str(error)
    with open_store(settings, anew=True, project=own_project(settings)) as store:
        report = import_all(settings, store)
        places -= {"", place_of(store, settings.results_dir)}
    return Rebuilt(report, tuple(sorted(place.partition(":")[2] for place in places)), moved, reason)


def _move_aside(settings: Settings, error: UnusableDatabaseError) -> Path:
    """Put a SQLite file that cannot be used out of the way. Raises the error where that is not ours to do."""
    path = parse_url(settings.database_url).file
    if path is None or not path.is_file():
        raise error
    with path.open("rb") as file:
        if settings.db and file.read(16) != b"SQLite format 3\0":
            raise StoreError(f"{path} is not a database", hint="choose another file with --db URL")
    numbers = (f"-{n}" if n > 1 else "" for n in itertools.count(1))
    aside = next(a for n in numbers if not (a := path.with_name(f"{path.name}.{error.state}{n}")).exists())
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(aside.with_name(aside.name + suffix))
    return aside
