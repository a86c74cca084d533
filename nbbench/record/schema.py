"""Which database a URL means, its tables (docs/database.md explains them), and how it gets them.

A database of other tables than these is made anew from the results, so there are no migrations. Most
tables follow the nouns: a field that is added to one is a column here.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from nbbench import __version__
from nbbench.errors import StoreError
from nbbench.ledger import Ledger
from nbbench.model import Benchmark, Commit, Decision, Event, NotJudged, ProcessRecord, Result
from nbbench.record.shapes import Column, Shape

if TYPE_CHECKING:
    from nbbench.record.engine import Connection


URL_HINT = "use sqlite:///FILE or postgresql://USER@HOST/NAME"

# Several may be given: the driver takes the first that answers.
_HOSTS = re.compile(r"(?:[\w.%-]*|\[[\w:.%]*\])(?::\d*)?(?:,(?:[\w.%-]*|\[[\w:.%]*\])(?::\d*)?)*")


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """Where a database is: its URL, which is never to be shown, and how people may see it.

    `file` is that of a SQLite database; None for one in memory and for PostgreSQL.
    """

    url: str
    shown: str
    file: Path | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether SQLite keeps it."""
        return self.url.startswith("sqlite:")


def parse_url(url: str) -> DatabasePlace:
    """The database that a URL means; `postgres://` and psycopg's name are PostgreSQL's too.

    Raises StoreError, which quotes nothing behind the scheme: a password may stand anywhere in it.
    """
    scheme, found, rest = url.partition("://")
    if scheme == "sqlite" and found:
        path = rest.removeprefix("/")
        file = Path(path) if path not in ("", ":memory:") else None
        return DatabasePlace(url, str(file) if file else url, file)
    unclear = StoreError(
        f"the database URL ({f'{scheme}://…' if found else 'given'}) does not parse", hint=URL_HINT
    )
    if not found:
        raise unclear
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise StoreError(f"no such kind of database: {scheme}", hint=URL_HINT)
    try:
        parts = urlsplit(f"postgresql://{rest}")
    except ValueError as error:
        raise unclear from error
    login, _, hosts = parts.netloc.rpartition("@")
    # The driver would quote what stands behind an @ of the password, or before its /, as the host.
    if "@" in login or "@" in rest[len(parts.netloc) :]:
        raise StoreError("the database URL holds an @ in its password", hint="write it as %40, and / as %2F")
    if not _HOSTS.fullmatch(hosts):
        raise unclear
    user = f"{parts.username}@" if parts.username else ""
    return DatabasePlace(f"postgresql://{rest}", f"postgresql://{user}{hosts}{parts.path}")


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """A ledger with the tree, the commit and the torch version that it was measured with."""

    tree: str
    commit: str
    torch: str
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a results tree as the database remembers it.

    `path` is relative to the tree, with slashes. `error` says why a file cannot be used; empty for a good
    one. `params` are what asv wrote down of the machine and the Python.
    """

    path: str
    kind: str  # results, benchmarks, machine, telemetry, ledger, decision
    size: int
    mtime_ns: int
    sha256: str
    error: str = ""
    params: tuple[tuple[str, str], ...] = ()


COMMIT = Shape(Commit)
BENCHMARK = Shape(Benchmark)
FILE = Shape(SourceFile)
RESULT = Shape(Result, without={"key", "commit", "unit", "samples"})
RECORD = Shape(ProcessRecord, renamed={"commit": "commit_hash"})
LEDGER = Shape(Ledger)
DECISION = Shape(Decision)
EVENT = Shape(Event)
NOT_JUDGED = Shape(NotJudged)


class TableLayout(NamedTuple):
    """A table: its columns, those of its key (by default a number of its own), what is unique together,
    and columns with an index."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("id",)
    unique: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()


def _ref(name: str, table: str) -> Column:
    return Column(name, "BIGINT", rule=f"REFERENCES {table} (id)")


_ID, _OF_PROJECT = Column("id", "ID"), _ref("project_id", "projects")
_OF_FILE = Column("file_id", "BIGINT", rule="REFERENCES files (id) ON DELETE CASCADE")
_ORDINAL = Column("ordinal", "BIGINT")


def _texts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "TEXT") for name in names)


