"""Flag decisions as text: one small file each, so that git merges them without conflicts."""

import contextlib
import itertools
import json
import os
import re
from pathlib import Path

from nbbench.errors import HostError
from nbbench.model import Decision, to_plain
from nbbench.record.asv_values import BadFileError, load_object, read_bytes
from nbbench.record.atomic import write_bytes
from nbbench.record.packed import noun_of
from nbbench.record.stamp import utc_stamp

_SCHEMA = 1
KIND = "nbbench-decision"

# Enough for any event id, and short enough for every file system with the rest of the name.
_MAX_PART = 80


def write_decision(folder: Path, decision: Decision) -> Path:
    """Write one decision into `folder`; an existing file is never replaced.

    Raises HostError when the folder cannot be written.
    """
    content = {"schema": _SCHEMA, "kind": KIND} | to_plain(decision)
    text = json.dumps(content, indent=2, ensure_ascii=True) + "\n"
    stem = f"{utc_stamp(decision.date)}-{_ascii(decision.event)}-{_ascii(decision.state)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_new(folder, stem, text.encode("ascii"))
    except OSError as error:
        raise HostError(f"cannot write a decision into {folder}: {error.strerror or error}") from error


def read_decisions(folder: Path) -> list[Decision]:
    """The usable decisions of a folder, oldest first; none where there is no folder."""
    found = []
    for path in find_decisions(folder):
        with contextlib.suppress(BadFileError):
            found.append(parse_decision(read_bytes(path), path))
    return sorted(found, key=lambda d: d.date)


def find_decisions(folder: Path) -> list[Path]:
    """The decision files of a folder by name, which begins with their time."""
    return sorted(folder.glob("*.decision")) if folder.is_dir() else []


def parse_decision(data: bytes, path: Path) -> Decision:
    """The content of the decision file at `path`. Raises BadFileError, which says what is wrong."""
    top = load_object(data, path)
    if top.get("schema") != _SCHEMA:
        raise BadFileError(path, f"not a decision of schema {_SCHEMA}")
    try:
        return noun_of(Decision, top)
    except ValueError as error:
        raise BadFileError(path, f"damaged decision ({error})") from error


def _write_new(folder: Path, stem: str, data: bytes) -> Path:
    """Write by temporary file and link, which unlike a rename fails where the name is taken."""
    draft = folder / f".{stem}.{os.getpid()}.tmp"
    write_bytes(draft, data)
    try:
        for number in itertools.count(1):
            path = folder / (f"{stem}.decision" if number == 1 else f"{stem}-{number}.decision")
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft)
                return path
    finally:
        draft.unlink(missing_ok=True)
    raise AssertionError


def _ascii(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_MAX_PART] or "_"
