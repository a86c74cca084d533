"""The nouns of evidence folders, as they are read back; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class EvidenceFigure:
    """A figure of a folder; `workload` names the test or the series that gave it, where one did."""

    name: str
    value: float
    unit: str = ""
    workload: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """What the files of one evidence folder say; a folder made by hand may lack any of it.

    `exit_code` is None where none was recorded. `conditions` are what must be equal for two folders to be
    comparable (machine, threads, torch, python, flags, command, dtype), by name; what is not recorded is
    absent. `damage` says what disagrees with sha256.txt, `problems` what is missing or cannot be read.
    """

    path: str
    stamp: str = ""
    cluster: str = ""
    commit: str = ""
    kind: str = ""  # export, hand, capture; before that: disturbed, profiled, compiled, malloc-pinned
    verdict: str = ""
    exit_code: int | None = None
    machine: str = ""
    figures: tuple[EvidenceFigure, ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()
    damage: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def started_at(self) -> datetime | None:
        """The time that the stamp states; None for a stamp that is none."""
        try:
            return datetime.strptime(self.stamp[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None
