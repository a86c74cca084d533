"""Makes a database's tables, and makes them anew where they are of another version of nbbench."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nbbench import __version__
from nbbench.errors import StoreError
from nbbench.record import schema

if TYPE_CHECKING:
    from nbbench.record.engine import Connection

# Earlier versions of nbbench migrated their tables and kept the revision here.
_ALEMBIC = "alembic_version"
_OURS = frozenset({"source_files", "process_records", "change_points"})
# Tables that this version has no more.
_FORMER = _OURS | {_ALEMBIC, "tree_files", "trees", "machines", "environments", "folders"}
_FORMER |= {"folder_figures", "noise_floors"}
_TABLES, _WRITER = "tables", "nbbench"


class UnusableDatabaseError(StoreError):
    """A database that this nbbench cannot use; `state` is damaged, or newer (of a newer nbbench)."""

    def __init__(self, message: str, *, hint: str, state: str = "damaged") -> None:
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
    if ours and found.get(_TABLES) != schema.DIGEST:
        reason = f"{name} was made by another version of nbbench: its tables are made anew from the results"
        if _order(found.get(_WRITER, "")) > _order(__version__):
            raise UnusableDatabaseError(
                f"{name} was written by a newer nbbench ({found[_WRITER]}; this is {__version__})",
                hint="update nbbench, or begin anew with `nbbench db rebuild`, which keeps the old file",
                state="newer",
            )
    elif not ours:
        _check_foreign(connection, name, there)
    if check_only:
        whole = ours and not reason and not anew
        return _project(connection, project) if whole else 0, reason
    if ours and (reason or anew):
        _drop(connection, there if _TABLES not in found else there - {_ALEMBIC})
    if not ours or reason or anew:
        for table in schema.TABLES.values():
            for statement in schema.create_statements(table, connection.is_sqlite):
                connection.cursor(statement)
        facts = {_TABLES: schema.DIGEST, _WRITER: __version__}
        connection.insert("meta", [{"key": key, "value": value} for key, value in facts.items()])
    if not _project(connection, project):
        connection.insert("projects", [{"name": project, "detected": "", "placed": ""}])
    return _project(connection, project), reason


def _names(connection: Connection, table: str = "") -> set[str]:
    """The names of the tables, or of a table's columns."""
    sqlite = ("SELECT name FROM sqlite_master WHERE type = 'table'", "SELECT name FROM pragma_table_info(?)")
    others = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()",
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = ?",
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
        there = there & set(schema.TABLES)
    if there:
        raise StoreError(f"{name} is not a database of nbbench (it holds a table {min(there)!r})")


def _drop(connection: Connection, there: set[str]) -> None:
    """Drop our tables, those of earlier versions too; in PostgreSQL no others."""
    for name in there if connection.is_sqlite else there & {*schema.TABLES, *_FORMER}:
        connection.cursor(f"DROP TABLE {name}{'' if connection.is_sqlite else ' CASCADE'}")


def _order(version: str) -> tuple[int, ...]:
    """A version's numbers; those of a development state count as of the release before it."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition(".dev")[0])[:3])
