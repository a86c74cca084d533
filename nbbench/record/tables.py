"""Makes a database's tables, and makes them anew where they are of another version of nbbench."""

from __future__ import annotations

import re

import sqlalchemy as sa

from nbbench import __version__
from nbbench.errors import StoreError
from nbbench.record import schema

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
    connection: sa.Connection, name: str, project: str, *, check_only: bool = False, anew: bool = False
) -> tuple[int, str]:
    """See to it that the tables and the project's row are there; with `check_only` nothing is written.

    Gives the project's row number, 0 where it has none yet, and why the tables are made anew, if they are.
    Raises StoreError for a database of a newer nbbench and for one that is somebody else's.
    """
    there = set(sa.inspect(connection).get_table_names())
    found = _facts(connection) if schema.meta.name in there else {}
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
        schema.metadata.create_all(connection)
        facts = {_TABLES: schema.DIGEST, _WRITER: __version__}
        new = [{"key": key, "value": value} for key, value in facts.items()]
        connection.execute(sa.insert(schema.meta), new)
    if not _project(connection, project):
        row = {"name": project, "detected": "", "placed": ""}
        connection.execute(sa.insert(schema.projects), row)
    return _project(connection, project), reason


def _facts(connection: sa.Connection) -> dict[str, str]:
    names = {column["name"] for column in sa.inspect(connection).get_columns(schema.meta.name)}
    if not names >= {"key", "value"}:
        return {}  # somebody else's table of this name
    c = schema.meta.c
    return {row.key: row.value for row in connection.execute(sa.select(c.key, c.value))}


def _project(connection: sa.Connection, name: str) -> int:
    c = schema.projects.c
    return int(connection.execute(sa.select(c.id).where(c.name == name)).scalar() or 0)


def _check_foreign(connection: sa.Connection, name: str, there: set[str]) -> None:
    """Never mix our tables with somebody else's; a PostgreSQL schema may hold unrelated ones."""
    if connection.dialect.name == "postgresql":
        there = there & set(schema.metadata.tables)
    if there:
        raise StoreError(f"{name} is not a database of nbbench (it holds a table {min(there)!r})")


def _drop(connection: sa.Connection, there: set[str]) -> None:
    """Drop our tables, those of earlier versions too; in PostgreSQL no others."""
    if connection.dialect.name == "postgresql":
        there = there & {*schema.metadata.tables, *_FORMER}
    found = sa.MetaData()
    found.reflect(connection, only=sorted(there))  # with their references: a table goes before what it needs
    found.drop_all(connection)


def _order(version: str) -> tuple[int, ...]:
    """A version's numbers; those of a development state count as of the release before it."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition(".dev")[0])[:3])
