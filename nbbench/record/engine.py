"""Opening the database: SQLite's settings, transactions, and errors in one sentence.

Statements are SQL that SQLite and PostgreSQL read alike, with `?` in place of values.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec

from nbbench.errors import StoreError
from nbbench.record.schema import URL_HINT, DatabasePlace, UnusableDatabaseError, parse_url, prepare_tables

# Writers wait for each other; an import holds the database for about a second at a time.
TIMEOUT_S = 60.0

# An import adds to indexes all over the file; with SQLite's own 2 MiB most pages are read again each time.
_CACHE_KIB = 65536

# A database server that does not answer by then is down; the system would wait for minutes.
_CONNECT_S = 10

# PostgreSQL's writers take turns by this number, as SQLite's do by its write lock: then two
# imports never wait for each other's rows in a circle.
_WRITER_LOCK = 0x6E62_6265_6E63

# What reading times, lists and packed numbers raises where somebody has changed them in the tables.
_UNREADABLE = (ValueError, TypeError, zlib.error, struct.error, msgspec.MsgspecError)


class Connection:
    """A connection inside of a transaction."""

    def __init__(self, handle: Any, is_sqlite: bool) -> None:
        self.is_sqlite = is_sqlite
        self._handle = handle

    def cursor(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """The driver's cursor of a statement, whose rows are tuples."""
        return self._handle.execute(self._own(statement), values)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a query by the names of their columns."""
        cursor = self.cursor(statement, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """The first value of the first row; None where there is no row."""
        row = self.cursor(statement, values).fetchone()
        return row[0] if row else None

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Add rows, which all have the same columns; gives their number."""
        if rows:
            names = list(rows[0])
            self.insert_cells(table, names, ([row[name] for name in names] for row in rows))
        return len(rows)

    def insert_cells(self, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of values in the order of ``names``."""
        places = ", ".join("?" * len(names))
        self.many(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)

    def many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for many rows of values."""
        self._handle.cursor().executemany(self._own(statement), rows)

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of the transaction, which is undone by itself where it fails."""
        self.cursor("SAVEPOINT part")
        try:
            yield
        except BaseException:
            with suppress(Exception):  # a full disk has undone the whole
                self.cursor("ROLLBACK TO SAVEPOINT part")
            raise
        self.cursor("RELEASE SAVEPOINT part")

    def _own(self, statement: str) -> str:
        return statement if self.is_sqlite else statement.replace("?", "%s")


class Database:
    """An open database, seen as the history of one project.

    `reading()` and `writing()` give connections inside a transaction. `made_anew` says why the tables were
    made anew when it was opened, so that what they held comes back with the next import; empty otherwise.
    """

    def __init__(self, place: DatabasePlace, project: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._place, self._timeout_s = place, timeout_s
        self._driver: Any = sqlite3 if place.is_sqlite else _psycopg()
        self._read_only = place.file is not None and _is_read_only(place.file)
        self._idle: list[Any] = []
        self.project = project
        self.project_id = 0
        self.made_anew = ""
        # What a database says of values that it does not take.
        self.refusals = (self._driver.DataError, self._driver.IntegrityError, OverflowError)

    @classmethod
    def open(
        cls,
        url: str,
        create: bool = True,
        timeout_s: float = TIMEOUT_S,
        *,
        project: str = "",
        anew: bool = False,
    ) -> Self:
        """Open the database at `url` for the history of `project`.

        Without `create` a missing database is an error. Tables of another version of nbbench are made anew,
        and so are all of them with `anew`. Raises StoreError.
        """
        place = parse_url(url)
        if place.file is not None:
            _check_file(place.file, create)
        store = cls(place, project, timeout_s)
        try:
            with store.reading() as connection:
                found = prepare_tables(connection, store.name, project, check_only=True)
            if (anew or not found[0]) and not store._read_only:
                with store.writing(checked=False) as connection:
                    found = prepare_tables(connection, store.name, project, anew=anew)
            store.project_id, store.made_anew = found
        except BaseException:
            store.close()
            raise
        return store

    @property
    def name(self) -> str:
        """The database as people may see it: the file, or the URL without password and options."""
        return self._place.shown

    @property
    def url(self) -> str | None:
        """Where another process of this program opens the same database; None for one in memory.

        Never to be shown, as it holds the password.
        """
        return None if self._place.is_sqlite and self._place.file is None else self._place.url

    @property
    def folder(self) -> Path | None:
        """Where a SQLite file lies; None for other databases."""
        return self._place.file.resolve().parent if self._place.file else None

    def close(self) -> None:
        """Let go of the database; an open store holds file handles or connections."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries that all see the same state."""
        begin = "BEGIN" if self._place.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        with self._translated(_UNREADABLE), self._transaction(begin) as connection:
            yield connection

    @contextmanager
    def writing(self, *, checked: bool = True) -> Iterator[Connection]:
        """A connection that is the only writer until it commits; errors undo everything.

        Without `checked` SQLite does not look at what rows refer to, so that any table can go.
        """
        begin = "BEGIN IMMEDIATE" if self._place.is_sqlite else "BEGIN"
        with self._translated(), self._transaction(begin, checked=checked) as connection:
            if not connection.is_sqlite:
                connection.cursor(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
            yield connection

    @contextmanager
    def _transaction(self, begin: str, *, checked: bool = True) -> Iterator[Connection]:
        handle = self._idle.pop() if self._idle else self._connect()
        try:
            if not checked and self._place.is_sqlite:
                handle.execute("PRAGMA foreign_keys=OFF")
            handle.execute(begin)
            try:
                yield Connection(handle, self._place.is_sqlite)
                commit(handle, begin)
            except BaseException:
                with suppress(self._driver.Error):  # a full disk has undone it already
                    handle.execute("ROLLBACK")
                raise
            if self._place.is_sqlite:
                handle.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            if self.url is not None:  # the next one is as new
                handle.close()
            else:
                self._idle.append(handle)
            raise
        self._idle.append(handle)

    def _connect(self) -> Any:
        if not self._place.is_sqlite:
            try:
                handle = self._driver.connect(
                    self._place.url, autocommit=True, connect_timeout=_CONNECT_S, prepare_threshold=None
                )
            except self._driver.ProgrammingError as error:  # it may quote a part of the URL
                raise StoreError("the database URL does not parse", hint=URL_HINT) from error
            handle.execute(f"SET lock_timeout = {int(self._timeout_s * 1000)}")
            return handle
        # WAL needs a file beside the database even to read, unless nothing is said to change it.
        name = f"file:{quote(str(self._place.file))}?immutable=1" if self._read_only else self._place.file
        handle = sqlite3.connect(
            name or ":memory:",
            timeout=self._timeout_s,
            isolation_level=None,
            uri=self._read_only,
            check_same_thread=False,
        )
        handle.execute("PRAGMA foreign_keys=ON")
        if not self._read_only:
            _configure_sqlite(handle, self._timeout_s)
        return handle

    @contextmanager
    def _translated(self, more: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        caught: tuple[type[Exception], ...] = (self._driver.Error, *more)
        try:
            yield
        except caught as error:
            raise _store_error(self.name, error) from error


def commit(handle: Any, begin: str) -> None:
    """End the transaction that `begin` began."""
    handle.execute("COMMIT")


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        hint = "install it with: pip install 'nbbench[postgresql]'"
        raise StoreError("the driver of PostgreSQL is not installed", hint=hint) from error
    return psycopg


def _check_file(path: Path, create: bool) -> None:
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a database")
    if path.exists():
        return
    if not create:
        raise StoreError(f"no database at {path}", hint="run `nbbench import` first, or pass --db URL")
    if not path.parent.is_dir():  # a mistyped path makes no folders
        raise StoreError(f"there is no folder {path.parent}", hint="make it first, or correct --db URL")


def _is_read_only(path: Path) -> bool:
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _configure_sqlite(handle: sqlite3.Connection, timeout_s: float) -> None:
    handle.execute("PRAGMA synchronous=NORMAL")  # safe in WAL: a power cut undoes, never damages
    handle.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    # In WAL readers go on while one process writes; a file system without shared memory keeps
    # the older journal. Two processes that switch a new file at once get an error without
    # SQLite's usual wait, so the wait is here.
    end = time.monotonic() + timeout_s
    while True:
        try:
            handle.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


_REBUILD = "`nbbench db rebuild` makes it anew from the results"


def _store_error(name: str, error: Exception) -> StoreError:
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if "database is locked" in text or "lock timeout" in text:
        return StoreError(f"{name} is in use by another program", hint="run again when it has ended")
    damaged = "file is not a database" in text or "malformed" in text
    if damaged or isinstance(error, _UNREADABLE):
        what = (
            "is not a database, or is damaged" if damaged else f"holds a value that does not parse ({text})"
        )
        return UnusableDatabaseError(f"{name} {what}", hint=_REBUILD)
    if "unable to open database file" in text or "readonly database" in text:
        return StoreError(f"{name} cannot be opened for writing")
    if "disk is full" in text or "disk I/O error" in text:
        return StoreError(f"{name} cannot be written: {text}")
    if "no such table" in text or "no such column" in text:
        return UnusableDatabaseError(f"{name} lacks a part of its tables ({text})", hint=_REBUILD)
    return StoreError(f"{name}: {text}")