TABLES = {
    table.name: table
    for table in (
        # What describes the database itself: which tables it has, and who made them.
        TableLayout("meta", _texts("key", "value"), ("key",)),
        # `detected` says how the events were found, `placed` how the commits were ordered (JSON).
        TableLayout("projects", (_ID, *_texts("name", "detected", "placed")), unique=("name",)),
        # `rank` counts the commits in the branch's order, from 1, measured paths touched or not; 0 where a
        # commit is not of the branch.
        TableLayout(
            "commits",
            (_ID, _OF_PROJECT, *COMMIT.columns, Column("rank", "BIGINT")),
            unique=("project_id", "hash"),
        ),
        TableLayout(
            "benchmarks", (_ID, _OF_PROJECT, *BENCHMARK.columns), unique=("project_id", "name", "version")
        ),
        # `params` are the values; their names are the benchmark's. The digest stands for the whole key, which
        # may be longer than what PostgreSQL can index.
        TableLayout(
            "series",
            (_ID, _ref("benchmark_id", "benchmarks"), *_texts("digest", "machine", "environment", "params")),
            unique=("benchmark_id", "digest"),
        ),
        # The files of results folders: the place "" is the folder beside which the database lies.
        TableLayout(
            "files",
            (_ID, _OF_PROJECT, *_texts("place"), *FILE.columns),
            unique=("project_id", "place", "path"),
        ),
        # For questions in SQL: nothing here reads it. A commit goes without a look at all of its rows.
        TableLayout(
            "results",
            (_OF_FILE, *(Column(name, "BIGINT") for name in ("series_id", "commit_id")), *RESULT.columns),
            ("file_id", "series_id"),
        ),
        # What a result file holds, as arrays (`result_arrays`): they are written many times as fast as rows.
        # Files of one `layout` have the same series in the same order; `started_at` is when the series with
        # the least number was measured.
        TableLayout(
            "columns",
            (
                _OF_FILE,
                _ref("commit_id", "commits"),
                *_texts("machine", "environment", "layout"),
                Column("started_at", "TEXT", optional=True),
                Column("samples", "BIGINT"),
                *(Column(name, "BLOB") for name in ("packed", "details", "runs")),
                Column("sampled", "BLOB", optional=True),
            ),
            ("file_id",),
            indexes=("commit_id",),
        ),
        TableLayout(
            "process_records",
            (_OF_FILE, Column("line", "BIGINT"), *RECORD.columns),
            ("file_id", "line"),
            indexes=("commit_hash",),
        ),
        TableLayout(
            "ledgers",
            (_OF_FILE, *_texts("tree", "commit_hash", "torch"), *LEDGER.columns),
            ("file_id", "workload"),
            indexes=("tree",),
        ),
        TableLayout("decisions", (_OF_FILE, *DECISION.columns), ("file_id",)),
        TableLayout("events", (_OF_PROJECT, _ORDINAL, *EVENT.columns), ("project_id", "ordinal")),
        TableLayout("not_judged", (_OF_PROJECT, _ORDINAL, *NOT_JUDGED.columns), ("project_id", "ordinal")),
    )
}
"""Every table by its name; a table stands behind those that it refers to."""

_NUMBER = "INTEGER PRIMARY KEY"
_OWN_TYPES = {"ID": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "BLOB": "BYTEA"}  # PostgreSQL's


def create_statements(table: TableLayout, is_sqlite: bool) -> list[str]:
    """The statements that make a table and its indexes."""
    own = {"ID": _NUMBER} if is_sqlite else _OWN_TYPES
    lines = [
        " ".join(filter(None, (c.name, own.get(c.type, c.type), "" if c.optional else "NOT NULL", c.rule)))
        for c in table.columns
    ]
    lines += [f"PRIMARY KEY ({', '.join(table.key)})"] if table.key != ("id",) else []
    lines += [f"UNIQUE ({', '.join(table.unique)})"] if table.unique else []
    # Rows that lie in the order of their key need no second tree of keys.
    by_key = " WITHOUT ROWID" if is_sqlite and table.key != ("id",) else ""
    made = [f"CREATE TABLE {table.name} ({', '.join(lines)}){by_key}"]
    index = "CREATE INDEX IF NOT EXISTS ix_{0}_{1} ON {0} ({1})"
    return made + [index.format(table.name, name) for name in table.indexes]


_MADE = repr([create_statements(table, True) for table in TABLES.values()])
DIGEST = hashlib.sha256(_MADE.encode()).hexdigest()[:16]
"""Stands for these tables; a database that was made with others is made anew."""


# Earlier versions of nbbench migrated their tables and kept the revision here.
_ALEMBIC = "alembic_version"
_OURS = frozenset({"source_files", "process_records", "change_points"})
# Tables that this version has no more.
_FORMER = _OURS | {_ALEMBIC, "tree_files", "trees", "machines", "environments", "folders"}
_FORMER |= {"folder_figures", "noise_floors"}
_TABLES, _WRITER = "tables", "nbbench"


