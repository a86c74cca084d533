"""The nouns of evidence folders, as they are read back and registered; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class FolderState(StrEnum):
    """Whether a folder's files are what its sha256.txt says."""

    WHOLE = "whole"
    CHANGED = "changed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class EvidenceFigure:
    """A figure of a folder; `workload` names the test or the series that gave it, where one did.

    The true value lies within `value` ± `resolution`. `more_is_better` is what a test asserts of it; None
    where nothing is asserted. The database keeps neither.
    """

    name: str
    value: float
    unit: str = ""
    workload: str = ""
    resolution: float = 0.0
    more_is_better: bool | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """An evidence folder as the database knows it.

    `path` is relative to the project where the folder lies in it; `sha256` is that of its
    sha256.txt, empty for a folder without one. `exit_code` is None where none was recorded.
    """

    path: str
    stamp: str = ""
    cluster: str = ""
    commit: str = ""
    sha256: str = ""
    kind: str = ""  # export, hand, capture; before that: disturbed, profiled, compiled, malloc-pinned
    verdict: str = ""
    exit_code: int | None = None
    machine: str = ""
    figures: tuple[EvidenceFigure, ...] = ()

    @property
    def started_at(self) -> datetime | None:
        """The time that the stamp states; None for a stamp that is none."""
        try:
            return datetime.strptime(self.stamp[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class FolderContent(Folder):
    """What the files of one evidence folder say; a folder made by hand may lack any of it.

    `conditions` are what must be equal for two folders to be comparable (machine, threads,
    torch, python, flags, command, dtype), by name; what is not recorded is absent. `missing`
    names the files that were looked for and are not there, `problems` what could not be read.
    """

    conditions: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
