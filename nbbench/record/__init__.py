"""The regression database: SQLite beside the results, or PostgreSQL by URL.

Importing this package imports no database; the first use of `Store` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbbench.record.store import Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    if name != "Store":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nbbench.record.store import Store

    return Store
