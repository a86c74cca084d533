"""Versioned, strict JSON documents.

Each starts with `"schema": "nbbench.<kind>/<version>"`. A version grows when a key disappears or changes its
meaning; added keys leave it alone, so readers must ignore keys that they do not know.
"""

import json
from typing import Any

from nbbench.model import to_plain


def document(kind: str, payload: Any, *, version: int = 1) -> str:
    """`payload` as a JSON document of this kind, ending in a newline.

    A mapping or a dataclass gives the document's keys; a sequence lies under `items`, beside
    `count`. NaN and infinities become null. Raises TypeError for what JSON cannot hold.
    """
    # Written and read once: numbers that JSON does not know come back as null.
    body = json.loads(json.dumps(to_plain(payload)), parse_constant=lambda name: None)
    if isinstance(body, list):
        body = {"count": len(body), "items": body}
    text = json.dumps({"schema": f"nbbench.{kind}/{version}", **body}, indent=2, ensure_ascii=False)
    text = text.encode("utf-8", errors="replace").decode("utf-8")  # names of files need not be UTF-8
    # JSON itself escapes control characters below 32 alone; others could repaint a terminal as well.
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n")) + "\n"


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
