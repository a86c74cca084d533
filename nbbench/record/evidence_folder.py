"""Which evidence folders there are, and reading one back, whoever made it: a capture, an export, a person."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from nbbench.captured import EvidenceFigure, Folder
from nbbench.config import Settings
from nbbench.errors import HostError
from nbbench.record.asv_values import number
from nbbench.record.atomic import write_text
from nbbench.record.stamp import CHECKSUMS, STAMP_PATTERN, verify_folder

_MAX_BYTES = 8 * 1024 * 1024  # a file of evidence is at most 5 MiB
_MAX_FIGURES = 2_000


def read_folder(path: Path) -> Folder:
    """What the files of `path` say; missing and unreadable ones are named, never an error."""
    files = _Files(path)
    metrics, run = files.json("metrics.json"), files.json("run_metadata.json")
    return Folder(
        path=str(path),
        stamp=_said("stamp", metrics, run) or path.name,
        cluster=_said("cluster", metrics, run) or path.parent.name.partition("cluster_")[2],
        commit=_said("commit", metrics, run),
        kind=_kind_of(metrics, run),
        verdict=_said("verdict", metrics, run) or _said("status", run, metrics),
        exit_code=files.exit_code(),
        machine=str(run.get("machine_name") or ""),
        figures=tuple(islice(folder_figures(metrics), _MAX_FIGURES)),
        # A folder made by hand often has no checksums at all: that is missing, not damage.
        damage=tuple(verify_folder(path)) if (path / CHECKSUMS).exists() else (),
        problems=tuple(files.problems),
    )


class _Files:
    """Files of one folder; what is missing or does not parse is remembered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def text(self, name: str) -> str | None:
        """A file's text; None, and remembered, where there is none."""
        try:
            with (self.folder / name).open("rb") as stream:
                return stream.read(_MAX_BYTES).decode("utf-8", errors="replace")
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}")
            return None

    def json(self, name: str) -> Mapping[str, Any]:
        """A file's object; empty, and remembered, where it holds none."""
        if (text := self.text(name)) is None:
            return {}
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):  # a folder made by hand may hold anything
            found = None
        if isinstance(found, dict):
            return found
        self.problems.append(f"{name} holds no JSON object")
        return {}

    def exit_code(self) -> int | None:
        """The number in exit_code.txt; a blank file is a problem."""
        if (text := self.text("exit_code.txt")) is None:
            return None
        if re.fullmatch(r"-?\d{1,3}", text.strip()):
            return int(text)
        self.problems.append(f"exit_code.txt holds {text.strip()[:40]!r}, no exit code")
        return None


def _kind_of(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """hand, export, or capture, with a word in front for each condition that makes its figures other ones."""
    if "nbbench." not in f"{metrics.get('schema', '')} {run.get('schema', '')}":
        return "hand"
    if isinstance(metrics.get("series"), list):
        return "export"
    session = metrics.get("session")
    special = (
        ("disturbed", metrics.get("disturbed")),
        ("profiled", metrics.get("profiled")),
        ("compiled", isinstance(session, Mapping) and session.get("compiled_graphs")),
        ("malloc-pinned", metrics.get("malloc_pinned_by")),
    )
    return " ".join([*(word for word, is_so in special if is_so), "capture"])


def _said(key: str, *documents: Mapping[str, Any]) -> str:
    """What the first document says: a text, or the part of an object that names it."""
    for found in (document.get(key) for document in documents):
        if isinstance(found, Mapping):
            found = found.get("hash") or found.get("word") or found.get("outcome")
        if isinstance(found, str) and found:
            return found
    return ""


def folder_figures(metrics: Mapping[str, Any]) -> Iterator[EvidenceFigure]:
    """The figures of a metrics.json: an export's `series`; a capture's `figures` and `checks`."""
    for key in ("series", "figures", "checks"):
        items = metrics.get(key)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, Mapping) and (figure := _named(item)):
                yield replace(figure, name=f"check: {figure.name}") if key == "checks" else figure


def _named(item: Mapping[str, Any]) -> EvidenceFigure | None:
    given, name = item.get("value"), str(item.get("series") or item.get("name") or "")
    value = None if isinstance(given, bool) else number(given)
    if value is None or not math.isfinite(value) or not name or item.get("status", "ok") != "ok":
        return None
    extra = [f"{item['size']}²"] if item.get("size") else []
    extra += [str(item["dtype"])] if item.get("dtype") else []
    return EvidenceFigure(
        name=name + "".join(f" {word}" for word in extra if word not in name),
        value=value,
        unit=str(item.get("unit") or ""),
        workload=str(item.get("test") or item.get("workload") or ""),
    )


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
