"""Which database a URL means: a file of SQLite, or one of PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nbbench.errors import StoreError

URL_HINT = "use sqlite:///FILE or postgresql://USER@HOST/NAME"


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
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise unclear from error
    if "@" in (parts.password or ""):  # the driver would quote a part of the password as the host
        raise StoreError("the database URL holds an @ in its password", hint="write it as %40")
    user = f"{parts.username}@" if parts.username else ""
    return DatabasePlace(
        f"postgresql://{rest}", f"postgresql://{user}{parts.hostname or ''}{port}{parts.path}"
    )
