"""Which evidence folders there are, what figures they hold, and whether they are still whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from nbbench.config import Settings
from nbbench.documents import document
from nbbench.evidence import Folder, FolderState
from nbbench.record import Store
from nbbench.record.atomic import write_text
from nbbench.record.evidence_folder import read_folder
from nbbench.record.stamp import CHECKSUMS, STAMP_PATTERN, verify_folder

_ROOTS = "evidence_places.json"  # in the state folder, so that a deleted database loses no folder
_MAX_DEPTH = 8  # `reports/<initiative>/<phase>/<STAMP>/cluster_<ID>/<STAMP>` needs five


def register_folder(settings: Settings, store: Store, folder: Path) -> Folder:
    """Keep a finished evidence folder and its figures in the database, in place of what was known."""
    found = _folder(settings, folder)
    if folder.parent.name.startswith("cluster_"):
        _remember(settings, folder.parent)
    store.add_folder(found)
    return found


def register_all(settings: Settings, store: Store, below: Path | None = None) -> int:
    """Register the finished folders that the database does not know; gives their number.

    They are looked for at or below `below`, which is remembered; by default below the project's reports root
    and wherever folders were registered from before. A known folder keeps what it was registered with:
    evidence is never written twice, so one whose checksums are different now was tampered with, and
    `folder_state` says so.
    """
    known = {folder.path for folder in store.folders() if folder.kind}
    if below is not None:
        _remember(settings, below)
    own = settings.root / settings.reports_root
    places = [below] if below else [own, *(settings.root / text for text in _remembered(settings))]
    found = {stored_path(settings, f): f for place in places for f in finished_folders(place)}
    new = found.keys() - known
    for path in sorted(new):
        store.add_folder(_folder(settings, found[path]))
    return len(new)


def _remembered(settings: Settings) -> list[str]:
    try:
        kept = json.loads((settings.state_dir / _ROOTS).read_text(encoding="utf-8"))
        return [str(text) for text in kept["places"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # none yet, or damaged: `db folders --scan` finds folders anew


def _remember(settings: Settings, place: Path) -> None:
    """Keep a place outside of the project's reports root for the next rebuild of the database."""
    text = stored_path(settings, place)
    own = (settings.root / settings.reports_root).resolve()
    if place.resolve().is_relative_to(own) or text in _remembered(settings):
        return
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.state_dir / f"{_ROOTS}.lock"):
        places = sorted({*_remembered(settings), text})
        write_text(settings.state_dir / _ROOTS, document("evidence-places", {"places": places}))


def finished_folders(root: Path) -> Iterator[Path]:
    """The STAMP folders with a sha256.txt at or below `root`, by path; links are not followed."""
    for here, names, files in os.walk(root):
        folder = Path(here)
        depth = len(folder.relative_to(root).parts)
        names[:] = sorted(name for name in names if depth < _MAX_DEPTH and not name.startswith("."))
        if STAMP_PATTERN.fullmatch(folder.name) and CHECKSUMS in files:
            names.clear()
            yield folder


def folder_state(settings: Settings, folder: Folder) -> tuple[FolderState, tuple[str, ...]]:
    """Whether a registered folder is as it was when it was registered, and what is not."""
    path = settings.root / folder.path
    if not path.is_dir():
        return FolderState.MISSING, ("the folder is missing",)
    problems = tuple(verify_folder(path))
    if folder.sha256 and _checksum(path) not in ("", folder.sha256):
        problems = (f"{CHECKSUMS} is not the one that was registered", *problems)
    return (FolderState.CHANGED, problems) if problems else (FolderState.WHOLE, ())


def stored_path(settings: Settings, folder: Path) -> str:
    """A folder's path as the database keeps it: relative to the project where it lies in it."""
    whole, root = folder.resolve(), settings.root.resolve()
    return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)


def _folder(settings: Settings, folder: Path) -> Folder:
    content = read_folder(folder)
    known = {field.name: getattr(content, field.name) for field in dataclasses.fields(Folder)}
    own = {"path": stored_path(settings, folder), "stamp": folder.resolve().name, "sha256": _checksum(folder)}
    return Folder(**{**known, **own})


def _checksum(folder: Path) -> str:
    """SHA-256 of the folder's sha256.txt; empty where there is none."""
    try:
        return hashlib.sha256((folder / CHECKSUMS).read_bytes()).hexdigest()
    except OSError:
        return ""
