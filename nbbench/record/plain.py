"""Nouns from and to JSON by the types of their fields; benchmark processes use it, too."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from nbbench.model import to_plain

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
