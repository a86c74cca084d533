"""Which evidence folders a project has: read from the disk, where they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import HostError
from nbbench.evidence import Folder
from nbbench.record.atomic import write_text
from nbbench.record.evidence_folder import read_folder
from nbbench.record.stamp import CHECKSUMS, STAMP_PATTERN

_PLACES = "evidence_places.txt"  # in the state folder; captures lie below the checkouts that they are of
_MAX_DEPTH = 8  # `reports/<initiative>/<phase>/<STAMP>/cluster_<ID>/<STAMP>` needs five


def evidence_folders(settings: Settings) -> list[Folder]:
    """The finished folders below the reports root, and below each place that was remembered, by path."""
    own = settings.root / settings.reports_root
    places = [own, *(settings.root / text for text in _remembered(settings))]
    found = {stored_path(settings, f): f for place in places for f in _finished(place)}
    return [replace(read_folder(folder), path=path) for path, folder in sorted(found.items())]


def remember_place(settings: Settings, place: Path) -> None:
    """Keep a place outside of the project's reports root, to be looked through for folders.

    Where that cannot be kept, the folders there are as good as before.
    """
    text, known = stored_path(settings, place), _remembered(settings)
    own = (settings.root / settings.reports_root).resolve()
    if place.resolve().is_relative_to(own) or text in known:
        return
    with suppress(OSError, HostError):
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        write_text(settings.state_dir / _PLACES, "".join(f"{one}\n" for one in sorted([*known, text])))


def _remembered(settings: Settings) -> list[str]:
    try:
        return (settings.state_dir / _PLACES).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def _finished(root: Path) -> Iterator[Path]:
    """The STAMP folders with a sha256.txt at or below `root`; links are not followed."""
    for here, names, files in os.walk(root):
        folder = Path(here)
        depth = len(folder.relative_to(root).parts)
        names[:] = [name for name in names if depth < _MAX_DEPTH and not name.startswith(".")]
        if STAMP_PATTERN.fullmatch(folder.name) and CHECKSUMS in files:
            names.clear()
            yield folder


def stored_path(settings: Settings, folder: Path) -> str:
    """A folder's path as it is shown: relative to the project where it lies in it."""
    whole, root = folder.resolve(), settings.root.resolve()
    return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)
