"""What a plan's criteria are judged by: results and folders of one machine, and the values found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nbbench.evidence import Folder, FolderState
from nbbench.history.telemetry import Disturbed
from nbbench.model import Commit, Result

Known = tuple[Folder, FolderState]
BenchmarkPlace = tuple[str, str, str]  # commit, environment, benchmark


@dataclass(frozen=True, slots=True)
class PlanInput:
    """Everything that a judgement looks at, of one machine.

    `results` are by benchmark name, `commits` in the branch's order (oldest first); `folders`
    carry the state of their files; `documents` are files found by pattern. `threads` says how many
    computed, `disturbed` which results others disturbed. `cores` is None where the machine's are not known.
    """

    machine: str
    results: Mapping[str, Sequence[Result]]
    commits: Sequence[Commit]
    folders: Sequence[Known] = ()
    documents: Mapping[str, str] = field(default_factory=dict)
    threads: Mapping[BenchmarkPlace, int] = field(default_factory=dict)
    disturbed: Disturbed = frozenset()
    cores: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A criterion's value; the true one lies within `lo` … `hi`.

    `doubts` say why it gives no verdict. `folder` is an evidence folder that holds the value, and
    `folder_state` whether its files are still what they were; `source` is the file of asv's results
    that a benchmark's value stands in.
    """

    value: float
    lo: float
    hi: float
    commit: str
    machine: str
    measured_at: datetime | None = None
    derived: str = ""
    folder: str = ""
    folder_state: FolderState | None = None
    source: str = ""
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
