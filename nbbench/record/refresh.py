"""The project's database, opened and brought up to date with the results folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, StoreError, UsageError
from nbbench.record import Store
from nbbench.record.branch import branch_line, order_key
from nbbench.record.engine import parse_url, sqlite_file
from nbbench.record.importing import ImportReport
from nbbench.record.load import import_results
from nbbench.record.projects import folder_of, own_project, place_of
from nbbench.record.shapes import digest_of
from nbbench.words import plural


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


def import_all(settings: Settings, store: Store) -> ImportReport:
    """Import what is new in the results folder, and place its commits on the branch.

    The history of another project is left as it was imported.
    """
    if store.project != own_project(settings):
        return place_by_date(store)
    report = import_results(store, settings.results_dir, place=place_of(store, settings.results_dir))
    return _place(settings, store, report)


def import_tree(settings: Settings, store: Store, results_dir: Path) -> ImportReport:
    """Import another results tree into the history that `store` is open for."""
    report = import_results(store, results_dir, place=place_of(store, results_dir))
    if store.project != own_project(settings):
        report.notes += place_by_date(store).notes
        return report
    return _place(settings, store, report)


def place_by_date(store: Store) -> ImportReport:
    """Order a history of which nothing but its results is known."""
    measured = sorted(store.measured_commits(), key=lambda commit: (commit.date, commit.hash))
    key = digest_of([commit.hash for commit in measured])
    if store.placed().partition("\n")[0] != key:
        store.place_commits(measured, f"{key}\ncommits stand by their dates" if measured else key)
    return ImportReport(notes=order_notes(store))


def order_notes(store: Store) -> list[str]:
    """What is to be known of the order of the commits, in sentences (dates instead of git, say)."""
    return [note for note in store.placed().split("\n")[1:] if note]


def result_notes(store: Store) -> list[str]:
    """The notes on the order, and which files of the results are left out because they cannot be used."""
    notes = order_notes(store)
    if bad := store.bad_files():
        path, reason = bad[0]
        files = plural(len(bad), "file of the results", "files of the results")
        notes.append(f"{files} cannot be used, so left out; the first: {path}: {reason}")
    return notes


def no_results(store: Store) -> InconclusiveError:
    """The error of a history without one result: none were measured, or none can be used."""
    return InconclusiveError(
        "there are no results to judge",
        hint="; ".join(result_notes(store)) or "measure with `nbbench run` first",
    )


def _place(settings: Settings, store: Store, report: ImportReport) -> ImportReport:
    measured = store.measured_commits()
    key = order_key(settings, measured)
    if store.placed().partition("\n")[0] != key:
        line = branch_line(settings, measured)
        store.place_commits(line.commits, "\n".join((key, *line.notes)))
    report.notes += order_notes(store)
    return report


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of a database that was made anew.

    `moved` is where a damaged file went, `missing` the imported folders that are no longer there; `report` is
    of this project's own import.
    """

    report: ImportReport
    imported: tuple[tuple[str, Path], ...]
    missing: tuple[str, ...]
    moved: Path | None


def rebuild(settings: Settings) -> Rebuilt:
    """Make the database anew from the results, this project's and all that were imported from elsewhere.

    A file that cannot be opened as a database is moved aside, not deleted. Raises StoreError when it is
    somebody else's.
    """
    places: list[tuple[str, str]] = []
    moved = None
    try:
        with open_store(settings) as store:
            places = store.places()
    except StoreError:
        moved = _move_aside(settings)
    own, missing, imported = own_project(settings), [], []
    with open_store(settings, anew=True, project=own) as store:
        report = import_all(settings, store)
        mine = place_of(store, settings.results_dir)
    for project, place in places:
        if (project, place) == (own, mine) or not place:
            continue
        if (folder := folder_of(place)) is None:
            missing.append(place)
            continue
        with open_store(settings, project=project) as store:
            import_tree(settings, store, folder)
        imported.append((project, folder))
    return Rebuilt(report, tuple(imported), tuple(missing), moved)


def _move_aside(settings: Settings) -> Path | None:
    """Put a damaged SQLite file out of the way; None where its tables can be dropped in place."""
    path = sqlite_file(parse_url(settings.database_url))
    if path is None or not path.is_file():
        return None
    with path.open("rb") as file:
        whole = file.read(16) == b"SQLite format 3\0"
    if not whole and settings.db:
        raise StoreError(f"{path} is not a database", hint="choose another file with --db URL")
    try:
        with Store.open(settings.database_url, anew=True):
            return None
    except StoreError as error:
        if "is in use" in str(error) or "not a database of nbbench" in str(error):
            raise
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
