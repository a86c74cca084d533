"""`python -m tests.docs.schemas`: docs/schemas, a JSON Schema for each document of `--json`.

docs/schemas/README.md has the rule of compatibility. What breaks it is refused: raise the version in the
command and in `documents.py`, and the older schema stays beside the new one.
"""

from __future__ import annotations

import json
import sys
from typing import Any, is_typeddict

import msgspec

from tests.docs import documents
from tests.docs.documents import COMMANDS, DESCRIPTIONS, DOCUMENTS
from tests.docs.schema_check import FOLDER, Schema, file_of, parts_of


def schema_of(name: str) -> Schema:
    """The schema of a document (`gate/1`). Objects are open: a key may be added without another version."""
    noun = DOCUMENTS[name]
    _, parts = msgspec.json.schema_components([noun], ref_template="#/$defs/{name}")
    for title, part in parts.items():
        if title in DESCRIPTIONS:
            part["description"] = DESCRIPTIONS[title]
        _finish(part)
    root = parts.pop(noun.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:nbbench:{name.replace('/', ':')}",
        "title": f"nbbench.{name}",
        "description": root.get("description", ""),
        "type": "object",
        "required": ["schema", *root["required"]],
        "properties": {"schema": {"const": f"nbbench.{name}"}, **root["properties"]},
        "$defs": dict(sorted(parts.items())),
    }


def _finish(part: Schema) -> None:
    """Say what documents do: all keys of a noun are there, and a number that JSON cannot hold is null."""
    for one in parts_of(part):
        if "properties" in one:
            one.pop("additionalProperties", None)
            if not is_typeddict(getattr(documents, one.get("title", ""), None)):
                one["required"] = list(one["properties"])
        for limit in ("default", "minLength", "exclusiveMinimum", "minItems"):
            if limit != "minItems" or "prefixItems" not in one:
                one.pop(limit, None)  # what a configuration is held to is no promise to readers
        if one.get("description"):
            one["description"] = " ".join(one["description"].split())
        if one.get("type") == "number":
            one["type"] = ["number", "null"]


def broken(old: Any, new: Any, where: str = "") -> list[str]:
    """What a reader of the old schema would miss in documents of the new one.

    Keys may be added, and words to a list of words. A key may not go or become optional, and no other type
    or meaning of a value may change.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        found = [f"{where}: {key} is gone" for key in old if key not in new and key not in _WORDS]
        for key in old.keys() & new.keys() - _WORDS:
            if key in ("required", "enum"):
                found += [f"{where}: {word!r} is gone" for word in old[key] if word not in new[key]]
            else:
                found += broken(old[key], new[key], f"{where}/{key}")
        return found
    return [] if old == new else [f"{where}: {old!r} became {new!r}"]


_WORDS = {"description", "title"}


def text_of(name: str) -> str:
    """The file of a document's schema."""
    return json.dumps(schema_of(name), indent=1, ensure_ascii=False) + "\n"


def readme() -> str:
    """README.md with the table of commands brought up to date."""
    start, _, rest = (FOLDER / "README.md").read_text(encoding="utf-8").partition("<!-- commands -->\n")
    files = {name.partition("/")[0]: file_of(name).name for name in DOCUMENTS}
    told = [(f"`nbbench {name}`", kind) for name, kinds in COMMANDS.items() for kind in kinds]
    told.append(("any, without a result", "error"))
    rows = [f"| {what} | [{files[kind]}]({files[kind]}) |" for what, kind in told]
    table = "\n".join(["<!-- commands -->", "| command | documents |", "|---|---|", *rows, "<!-- end -->"])
    return f"{start}{table}{rest.partition('<!-- end -->')[2]}"


def main() -> int:
    """Write every schema; 1, and nothing is written, where one would break the rule."""
    FOLDER.mkdir(exist_ok=True)
    problems = []
    for name in DOCUMENTS:
        if (path := file_of(name)).exists():
            problems += broken(json.loads(path.read_text(encoding="utf-8")), schema_of(name), name)
    if problems and "--anyway" not in sys.argv:
        print("\n".join([*problems, "raise the version (docs/schemas/README.md)"]), file=sys.stderr)
        return 1
    for name in DOCUMENTS:
        file_of(name).write_text(text_of(name), encoding="utf-8")
    (FOLDER / "README.md").write_text(readme(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
