"""The regression database: SQLite beside the results, or PostgreSQL by URL.

Importing this package does not import SQLAlchemy; the first use of a name below does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbbench.evidence import Folder
    from nbbench.record.load import ImportReport, import_results
    from nbbench.record.rows import SourceFile
    from nbbench.record.schema import StoredLedger
    from nbbench.record.store import Store

__all__ = [
    "Folder",
    "ImportReport",
    "SourceFile",
    "Store",
    "StoredLedger",
    "import_results",
]

_HOMES = {
    "Folder": "schema",
    "ImportReport": "load",
    "SourceFile": "rows",
    "Store": "store",
    "StoredLedger": "schema",
    "import_results": "load",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
