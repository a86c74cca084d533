"""A private PostgreSQL server for the tests: its own folder, a socket there, a TCP port only with TLS."""

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
from urllib.parse import parse_qsl, quote, urlsplit

GIVEN_URL = "NBBENCH_TEST_POSTGRESQL"


class NoServer(Exception):
    """Why there is no PostgreSQL to test with."""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server: the one that NBBENCH_TEST_POSTGRESQL names, or one started here."""
    if url := os.environ.get(GIVEN_URL):
        yield url
        return
    with own_server() as url:
        yield url


@contextmanager
def own_server(port: int = 5432, *, tls: bool = False) -> Iterator[str]:
    """The URL of a server that is started here, so that `control` may stop it.

    With `tls` it listens on localhost too, with a certificate of its own, server.crt in its folder.
    """
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
        listen = "localhost" if tls else ""
        options = f"-k {folder} -p {port} -c fsync=off -c full_page_writes=off -c listen_addresses={listen}"
        if tls:
            where = f"-keyout {folder}/server.key -out {folder}/server.crt -subj /CN=localhost"
            made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 {where}".split()
            _run([*made, "-addext", "subjectAltName=DNS:localhost"], user)
            options += f" -c ssl=on -c ssl_cert_file={folder}/server.crt -c ssl_key_file={folder}/server.key"
        url = f"postgresql://postgres@/postgres?host={folder}&port={port}"
        _run([programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"], user)
        try:
            yield url
        finally:
            with suppress(NoServer):
                control(url, "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def control(url: str, *words: str) -> None:
    """What pg_ctl is to do with a server of `own_server`: restart, stop, with further options."""
    folder = folder_of(url)
    command = [_programs() / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", *words]
    _run(command, _server_user())


def folder_of(url: str) -> Path:
    """The folder of a server of `own_server`."""
    return Path(dict(parse_qsl(urlsplit(url).query))["host"])


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
