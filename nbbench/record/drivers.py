"""The drivers of both engines: connecting, what counts as a lost connection, errors in one sentence."""

import logging
import os
import re
import sqlite3
import struct
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from nbbench.errors import StoreError
from nbbench.record.schema import URL_HINT, UnusableDatabaseError

_CACHE_KIB = 8192  # SQLite's own 2 MiB are less than what an import touches

# A server that does not answer by then is down; the system would wait for minutes.
_CONNECT_S, _UNANSWERED_MS = 10, 60_000

UNREADABLE = (ValueError, TypeError, zlib.error, struct.error, msgspec.MsgspecError)
"""What reading times, lists and packed numbers raises where somebody has changed them in the tables."""

UNREACHED_HINT = "see that it runs, and that host, user, password and TLS are right (docs/database.md)"
ROLES_HINT = "the owner makes its tables, writers import, readers judge: docs/database.md (Roles)"

# Errors by their SQLSTATE (PostgreSQL) or by their text: what they mean, and what to do.
_MEANINGS = (
    ("55P03|.*database is locked", "{name} is in use by another program", "run again when it has ended"),
    ("42501", "this user has no right to do that at {name} ({text})", ROLES_HINT),
    ("25006", "{name} can only be read ({text})", "name the server that is written to, not its copy"),
    ("53100|.*disk (is full|I/O)", "{name} cannot be written: {text}", "make room, then run again to go on"),
    (
        "57014",
        "{name} ended a statement that took too long ({text})",
        "raise statement_timeout for this user, or add options=-cstatement_timeout%3D0 to the URL",
    ),
    (".*(unable to open database file|readonly database)", "{name} cannot be opened for writing", None),
)
_UNUSABLE = (
    (".*(file is not a database|malformed)", "{name} is not a database, or is damaged"),
    ("42P01|42703|.*no such (table|column)", "{name} lacks a part of its tables ({text})"),
)


class LostConnectionError(StoreError):
    """The server has ended a transaction before its end: nothing of it was kept."""

    default_hint = "see whether the server runs, then run again to go on"


def load_psycopg() -> Any:
    """PostgreSQL's driver. Raises StoreError where it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        hint = "install it with: pip install 'nbbench[postgresql]'"
        raise StoreError("the driver of PostgreSQL is not installed", hint=hint) from error
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # it logs what is said here anyway
    return psycopg


def connect_server(psycopg: Any, url: str, timeout_s: float) -> Any:
    """A new connection; what the URL and the PG* variables say goes before the defaults here.

    Raises StoreError for a URL that does not parse, and the driver's errors.
    """
    usual = {
        "connect_timeout": os.environ.get("PGCONNECT_TIMEOUT", _CONNECT_S),
        "tcp_user_timeout": _UNANSWERED_MS,
        "keepalives_idle": _UNANSWERED_MS // 1000,
        "fallback_application_name": "nbbench",
    }
    try:
        said = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:  # it may quote a part of the URL
        raise StoreError("the database URL does not parse", hint=URL_HINT) from error
    handle = psycopg.connect(**usual | said, autocommit=True, prepare_threshold=None)
    handle.execute(f"SET lock_timeout = {int(timeout_s * 1000)}")
    return handle


def open_sqlite(path: Path | None, timeout_s: float, *, read_only: bool) -> sqlite3.Connection:
    """A new connection to the file, or to a database in memory."""
    # WAL needs a file beside the database even to read, unless nothing is said to change it.
    name = f"file:{quote(str(path))}?immutable=1" if read_only else path
    handle = sqlite3.connect(
        name or ":memory:", timeout=timeout_s, isolation_level=None, uri=read_only, check_same_thread=False
    )
    handle.execute("PRAGMA foreign_keys=ON")
    if not read_only:
        _configure_sqlite(handle, timeout_s)
    return handle


def _configure_sqlite(handle: sqlite3.Connection, timeout_s: float) -> None:
    handle.execute("PRAGMA synchronous=NORMAL")  # safe in WAL: a power cut undoes, never damages
    handle.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    # In WAL readers go on while one process writes; a file system without shared memory keeps
    # the older journal. Two processes that switch a new file at once get an error without
    # SQLite's usual wait, so the wait is here.
    end = time.monotonic() + timeout_s
    while True:
        try:
            handle.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def check_file(path: Path, create: bool) -> None:
    """Raise StoreError where no SQLite file is, or can be made, at a path."""
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a database")
    if path.exists():
        return
    if not create:
        raise StoreError(f"no database at {path}", hint="run `nbbench import` first, or pass --db URL")
    if not path.parent.is_dir():  # a mistyped path makes no folders
        raise StoreError(f"there is no folder {path.parent}", hint="make it first, or correct --db URL")


def is_read_only(path: Path) -> bool:
    """Whether a SQLite file is there that cannot be written, or nothing beside it."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def is_broken_off(handle: Any, error: BaseException) -> bool:
    """Whether a transaction ended by no fault of its own: with the connection, or for another's sake."""
    ended = getattr(handle, "closed", False) or _state(error).startswith("40")
    return isinstance(error, Exception) and ended


def _state(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""


def error_line(error: BaseException) -> str:
    """An error's text, as far as it is one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def store_error(name: str, error: Exception) -> StoreError:
    """A driver's error in one sentence."""
    text = error_line(error)
    if isinstance(error, UNREADABLE):
        return UnusableDatabaseError(f"{name} holds a value that does not parse ({text})")
    for pattern, sentence in _UNUSABLE:
        if re.match(pattern, _state(error) or text):
            return UnusableDatabaseError(sentence.format(name=name, text=text))
    for pattern, sentence, hint in _MEANINGS:
        if re.match(pattern, _state(error) or text):
            return StoreError(sentence.format(name=name, text=text), hint=hint)
    return StoreError(f"{name}: {text}")
