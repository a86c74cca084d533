"""A dataclass as rows of a table: one column for each field, made and read by the field's type."""

import dataclasses
import hashlib
import json
import math
import operator
import re
import struct
import types
import typing
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec

Noun = TypeVar("Noun")

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Column(NamedTuple):
    """A column of a table; its type is SQLite's word, and `ID` a number of the row's own."""

    name: str
    type: str
    optional: bool = False
    rule: str = ""


class Shape(Generic[Noun]):
    """How a dataclass lies in a table.

    Texts, numbers, flags, times and enumerations have a column each, NaN is NULL. Tuples are JSON text,
    except that numbers (samples) are little-endian float64 and dataclasses (ledger lines) are compressed.
    ``without`` names fields that are kept elsewhere, ``renamed`` gives columns another name.
    """

    def __init__(
        self,
        noun: type[Noun],
        *,
        without: Collection[str] = (),
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self._noun = noun
        hints = typing.get_type_hints(noun)
        names = [f.name for f in dataclasses.fields(cast("Any", noun)) if f.name not in without]
        self._kinds = {(name, (renamed or {}).get(name, name)): _kind(hints[name]) for name in names}
        encoders = enumerate(kind.encode for kind in self._kinds.values())
        self._encoders = [(place, encode) for place, encode in encoders if encode is not _same]
        self._values = operator.attrgetter(*names)
        self.columns = tuple(Column(c, kind.column, kind.optional) for (_, c), kind in self._kinds.items())

    def row(self, noun: Noun, **more: Any) -> dict[str, Any]:
        """The noun as a row, with ``more`` columns."""
        return more | {
            column.name: value for column, value in zip(self.columns, self.cells(noun), strict=True)
        }

    def cells(self, noun: Noun) -> list[Any]:
        """The values of a row alone, in the order of ``columns``."""
        cells = list(self._values(noun))
        for place, encode in self._encoders:
            if (value := cells[place]) is not None:
                cells[place] = encode(value)
        return cells

    def encoded(self, columns: Iterable[list[Any]]) -> list[list[Any]]:
        """The values of many rows, column by column in the order of ``columns``; no number of them is NaN."""
        found = list(columns)
        for place, encode in self._encoders:
            if encode is not _no_nan:  # few values, again and again
                words = {value: None if value is None else encode(value) for value in set(found[place])}
                found[place] = list(map(words.__getitem__, found[place]))
        return found

    def noun(self, row: Mapping[str, Any], **more: Any) -> Noun:
        """The noun of a row, with ``more`` fields; a column that was not read leaves the field's default."""
        plain = {
            name: kind.decode(row[column]) for (name, column), kind in self._kinds.items() if column in row
        }
        return self._noun(**plain | more)


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """A column's type, and both ways between its values and a field's."""

    column: str
    optional: bool
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _no_nan(value: float) -> float | None:
    return value if value == value else None


def _kind(hint: Any) -> _Kind:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        kind = _kind(inner)
        back = _same if inner is float else kind.decode
        return _Kind(kind.column, True, kind.encode, lambda v: None if v is None else back(v))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _Kind("TEXT", False, str, hint)
    if (plain := _PLAIN.get(hint)) is not None:
        return plain
    inner = typing.get_args(hint)[0]
    if inner is float:
        return _Kind("BLOB", True, pack, unpack)
    if dataclasses.is_dataclass(inner):
        return _Kind(
            "BLOB",
            True,
            lambda v: zlib.compress(dumps(msgspec.to_builtins(v)).encode("ascii"), 1),
            lambda v: msgspec.convert(json.loads(zlib.decompress(v)), hint),
        )
    return _Kind("TEXT", False, dumps, lambda v: msgspec.convert(json.loads(v), hint))


def storable(text: str) -> str:
    """Text that both engines can hold: PostgreSQL refuses NUL, and neither takes half a surrogate."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


@lru_cache(maxsize=1024)  # all parameters of a benchmark began at one time
def time_text(moment: datetime) -> str:
    """A time in UTC as text that sorts by time; SQLite has no type for one."""
    if moment.tzinfo is None:
        raise ValueError(f"a time without a time zone: {moment}")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


_PLAIN: dict[Any, _Kind] = {
    str: _Kind("TEXT", False, storable, _same),
    int: _Kind("BIGINT", False, _same, _same),
    bool: _Kind("BOOLEAN", False, _same, bool),
    datetime: _Kind("TEXT", False, time_text, lambda v: datetime.fromisoformat(v).replace(tzinfo=UTC)),
    # PostgreSQL would sort NaN above everything, and SQLite keeps it as NULL.
    float: _Kind("DOUBLE PRECISION", True, _no_nan, lambda v: math.nan if v is None else v),
}


def dumps(value: Any) -> str:
    """JSON in ASCII, which keeps every text whole on both engines."""
    return json.dumps(value, separators=(",", ":"))


def digest_of(*parts: Any) -> str:
    """What stands for texts of any length in the database."""
    return hashlib.sha256(dumps(parts).encode("ascii")).hexdigest()


def pack(samples: tuple[float, ...]) -> bytes | None:
    """Samples as little-endian float64; NULL for none."""
    return struct.pack(f"<{len(samples)}d", *samples) if samples else None


def unpack(data: bytes | None) -> tuple[float, ...]:
    """Samples that `pack` wrote."""
    return struct.unpack(f"<{len(data) // 8}d", data) if data else ()