class UnusableDatabaseError(StoreError):
    """A database that this nbbench cannot use; `state` is damaged, or newer (of a newer nbbench)."""

    default_hint = "`nbbench db rebuild` makes it anew from the results"

    def __init__(self, message: str, *, hint: str | None = None, state: str = "damaged") -> None:
        super().__init__(message, hint=hint)
        self.state = state


def prepare_tables(
    connection: Connection, name: str, project: str, *, check_only: bool = False, anew: bool = False
) -> tuple[int, str]:
    """See to it that the tables and the project's row are there; with `check_only` nothing is written.

    Gives the project's row number, 0 where it has none yet, and why the tables are made anew, if they are.
    Raises StoreError for a database of a newer nbbench and for one that is somebody else's.
    """
    there = _names(connection)
    found = _facts(connection) if "meta" in there else {}
    ours = _TABLES in found or (_ALEMBIC in there and there >= _OURS)
    reason = ""
    if ours and found.get(_TABLES) != DIGEST:
        reason = f"{name} was made by another version of nbbench: its tables are made anew from the results"
        if _order(found.get(_WRITER, "")) > _order(__version__):
            raise UnusableDatabaseError(
                f"{name} was written by a newer nbbench ({found[_WRITER]}; this is {__version__})",
                hint="update nbbench, or begin anew with `nbbench db rebuild`, which keeps the old file",
                state="newer",
            )
    elif not ours and (connection.is_sqlite or not check_only):
        # Who only looks at a server may meet tables that are just being made.
        _check_foreign(connection, name, there)
    if check_only:
        whole = ours and not reason and not anew
        return _project(connection, project) if whole else 0, reason
    if ours and (reason or anew):
        old = there if _TABLES not in found else there - {_ALEMBIC}
        for table_name in old if connection.is_sqlite else old & {*TABLES, *_FORMER}:  # a server has others
            connection.cursor(f"DROP TABLE {table_name}{'' if connection.is_sqlite else ' CASCADE'}")
    if not ours or reason or anew:
        for table in TABLES.values():
            for statement in create_statements(table, connection.is_sqlite):
                connection.cursor(statement)
        facts = {_TABLES: DIGEST, _WRITER: __version__}
        connection.insert("meta", [{"key": key, "value": value} for key, value in facts.items()])
    if not _project(connection, project):
        number = 1 + secrets.randbelow(2**31 - 1)  # another one each time: it tells these tables from others
        connection.insert("projects", [{"id": number, "name": project, "detected": "", "placed": ""}])
    return _project(connection, project), reason


def may_write(connection: Connection) -> bool:
    """Whether the user may change what the tables hold; of tables that are not there yet nobody knows."""
    asked = "has_table_privilege(to_regclass('results'), 'INSERT') IS NOT FALSE"
    said = f"SELECT {asked} AND current_setting('transaction_read_only') = 'off'"
    return connection.is_sqlite or bool(connection.one(said))


def _names(connection: Connection, table: str = "") -> set[str]:
    """The names of the tables, or of a table's columns."""
    sqlite = ("SELECT name FROM sqlite_master WHERE type = 'table'", "SELECT name FROM pragma_table_info(?)")
    others = (  # not information_schema: it shows nothing of what a user has no rights on
        "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()",
        "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(?)",
    )
    statement = (sqlite if connection.is_sqlite else others)[bool(table)]
    return {name for (name,) in connection.cursor(statement, [table] if table else [])}


def _facts(connection: Connection) -> dict[str, str]:
    if not _names(connection, "meta") >= {"key", "value"}:
        return {}  # somebody else's table of this name
    return dict(connection.cursor("SELECT key, value FROM meta").fetchall())


def _project(connection: Connection, name: str) -> int:
    return int(connection.one("SELECT id FROM projects WHERE name = ?", [name]) or 0)


def _check_foreign(connection: Connection, name: str, there: set[str]) -> None:
    """Never mix our tables with somebody else's; a PostgreSQL schema may hold unrelated ones."""
    if not connection.is_sqlite:
        there = there & set(TABLES)
    if there:
        raise StoreError(f"{name} is not a database of nbbench (it holds a table {min(there)!r})")


def _order(version: str) -> tuple[int, ...]:
    """A version's numbers; those of a development state count as of the release before it."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition(".dev")[0])[:3])
