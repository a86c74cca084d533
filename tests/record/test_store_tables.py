"""Tables of another version are made anew; what is somebody else's is left alone."""

from __future__ import annotations

import dataclasses
import importlib
import sqlite3
from contextlib import closing

import pytest
from store_trees import content, write_tree

from nbbench.errors import StoreError
from nbbench.model import NotJudged
from nbbench.record import schema
from nbbench.record.refresh import import_results
from nbbench.record.schema import parse_url
from nbbench.record.store import Store


def execute(url, *statements):
    place = parse_url(url)
    connect = sqlite3.connect if place.is_sqlite else importlib.import_module("psycopg").connect
    with closing(connect(place.file if place.is_sqlite else place.url)) as handle:
        found = [handle.execute(one) for one in statements]
        rows = [one.fetchall() for one in found if one.description]
        handle.commit()
    return rows


def tables_of(url):
    with Store.open(url) as store, store.reading() as connection:
        return schema._names(connection)


def test_tables_of_another_version_are_made_anew(url, tmp_path):
    tree = write_tree(tmp_path / "results")
    with Store.open(url) as store:
        assert store.made_anew == ""
        import_results(store, tree)
        whole = content(store)
    execute(
        url, "ALTER TABLE events ADD COLUMN more text", "UPDATE meta SET value = 'x' WHERE key = 'tables'"
    )
    with Store.open(url) as store:
        assert "made by another version of nbbench" in store.made_anew
        assert store.counts()["results"] == 0
        import_results(store, tree)
        assert content(store) == whole
    with Store.open(url) as store:
        assert store.made_anew == ""


def test_the_tables_of_the_landed_version_are_made_anew(url):
    """It kept a revision of alembic."""
    execute(
        url,
        "CREATE TABLE alembic_version (version_num varchar(32))",
        "INSERT INTO alembic_version VALUES ('0003')",
        "CREATE TABLE meta (key text, value text)",
        "INSERT INTO meta VALUES ('detect', '{}')",
        *(f"CREATE TABLE {name} (id integer)" for name in ("source_files", "process_records")),
        "CREATE TABLE change_points (id integer)",
    )
    with Store.open(url) as store:
        assert store.made_anew
        assert store.counts()["results"] == 0
    assert "alembic_version" not in tables_of(url)


def test_tables_that_are_no_more_go_with_their_rows(url, tmp_path):
    """Those of earlier versions refer to tables that are made anew."""
    with Store.open(url) as store:
        import_results(store, write_tree(tmp_path / "results"))
    execute(
        url,
        "CREATE TABLE change_points (series_id integer REFERENCES series (id))",
        "INSERT INTO change_points SELECT id FROM series",
        "UPDATE meta SET value = 'x' WHERE key = 'tables'",
    )
    with Store.open(url) as store:
        assert store.made_anew
        assert import_results(store, tmp_path / "results").results == 30
    assert "change_points" not in tables_of(url)


def test_a_newer_database_is_left_alone(url):
    Store.open(url).close()
    newer = "UPDATE meta SET value = '99.0' WHERE key = 'nbbench'"
    execute(url, newer, "UPDATE meta SET value = 'x' WHERE key = 'tables'")
    with pytest.raises(StoreError, match=r"written by a newer nbbench \(99.0;") as info:
        Store.open(url)
    assert info.value.exit_code == 2
    assert "update nbbench" in info.value.hint
    assert execute(url, "SELECT value FROM meta WHERE key = 'nbbench'") == [[("99.0",)]]


def test_anew_drops_everything(url, tmp_path):
    """J6: values that somebody doubled in the tables."""
    tree = write_tree(tmp_path / "results")
    with Store.open(url) as store:
        import_results(store, tree)
        whole = content(store)
    execute(url, "UPDATE results SET value = value * 2")
    with Store.open(url, anew=True) as store:
        import_results(store, tree)
        assert content(store) == whole


@pytest.mark.parametrize("value", ["'2O25-01-01 00:00:00'", "5"])
def test_a_flipped_date_is_said_and_not_an_internal_error(tmp_path, value):
    """J6. PostgreSQL holds no such date."""
    url = f"sqlite:///{tmp_path}/x.sqlite"
    with Store.open(url) as store:
        import_results(store, write_tree(tmp_path / "results"))
    execute(url, f"UPDATE commits SET date = {value}")
    with Store.open(url) as store, pytest.raises(StoreError, match="does not parse") as info:
        store.commits()
    assert "db rebuild" in info.value.hint


def test_somebody_elses_tables_are_left_alone(url):
    execute(url, "CREATE TABLE commits (mine integer)")
    for anew in (False, True):
        with pytest.raises(StoreError, match="not a database of nbbench"):
            Store.open(url, anew=anew)
    assert execute(url, "SELECT * FROM commits") == [[]]


def test_unrelated_tables_of_a_shared_postgresql_do_no_harm(url):
    execute(url, "CREATE TABLE unrelated (mine integer)", "CREATE TABLE alembic_version (mine integer)")
    if url.startswith("postgresql"):
        Store.open(url).close()
        Store.open(url, anew=True).close()
        assert execute(url, "SELECT * FROM unrelated", "SELECT * FROM alembic_version") == [[], []]
    else:
        with pytest.raises(StoreError, match="holds a table 'alembic_version'"):
            Store.open(url)


def test_making_anew_is_all_or_nothing(url, tmp_path, monkeypatch):
    with Store.open(url) as store:
        import_results(store, write_tree(tmp_path / "results"))
        whole = content(store)
    monkeypatch.setattr(schema, "__version__", object())  # fails when it is written, last
    with pytest.raises(Exception):  # noqa: B017 -- whatever the driver makes of it
        Store.open(url, anew=True)
    monkeypatch.undo()
    with Store.open(url) as store:
        assert content(store) == whole


def test_the_tables_stand_for_the_nouns():
    assert {"direction", "phase"} <= {c.name for c in schema.TABLES["events"].columns}
    names = [field.name for field in dataclasses.fields(NotJudged)]
    assert [c.name for c in schema.NOT_JUDGED.columns] == names


def test_who_had_it_open_while_it_was_made_anew_writes_nothing(url, tmp_path):
    """Its row numbers may mean other rows now, also where the project is the same; it reads nothing, too."""
    tree = write_tree(tmp_path / "results", 3)
    with Store.open(url, project="a") as first, Store.open(url, project="b") as second:
        import_results(first, tree)
        with Store.open(url, project="b", anew=True) as third:
            before = content(third)
        for one in (first, second):
            for action in (lambda: import_results(one, tree), lambda: one.save_events([]), one.events):  # noqa: B023
                with pytest.raises(StoreError, match="another process has made"):
                    action()
    with Store.open(url, project="b") as last:
        assert content(last) == before
