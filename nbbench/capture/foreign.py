"""What the command itself did to its evidence folder: kept where it is evidence, and always said."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from nbbench.credentials import TOKEN_PATTERN
from nbbench.record.atomic import host_error, write_bytes, write_text
from nbbench.record.redact import redact_text
from nbbench.record.stamp import MAX_FILE_BYTES, name_problem

_BINARY = (".npy", ".png")


def restore_pages(folder: Path, opening: Mapping[str, str]) -> list[str]:
    """Write again what the command removed or changed of the pages that were there before it began."""
    changed = [n for n, text in opening.items() if _content(folder / n) != text.encode("utf-8", "replace")]
    gone = not any((folder / name).exists() for name in opening)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in changed:
            _remove(folder / name)
            write_text(folder / name, opening[name])
    except OSError as error:
        raise host_error(folder, error) from error
    if gone:
        return ["the evidence folder was removed during the run; its first pages were written again"]
    return [f"{name} was changed during the run; it is written again" for name in changed]


def settle_foreign_files(folder: Path, own: Iterable[str], secrets: tuple[str, ...]) -> list[str]:
    """Look through what is not nbbench's: an accepted file stays, without credentials, the rest goes.

    Returns a sentence for each; raises HostError when the machine refuses.
    """
    mine, said = frozenset(own), []
    try:
        for path in sorted(path for path in folder.iterdir() if path.name not in mine):
            problem = _problem(path, secrets)
            shown = redact_text(ascii(path.name)[1:-1], secrets)
            if problem:
                _remove(path)
            end = f"removed: it {problem}" if problem else "kept"
            said.append(f"the command put {shown} into the evidence folder; it is {end}")
    except OSError as error:
        raise host_error(folder, error) from error
    return said


def _problem(path: Path, secrets: tuple[str, ...]) -> str:
    """Why a file cannot stay; a text's credentials are taken out on the way."""
    if path.is_symlink() or not path.is_file():
        return "is not an ordinary file"
    if problem := name_problem(path.name):
        return problem
    if redact_text(path.name, secrets) != path.name:
        return "has a credential in its name"
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        return f"has {size:,} bytes, above the limit of {MAX_FILE_BYTES:,}"
    data = path.read_bytes()
    if path.suffix in _BINARY:
        secret = any(value.encode() in data for value in secrets) or TOKEN_PATTERN.search(
            data.decode("latin-1")
        )
        return "holds a secret" if secret else ""
    clean = redact_text(data.decode("utf-8", "surrogateescape"), secrets)
    # Written anew in any case: the file may have another name elsewhere, and change later.
    path.unlink()
    write_bytes(path, clean.encode("utf-8", "surrogateescape"))
    return ""


def _content(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE_BYTES:
            return path.read_bytes()
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
