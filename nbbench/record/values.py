"""The types of columns: text and times that both engines keep alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, Dialect, Double, Integer, Text, TypeDecorator

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """Text that both engines can hold: PostgreSQL refuses NUL, and neither takes half a surrogate."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


class CleanText(TypeDecorator[str]):
    """Text whose unstorable characters are replaced on the way in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean the text that is written."""
        return None if value is None else storable(value)


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC (SQLite has no time zones and would drop the offset)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn the time that is written into UTC."""
        if value is not None and value.tzinfo is not UTC:
            if value.tzinfo is None:
                raise ValueError(f"a time without a time zone: {value}")
            return value.astimezone(UTC)
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark the time that is read as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# One of each for all columns: an engine works every instance out anew, which took longer than the queries.
TEXT, TIME, INT, BIG = CleanText(), UtcTime(), Integer(), BigInteger()
DOUBLE: Double[float] = Double()
