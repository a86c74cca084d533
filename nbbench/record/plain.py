"""Dataclasses from and to JSON, strictly by the types of their fields; benchmark processes use it, too."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any

from nbbench.model import to_plain

Reader = Callable[[Any], Any]


def flat(value: Any) -> Any:
    """A value for JSON: a dataclass is the list of its fields, and what is not finite is null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [flat(getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return [flat(part) for part in value]
    if isinstance(value, dict):
        return {str(name): flat(part) for name, part in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return to_plain(value)


@cache
def reader(hint: Any) -> Reader:
    """What makes a value of this type from JSON.

    A dataclass is made from the list of its fields or from an object; fields that are not there have their
    defaults. The reader raises ValueError or TypeError for everything that is not of the type.
    """
    parts = typing.get_args(hint)
    if hint is Any:
        return lambda value: value
    if (simple := _SIMPLE.get(hint)) is not None:
        return simple
    if typing.get_origin(hint) is tuple:
        return _tuple_reader(parts)
    if isinstance(hint, types.UnionType):
        (inner,) = (reader(part) for part in parts if part is not types.NoneType)
        return lambda value: None if value is None else inner(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    return _dataclass_reader(hint)


def _tuple_reader(parts: tuple[Any, ...]) -> Reader:
    if parts[-1] is Ellipsis:
        one = reader(parts[0])
        return lambda value: tuple(map(one, _listed(value)))
    each = [reader(part) for part in parts]
    return lambda value: tuple(read(cell) for read, cell in zip(each, _listed(value), strict=True))


def _dataclass_reader(noun: Any) -> Reader:
    hints = typing.get_type_hints(noun)
    readers = {f.name: reader(hints[f.name]) for f in dataclasses.fields(noun)}
    in_order = list(readers.values())

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return noun(**{name: one(value[name]) for name, one in readers.items() if name in value})
        if len(_listed(value)) > len(in_order):
            raise ValueError("more cells than fields")
        return noun(*(one(cell) for one, cell in zip(in_order, value, strict=False)))

    return read


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.items())
    if not isinstance(value, list | tuple):
        raise ValueError("not a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _int(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError("not an integer of 64 bits")
    return value


def _float(value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("not a number")
    return float(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def parse_time(value: Any) -> datetime:
    """An ISO 8601 time with Z or an offset, in UTC. Raises ValueError."""
    when = datetime.fromisoformat(value)
    if when.tzinfo is None:
        raise ValueError(f"time without an offset: {value}")
    return when.astimezone(UTC)


_SIMPLE: dict[Any, Reader] = {
    str: _text,
    int: _int,
    float: _float,
    bool: _bool,
    datetime: parse_time,
    dict[str, Any]: dict,
}
