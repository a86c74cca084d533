"""The migrations lead to the tables of schema.py, on both engines."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from store_trees import ledger, source

from nbbench.errors import StoreError
from nbbench.record import Store, migrate, schema
from nbbench.record.side_files import LedgerFile


def test_head_is_the_newest_revision():
    scripts = ScriptDirectory(str(files("nbbench.record") / "migrations"))
    assert scripts.get_heads() == [schema.HEAD]
    assert schema.HEAD in migrate.known_revisions()


def test_upgrading_an_empty_database_gives_the_metadata(store):
    with store.reading() as connection:
        assert migrate.current_revision(connection) == schema.HEAD
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def test_down_and_up_again(store):
    with store.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(files("nbbench.record") / "migrations"))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == [migrate.VERSION_TABLE]
        command.upgrade(config, "head")
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_ledgers_of_the_first_tables_survive(store):
    file = LedgerFile("ab" * 20, "c" * 40, "2.13.0", {"warm": ledger()})
    store.import_batch([(replace(source("ledger/x"), kind="ledger"), file)])
    with store.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(files("nbbench.record") / "migrations"))
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        command.upgrade(config, "head")
    later = {"fused_bytes": 0, "backward_ops": 0, "backward_bytes": 0, "functions": (), "notes": ()}
    assert store.ledger("ab", "warm") == replace(ledger(), peak_line=("", 0, ""), **later)


def test_a_newer_database_is_left_alone(url):
    Store.open(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="written by a newer nbbench") as info:
        Store.open(url)
    assert info.value.exit_code == 2
    assert "update nbbench" in info.value.hint
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


def test_somebody_elses_tables_are_left_alone(url):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE commits (mine integer)"))
    with pytest.raises(StoreError, match="not a database of nbbench"):
        Store.open(url)
    engine.dispose()


def test_unrelated_tables_of_a_shared_postgresql_do_no_harm(url):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE unrelated (mine integer)"))
    if engine.dialect.name == "postgresql":
        Store.open(url).close()
    else:
        with pytest.raises(StoreError, match="holds a table 'unrelated'"):
            Store.open(url)
    engine.dispose()


def test_a_failed_migration_leaves_nothing(url, monkeypatch):
    upgrade = migrate._upgrade

    def failing(connection):
        upgrade(connection)
        raise StoreError("stopped")

    monkeypatch.setattr(migrate, "_upgrade", failing)
    with pytest.raises(StoreError, match="stopped"):
        Store.open(url)
    engine = sa.create_engine(url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    monkeypatch.undo()
    Store.open(url).close()
