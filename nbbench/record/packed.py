"""JSON values in which arrays recur: each distinct array is written once, in a table, and others refer to it.

A tree's workloads run the same lines, so their counts are mostly the same arrays. An array `[n]` in a packed
value stands for row `n` of the table. A row holds the array's parts. Where all parts are arrays, it holds
their rows as `{"of": […]}`, each less the one before: rows that follow each other are ones.

`flat` and `noun_of` turn nouns to and from JSON values; benchmark processes use them, too.
"""

import dataclasses
import math
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import msgspec

from nbbench.model import to_plain

_MOST_PARTS = 20_000_000
_OF = "of"


def pack(top: dict[str, Any]) -> dict[str, Any]:
    """An object whose arrays are references into its `table`."""
    table: list[Any] = []
    places: dict[str, int] = {}

    def packed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: packed(part) for name, part in value.items()}
        if not isinstance(value, list):
            return value
        parts: Any = [packed(part) for part in value]
        if parts and all(isinstance(part, list) for part in parts):
            numbers = [0, *(number for (number,) in parts)]
            parts = {_OF: [after - before for before, after in pairwise(numbers)]}
        place = places.setdefault(repr(parts), len(table))
        if place == len(table):
            table.append(parts)
        return [place]

    return {name: packed(value) for name, value in top.items()} | {"table": table}


def unpack(top: dict[str, Any]) -> dict[str, Any]:
    """What was packed; arrays that were one in the table are one object, which nobody must change.

    Raises ValueError for references to nowhere, and where the whole would be too large to be walked through.
    """
    table: list[list[Any]] = []
    sizes: list[int] = []

    def unpacked(value: Any) -> tuple[Any, int]:
        if isinstance(value, list):
            (number,) = value
            return _rows(table, [number])[0], sizes[number]
        if isinstance(value, dict):
            found = {name: unpacked(part) for name, part in value.items()}
            return {n: part for n, (part, _) in found.items()}, 1 + sum(s for _, s in found.values())
        return value, 1

    for parts in top["table"]:
        if isinstance(parts, dict):
            numbers = list(accumulate(parts[_OF]))
            made, size = _rows(table, numbers), sum(map(sizes.__getitem__, numbers))
        elif not {list, dict}.isdisjoint(map(type, parts)):
            pairs = [unpacked(part) for part in parts]
            made, size = [part for part, _ in pairs], sum(s for _, s in pairs)
        else:
            made, size = parts, len(parts)
        table.append(made)
        sizes.append(_bounded(size + 1))
    whole, size = unpacked({name: value for name, value in top.items() if name != "table"})
    _bounded(size)
    return dict(whole)


def _rows(table: list[list[Any]], numbers: list[Any]) -> list[list[Any]]:
    if {*map(type, numbers)} - {int} or min(numbers, default=0) < 0 or max(numbers, default=-1) >= len(table):
        raise ValueError("refers to no earlier row of its table")
    return list(map(table.__getitem__, numbers))


def _bounded(size: int) -> int:
    if size > _MOST_PARTS:
        raise ValueError(f"more than {_MOST_PARTS:,} values")
    return size


_Noun = TypeVar("_Noun")


def flat(noun: Any) -> dict[str, Any]:
    """A noun as an object for a file: nouns inside of it are lists of their fields, NaN is null."""
    return {f.name: _cell(getattr(noun, f.name)) for f in dataclasses.fields(noun)}


def _cell(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [_cell(getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return [_cell(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return to_plain(value)


def noun_of(kind: type[_Noun], plain: Any) -> _Noun:
    """The noun of this kind from JSON values; what is not there has the field's default.

    Raises ValueError for everything that is not of the fields' types, for integers that no database holds and
    for times without an offset.
    """
    try:
        noun = msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    for f in dataclasses.fields(noun):  # type: ignore[arg-type]
        value = getattr(noun, f.name)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{f.name} is a time without an offset: {value}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{f.name} is no integer of 64 bits")
    return noun
