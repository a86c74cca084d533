"""Documents of `--json` held against docs/schemas, with no room for keys that no schema names."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
Schema = dict[str, Any]


def file_of(name: str) -> Path:
    """Where the schema of a document lies: `gate/1` is `gate-1.json`."""
    return FOLDER / f"{name.replace('/', '-')}.json"


def checked(text: str) -> dict[str, Any]:
    """The document in a text. Fails where it is not what its schema says."""
    document: dict[str, Any] = json.loads(text)
    name = document["schema"].removeprefix("nbbench.")
    if (error := best_match(_validator(name).iter_errors(document))) is not None:
        raise AssertionError(f"{error.json_path} of {name}: {error.message}")
    return document


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    schema = json.loads(file_of(name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(closed(schema))


def closed(schema: Schema) -> Schema:
    """The same without room for keys that it does not name."""
    copy: Schema = json.loads(json.dumps(schema))
    for one in parts_of(copy):
        if "properties" in one and "type" in one:
            one["additionalProperties"] = False
    return copy


def parts_of(part: Any) -> Iterator[Schema]:
    """A schema, and every one that it is made of."""
    if isinstance(part, dict):
        yield part
        for key, value in part.items():
            named = key in ("properties", "$defs")  # the keys below are no words of JSON Schema
            yield from parts_of(list(value.values()) if named else value)
    elif isinstance(part, list):
        for value in part:
            yield from parts_of(value)
