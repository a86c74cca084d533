"""A private PostgreSQL server for the tests: its own folder, a socket there, no TCP port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from urllib.parse import quote

GIVEN_URL = "NBBENCH_TEST_POSTGRESQL"


class NoServer(Exception):
    """Why there is no PostgreSQL to test with."""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server: the one that NBBENCH_TEST_POSTGRESQL names, or one started here."""
    if url := os.environ.get(GIVEN_URL):
        yield url
        return
    programs = _programs()
    # Not pytest's folder: the server's user could not pass through root's.
    folder = Path(tempfile.mkdtemp(prefix="nbbench-pg-"))
    user = _server_user()
    try:
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        # The C locale sorts like Python, and like SQLite.
        init = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        _run([programs / "initdb", *init], user)
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off"
        _run([programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"], user)
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            with suppress(NoServer):
                _run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """The URL of a fresh database on the server."""
    name = f"nbbench_{uuid.uuid4().hex[:12]}"
    _admin(server_url, f"CREATE DATABASE {name}")
    try:
        place, _, options = server_url.partition("?")
        yield f"{place.rpartition('/')[0]}/{name}?{options}"
    finally:
        with suppress(Exception):
            _admin(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def schema(database_url: str) -> Iterator[str]:
    """The URL of an empty schema in the database, which is far cheaper than another database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _admin(database_url, f"CREATE SCHEMA {name}")
    try:
        joint = "&" if "?" in database_url else "?"
        yield f"{database_url}{joint}options={quote(f'-csearch_path={name}')}"
    finally:
        _admin(database_url, f"DROP SCHEMA {name} CASCADE")


def _admin(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def _programs() -> Path:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise NoServer(f"psycopg cannot be imported: {error}") from None
    found = shutil.which("initdb")
    homes = sorted(glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found and not homes:
        raise NoServer(f"no initdb here, and {GIVEN_URL} is not set")
    return Path(found or homes[-1]).resolve().parent


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise NoServer("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _run(command: list[object], user: str | None) -> None:
    extra = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        timeout=120,
        **extra,
    )
    if done.returncode:
        raise NoServer(f"{Path(str(command[0])).name} failed: {done.stderr.strip()[-300:]}")
