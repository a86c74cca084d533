"""Versioned, strict JSON documents.

Every document starts with `"schema": "nbbench.<kind>/<version>"`. A version grows when a key
disappears or changes its meaning; added keys leave it alone, so readers must ignore keys that
they do not know.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from nbbench.model import to_plain

_KIND = re.compile(r"[a-z][a-z0-9-]*")


def document(kind: str, payload: Any, *, version: int = 1) -> str:
    """`payload` as a JSON document of this kind, ending in a newline.

    A mapping or a dataclass gives the document's keys; a sequence lies under `items`, beside
    `count`. NaN and infinities become null. Raises ValueError for a bad kind or a payload
    that has a `schema` key of its own, TypeError for what JSON cannot hold.
    """
    if not _KIND.fullmatch(kind):
        raise ValueError(f"a document's kind is lower-case words with hyphens, got {kind!r}")
    body = plain(payload)
    if isinstance(body, list):
        body = {"count": len(body), "items": body}
    if not isinstance(body, dict):
        raise TypeError(
            f"a document needs a mapping, a dataclass or a sequence, got {type(payload).__name__}"
        )
    if "schema" in body:
        raise ValueError("a payload may not have a key 'schema' of its own")
    text = json.dumps(
        {"schema": f"nbbench.{kind}/{version}", **body}, indent=2, allow_nan=False, ensure_ascii=False
    )
    # JSON itself escapes control characters below 32 alone; others could repaint a terminal as well.
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n")) + "\n"


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def plain(value: Any) -> Any:
    """`value` in JSON's own types: model objects become mappings, numbers stay finite."""
    return _strict(to_plain(value))


def _strict(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_strict(str(key)): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "item"):  # numpy's scalars, without importing numpy
        return _strict(value.item())
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")
