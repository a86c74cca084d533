"""Brings a database's tables to this program's revision; users need no alembic.ini."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from nbbench.errors import StoreError
from nbbench.record import schema

VERSION_TABLE = "alembic_version"


def current_revision(connection: sa.Connection) -> str | None:
    """The revision of the tables; None where there are none yet."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text))
    return connection.execute(sa.select(version.c.version_num)).scalar()


def prepare(connection: sa.Connection, name: str, check_only: bool = False) -> bool:
    """Migrate to the newest revision, or tell whether that is needed with `check_only`.

    Alembic itself is imported only when there is something to migrate. Raises StoreError for
    a newer database and for one that is not nbbench's.
    """
    found = current_revision(connection)
    if found == schema.HEAD:
        return True
    if found is None:
        _check_empty(connection, name)
    elif found not in known_revisions():
        raise StoreError(
            f"{name} was written by a newer nbbench (revision {found}; this one knows {schema.HEAD})",
            hint="update nbbench, or choose another database with --db URL",
        )
    if not check_only:
        _upgrade(connection)
    return False


def known_revisions() -> set[str]:
    """Every revision that this program can migrate from."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(_SCRIPTS)).walk_revisions()}


_SCRIPTS = Path(__file__).parent / "migrations"


def _check_empty(connection: sa.Connection, name: str) -> None:
    """Never mix our tables with somebody else's; a PostgreSQL schema may hold unrelated ones."""
    there = set(sa.inspect(connection).get_table_names())
    if connection.dialect.name == "postgresql":
        there &= set(schema.metadata.tables)
    if there:
        raise StoreError(f"{name} is not a database of nbbench (it holds a table {min(there)!r})")


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # The option is interpolated as in an .ini file, so a % of the path is doubled.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
