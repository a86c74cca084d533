"""Opening the database: transactions, and errors in one sentence.

Statements are SQL that SQLite and PostgreSQL read alike, with `?` in place of values.
"""

import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from nbbench.errors import StoreError
from nbbench.record.drivers import (
    ROLES_HINT,
    UNREACHED_HINT,
    UNREADABLE,
    LostConnectionError,
    check_file,
    connect_server,
    error_line,
    is_broken_off,
    is_read_only,
    load_psycopg,
    open_sqlite,
    store_error,
)
from nbbench.record.schema import DatabasePlace, may_write, parse_url, prepare_tables
from nbbench.record.shapes import Noun, Shape

# Writers wait for each other; an import holds the database for about a second at a time.
TIMEOUT_S = 60.0

# A server that was there is waited for so long (a restart); who comes first to one that is not is told so.
_AWAY_S = 60.0
_PAUSE_S = 0.5
_TRIES = 5

# PostgreSQL's writers take turns by this number, as SQLite's do by its write lock: then two
# imports never wait for each other's rows in a circle.
_WRITER_LOCK = 0x6E62_6265_6E63


class Connection:
    """A connection inside of a transaction."""

    def __init__(self, handle: Any, is_sqlite: bool) -> None:
        self.is_sqlite = is_sqlite
        self.number = 0  # of a writing transaction at the server
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
        if not self.is_sqlite:
            with self._handle.cursor().copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            return
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


_Method = TypeVar("_Method", bound=Callable[..., Any])


def lasting(method: _Method) -> _Method:
    """A method that is one transaction, called again where a server ended it by no fault of its own.

    It must change nothing but the database, and be able to read its arguments twice.
    """

    @wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        for _ in range(_TRIES - 1):
            try:
                return method(*args, **kwargs)
            except LostConnectionError as error:
                _say_again(error)
        return method(*args, **kwargs)

    return cast("_Method", called)


