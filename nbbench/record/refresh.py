"""The project's database, opened and brought up to date with the results folder: what is new, changed or
gone, a batch at a time.
"""

import fcntl
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import StoreError, UsageError
from nbbench.record.asv_results import BENCHMARKS_JSON, ParsedFile
from nbbench.record.branch import branch_line, line_by_date, order_key
from nbbench.record.drivers import ROLES_HINT
from nbbench.record.importing import ImportReport, Payload
from nbbench.record.projects import own_project, place_of
from nbbench.record.schema import SourceFile, UnusableDatabaseError, parse_url
from nbbench.record.shapes import digest_of, storable
from nbbench.record.store import Store
from nbbench.record.tree_files import FileContent, FileReader, NewFile, size_and_time, tree_files
from nbbench.words import escaped, plural


def open_store(
    settings: Settings,
    *,
    create: bool = True,
    project: str | None = None,
    anew: bool = False,
    importing: bool = False,
) -> Store:
    """The regression database, as the history of this project, of the setting's, or of `project`.

    Says so on stderr where the tables had to be made anew, and where this user can only read them. Raises
    UsageError for a setting that names no known project, StoreError for `importing` what cannot be written.
    """
    own = own_project(settings)
    if not settings.db and create:
        settings.results_dir.mkdir(parents=True, exist_ok=True)
    name = project or settings.project or own
    if name != own and not project:
        with Store.open(settings.database_url, create=create, project=own) as first:
            known = sorted({name for name, _ in first.places()})
        if name not in known:
            listed = ", ".join(repr(one) for one in known) or "none"
            raise UsageError(f"no project {name!r} is on record", hint=f"on record: {listed}")
    store = Store.open(settings.database_url, create=create, project=name, anew=anew)
    if store.made_anew:
        print(f"nbbench: {store.made_anew}", file=sys.stderr)
    if store.read_only and importing:
        store.close()
        raise StoreError(f"this user can only read {store.name}", hint=ROLES_HINT)
    if store.read_only and store.name not in settings.said:
        settings.said.add(store.name)
        print(f"nbbench: {store.name} can only be read: what is new here is left out", file=sys.stderr)
    return store


def import_all(settings: Settings, store: Store, results_dir: Path | None = None) -> ImportReport:
    """Import what is new in a results folder (default: the project's) and order the commits of its history.

    Of another project than this one nothing but its results is known: its commits stand by their dates. Who
    can only read the database judges what it holds.
    """
    own = store.project == own_project(settings)
    report = ImportReport()
    if store.read_only:
        return report
    if folder := results_dir or (settings.results_dir if own else None):
        report = import_results(store, folder, place=place_of(store, folder))
    while True:  # once, or until another process has imported no more commits meanwhile
        measured = store.measured_commits()
        key = order_key(settings, measured) if own else digest_of(sorted(commit.hash for commit in measured))
        if store.placed().partition("\n")[0] == key:
            break
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


@contextmanager
def one_rebuild(settings: Settings) -> Iterator[None]:
    """While this lasts no other process makes the same SQLite file anew: it waits, and says so."""
    file = parse_url(settings.database_url).file
    if file is None or not file.parent.is_dir():
        yield  # a server says it to the one that began first
        return
    handle = os.open(file.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"nbbench: another process makes {file} anew: waiting for its end", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def rebuild(settings: Settings) -> Rebuilt:
    """Make the database anew from this project's results; call it within `one_rebuild`.

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


# A batch is what an interrupted import loses and how long other writers wait: about a second.
_BATCH_FILES = 64
_BATCH_RESULTS = 100_000
# A second of reading: with so many bytes it is worth starting processes that read ahead.
_MANY_BYTES = 32 << 20


def import_results(store: Store, results_dir: Path, *, place: str = "") -> ImportReport:
    """Import what is new or changed in `results_dir`; may be repeated and interrupted at any time.

    A file of the same size and time, or of the same content, is not read again. What is gone from the
    tree, and what a file gave that cannot be used any more, leaves the database. `place` tells trees of one
    project apart (two checkouts): of two measurements of the same, the newer counts. Raises StoreError when
    the database cannot be written.
    """
    report = _Import(store, results_dir, place).run()
    store.forget_known()
    return report


class _Import:
    """One import: looks at every file, reads what is needed, writes batch by batch."""

    def __init__(self, store: Store, results_dir: Path, place: str) -> None:
        self._store = store
        self._root = results_dir
        self._place = place
        self._report = ImportReport()
        self._known: dict[str, SourceFile] = store.files(place)
        self._batch: list[tuple[SourceFile, Payload]] = []
        self._results = 0  # in the batch
        self._series: set[int] = set()

    def run(self) -> ImportReport:
        present: set[str] = set()
        new = list(self._new(present))
        # A benchmark that is no longer declared keeps the names that it was imported with.
        reader = FileReader(self._store.benchmarks())
        first = sum(one.found.kind == "benchmarks" for one in new)  # it is the first, and tells of the others
        for one in new[:first]:
            self._take(one, reader.read(one))
        if rest := new[first:]:
            from nbbench.record.workers import (
                few_collections,
                share_work,
                useful_jobs,
            )  # nothing is new mostly

            jobs = useful_jobs(sum(one.size for one in rest), _MANY_BYTES)
            with few_collections():
                for one, read in zip(rest, share_work(reader.read, rest, jobs=jobs), strict=True):
                    self._take(one, read)
        self._flush()
        # A benchmarks.json that is gone leaves its names behind.
        gone = [path for path in self._known if path not in present and path != BENCHMARKS_JSON]
        self._report.files_gone = len(gone)
        if gone:
            self._store.forget_files(gone, self._place)
        self._report.series = len(self._series)
        return self._report

    def _new(self, present: set[str]) -> Iterator[NewFile]:
        """The files that must be read; the names of all are put into `present`."""
        for found in tree_files(self._root):
            name = found.path.relative_to(self._root).as_posix()
            present.add(storable(name))
            known = self._known.get(storable(name))
            size, mtime_ns = size_and_time(found.path)
            # Bad files are tried again: they are few, and a newer nbbench may know better.
            if known and not known.error and (known.size, known.mtime_ns) == (size, mtime_ns):
                self._report.files_unchanged += found.kind == "results"
            else:
                yield NewFile(found, name, size, mtime_ns, known)

    def _take(self, new: NewFile, read: FileContent) -> None:
        known, payload = new.known, read.payload
        self._report.bad_lines += read.bad_lines
        if isinstance(payload, ParsedFile):
            self._report.odd_values += payload.odd_values
            self._results += payload.results.size
        if read.error:
            self._report.files_bad.append((escaped(new.name), read.error))
            if known and (known.sha256, known.error) == (read.sha256, read.error):
                return
        file = SourceFile(new.name, new.found.kind, new.size, new.mtime_ns, read.sha256, read.error)
        self._batch.append((file, payload))
        if len(self._batch) >= _BATCH_FILES or self._results >= _BATCH_RESULTS:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch, self._results = self._batch, [], 0
        if batch:
            self._series |= self._store.import_batch(batch, self._place, self._report)
