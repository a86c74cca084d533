"""One test body for both engines: `url` and `store` come once for each."""

from __future__ import annotations

import pytest
from pg_server import NoServer, database, schema, server

from nbbench.record.store import Store

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(scope="session")
def pg_url():
    try:
        with server() as there, database(there) as url:
            yield url
    except NoServer as reason:
        pytest.skip(f"no PostgreSQL: {reason}")


@pytest.fixture(params=ENGINES)
def url(request, tmp_path):
    """The URL of a database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'nbbench.sqlite'}"
    else:
        with schema(request.getfixturevalue("pg_url")) as url:
            yield url


@pytest.fixture
def store(url):
    with Store.open(url) as store:
        yield store