class Database:
    """An open database, seen as the history of one project.

    `reading()` and `writing()` give connections inside a transaction. `made_anew` says why the tables were
    made anew when it was opened, so that what they held comes back with the next import; empty otherwise.
    `read_only` says that this user can change nothing in it.
    """

    def __init__(self, place: DatabasePlace, project: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._place, self._timeout_s = place, timeout_s
        self._driver: Any = sqlite3 if place.is_sqlite else load_psycopg()
        self._idle: list[Any] = []
        self._away = False
        self.read_only = place.file is not None and is_read_only(place.file)
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
            check_file(place.file, create)
        store = cls(place, project, timeout_s)
        try:
            with store.reading() as connection:
                found = prepare_tables(connection, store.name, project, check_only=True)
                store.read_only = store.read_only or not may_write(connection)
            if anew or not found[0]:
                found = store._prepare(found[1], anew=anew)
            store.project_id, store.made_anew = found
        except BaseException:
            store.close()
            raise
        return store

    @lasting  # readers and the maker of tables may wait for each other in a circle
    def _prepare(self, reason: str, *, anew: bool) -> tuple[int, str]:
        if self.read_only:
            lacks = "is not made anew" if anew else f"does not know the project {self.project!r}"
            why = reason or f"{self.name} {lacks}"
            raise StoreError(f"{why}; this user can only read it", hint=ROLES_HINT)
        try:
            with self.writing(checked=False) as connection:
                return prepare_tables(connection, self.name, self.project, anew=anew)
        except StoreError as error:
            if not reason:
                raise
            raise type(error)(f"{reason}; {error}", hint=error.hint) from error

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

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries that all see the same state."""
        begin = "BEGIN" if self._place.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        with self._translated(UNREADABLE), self._transaction(begin) as connection:
            self._check_same(connection)
            yield connection

    def nouns(self, shape: Shape[Noun], query: str, *values: Any) -> list[Noun]:
        """What the rows of a query stand for, which takes the project's number, then these values."""
        with self.reading() as connection:
            return [shape.noun(row) for row in connection.rows(query, [self.project_id, *values])]

    @contextmanager
    def writing(self, *, checked: bool = True) -> Iterator[Connection]:
        """A connection that is the only writer until it commits; errors undo everything.

        Without `checked` SQLite does not look at what rows refer to, so that any table can go.
        """
        begin = "BEGIN IMMEDIATE" if self._place.is_sqlite else "BEGIN"
        with self._translated(), self._transaction(begin, checked=checked) as connection:
            if not connection.is_sqlite:
                lock = f"SELECT pg_advisory_xact_lock({_WRITER_LOCK}), txid_current()"
                connection.number = connection.cursor(lock).fetchone()[1]
            if checked:
                self._check_same(connection)
            yield connection

    def _check_same(self, connection: Connection) -> None:
        """Row numbers are drawn anew with the tables: those known here would mean no rows, or other ones."""
        known = "SELECT id FROM projects WHERE name = ?"
        if self.project_id and connection.one(known, [self.project]) != self.project_id:
            raise StoreError(f"another process has made {self.name} anew", hint="run again")

    @contextmanager
    def _transaction(self, begin: str, *, checked: bool = True) -> Iterator[Connection]:
        handle = self._begun(begin, checked=checked)
        connection, finished = Connection(handle, self._place.is_sqlite), False
        try:
            yield connection
            finished = True
            commit(handle, begin)
            if self._place.is_sqlite:
                handle.execute("PRAGMA foreign_keys=ON")
        except BaseException as error:
            if not self._let_go(handle, error):
                raise
            lost = self._lost(error)
            if not (finished and connection.number and self._was_kept(connection.number)):
                raise lost from error
            _say_again(lost)
            return
        self._idle.append(handle)

    def _begun(self, begin: str, *, checked: bool) -> Any:
        """A handle inside of a transaction; of those that lay idle the server may have ended some."""
        while True:
            was_idle = bool(self._idle)
            handle = self._idle.pop() if was_idle else self._connect()
            try:
                if not checked and self._place.is_sqlite:
                    handle.execute("PRAGMA foreign_keys=OFF")
                handle.execute(begin)
                return handle
            except BaseException as error:
                if not (self._let_go(handle, error) and was_idle):
                    raise
                self.close()
                _say_again(self._lost(error))

    def _let_go(self, handle: Any, error: BaseException) -> bool:
        """After an error the next handle is as new; gives whether the server had ended this one."""
        lost = is_broken_off(handle, error)
        with suppress(self._driver.Error):  # a full disk has undone it already
            handle.execute("ROLLBACK")
        if self.url is None:  # what it holds would go with it
            self._idle.append(handle)
        else:
            handle.close()
        self._away = self._away or lost
        return lost

    def _lost(self, error: BaseException) -> LostConnectionError:
        return LostConnectionError(f"{self.name} broke off ({error_line(error)})")

    def _was_kept(self, number: int) -> bool:
        """Whether the server did what COMMIT asked before it was lost; waits for that transaction's end."""
        with closing(self._connect()) as handle:
            handle.execute(f"SELECT pg_advisory_lock({_WRITER_LOCK})")
            return bool(handle.execute("SELECT txid_status(%s)", [number]).fetchone()[0] == "committed")

    def _connect(self) -> Any:
        if self._place.is_sqlite:
            return open_sqlite(self._place.file, self._timeout_s, read_only=self.read_only)
        end = time.monotonic() + (_AWAY_S if self._away else 0.0)
        while True:
            try:
                handle = connect_server(self._driver, self._place.url, self._timeout_s)
                self._away = False
                return handle
            except self._driver.OperationalError as error:
                if time.monotonic() >= end:
                    said = f"{self.name} cannot be reached: {error_line(error)}"
                    raise StoreError(said, hint=UNREACHED_HINT) from error
                time.sleep(_PAUSE_S)

    @contextmanager
    def _translated(self, more: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        caught: tuple[type[Exception], ...] = (self._driver.Error, *more)
        try:
            yield
        except caught as error:
            raise store_error(self.name, error) from error


def _say_again(error: LostConnectionError) -> None:
    print(f"nbbench: {error}: trying again", file=sys.stderr)


def commit(handle: Any, begin: str) -> None:
    """End the transaction that `begin` began."""
    handle.execute("COMMIT")
