"""Opening the database: URLs, SQLite's settings, transactions, and errors in one sentence."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from nbbench.errors import StoreError
from nbbench.record.tables import UnusableDatabaseError, prepare_tables

# Writers wait for each other; an import holds the database for about a second at a time.
TIMEOUT_S = 60.0

# A database server that does not answer by then is down; the system would wait for minutes.
_CONNECT_S = 10

# PostgreSQL's writers take turns by this number, as SQLite's do by its write lock: then two
# imports never wait for each other's rows in a circle.
_WRITER_LOCK = 0x6E62_6265_6E63

# What reading times, lists and packed numbers raises where somebody has changed them in the tables.
_UNREADABLE = (ValueError, TypeError, zlib.error, struct.error, msgspec.MsgspecError)

_URL_HINT = "use sqlite:///FILE or postgresql://USER@HOST/NAME"


class Database:
    """An open database, seen as the history of one project.

    `reading()` and `writing()` give connections inside a transaction. `made_anew` says why the tables were
    made anew when it was opened, so that what they held comes back with the next import; empty otherwise.
    """

    def __init__(self, engine: sa.Engine, project: str = "") -> None:
        self._engine = engine
        self._reader = engine
        if engine.dialect.name == "postgresql":  # SQLite's transactions are snapshots anyway
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer = engine.execution_options(nbbench_writes=True)
        self.project = project
        self.project_id = 0
        self.made_anew = ""

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
        parsed = parse_url(url)
        path = sqlite_file(parsed)
        if path is not None:
            _check_file(path, create)
        read_only = path is not None and _is_read_only(path)
        store = cls(_engine(parsed, timeout_s, read_only=read_only), project)
        try:
            with store.reading() as connection:
                found = prepare_tables(connection, store.name, project, check_only=True)
            if (anew or not found[0]) and not read_only:
                with store.writing() as connection:
                    found = prepare_tables(connection, store.name, project, anew=anew)
            store.project_id, store.made_anew = found
        except BaseException:
            store.close()
            raise
        return store

    @property
    def name(self) -> str:
        """The database as people may see it: the file, or the URL without password and options."""
        path = sqlite_file(self._engine.url)
        return str(path) if path else self._engine.url.set(query={}).render_as_string(hide_password=True)

    @property
    def url(self) -> str | None:
        """Where another process of this program opens the same database; None for one in memory.

        Never to be shown, as it holds the password.
        """
        if self._engine.dialect.name == "sqlite" and sqlite_file(self._engine.url) is None:
            return None
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def folder(self) -> Path | None:
        """Where a SQLite file lies; None for other databases."""
        path = sqlite_file(self._engine.url)
        return path.resolve().parent if path else None

    def close(self) -> None:
        """Let go of the database; an open store holds file handles or connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for queries that all see the same state."""
        with self._translated(_UNREADABLE), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection that is the only writer until it commits; errors undo everything."""
        with self._translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self, more: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        caught: tuple[type[Exception], ...] = (SQLAlchemyError, *more)
        try:
            yield
        except caught as error:
            raise _store_error(self.name, error) from error


def parse_url(url: str) -> URL:
    """A SQLAlchemy URL; plain postgresql:// means psycopg 3. Raises StoreError, which quotes no URL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # What follows the scheme may hold a password, and where is unknown.
        scheme = f"{url.partition('://')[0]}://…" if "://" in url else "given"
        raise StoreError(f"the database URL ({scheme}) does not parse", hint=_URL_HINT) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"no such kind of database: {parsed.drivername}", hint=_URL_HINT)
    if "@" in (parsed.host or ""):  # a part of the password, which the driver would quote as the host
        raise StoreError("the database URL holds an @ in its password", hint="write it as %40")
    return parsed


def sqlite_file(url: URL) -> Path | None:
    """The file behind a SQLite URL; None for PostgreSQL and for a database in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))


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


def _engine(url: URL, timeout_s: float, *, read_only: bool) -> sa.Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    connect: dict[str, Any] = {"timeout": timeout_s} if is_sqlite else {"connect_timeout": _CONNECT_S}
    options: dict[str, Any] = {"connect_args": connect}
    if read_only:
        # WAL needs a file beside the database even to read, unless nothing is said to change it.
        uri = f"file:{quote(str(url.database))}?immutable=1"
        options = {"creator": lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)}
    try:
        engine = sa.create_engine(url, **options)
    except (NoSuchModuleError, ImportError) as error:
        hint = "install it with: pip install 'nbbench[postgresql]'"
        raise StoreError(f"the driver of {url.drivername} is not installed", hint=hint) from error

    def configure(handle: Any, _record: object) -> None:
        if is_sqlite:
            _configure_sqlite(handle, timeout_s, read_only=read_only)
            return
        handle.execute(f"SET lock_timeout = {int(timeout_s * 1000)}")
        handle.commit()  # or the pool's first rollback would undo it

    sa.event.listen(engine, "connect", configure)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(handle: sqlite3.Connection, timeout_s: float, *, read_only: bool) -> None:
    # pysqlite would begin transactions by itself, late and never before DDL; `_begin` does.
    handle.isolation_level = None
    handle.execute("PRAGMA foreign_keys=ON")
    if read_only:
        return
    handle.execute("PRAGMA synchronous=NORMAL")  # safe in WAL: a power cut undoes, never damages
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


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("nbbench_writes", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK)))


def _first_line(error: BaseException) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    lines = str(origin).strip().splitlines()
    return lines[0] if lines else type(origin).__name__


_REBUILD = "`nbbench db rebuild` makes it anew from the results"


def _store_error(name: str, error: Exception) -> StoreError:
    text = _first_line(error)
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
