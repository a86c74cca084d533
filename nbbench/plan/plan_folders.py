"""What evidence folders have to say about a plan's criteria. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from nbbench.evidence import EvidenceFigure, Folder, FolderState

Known = tuple[Folder, FolderState]


def newest_figure(
    pattern: str, test: str, unit: str, folders: Sequence[Known]
) -> tuple[EvidenceFigure, Known] | None:
    """The newest figure whose name and test match, in a unit that begins so; a whole folder first.

    Captures under a profiler, with malloc pinned or compiled measured something else, and never count.
    """
    wanted, of = re.compile(f"(?i){pattern}"), re.compile(test)
    for folder, state in _newest_first(folders):
        for figure in folder.figures:
            if wanted.search(figure.name) and of.search(figure.workload) and figure.unit.startswith(unit):
                return figure, (folder, state)
    return None


def folder_holding(
    values: Sequence[tuple[str, float]], commit: str, folders: Sequence[Known]
) -> Known | None:
    """The newest folder of the commit that holds every one of these (benchmark, value); None without one.

    A folder that merely belongs to the commit proves nothing about a value from elsewhere.
    """
    for folder, state in _newest_first(folders):
        if values and commit and folder.commit == commit and all(_holds(folder, *pair) for pair in values):
            return folder, state
    return None


def _holds(folder: Folder, benchmark: str, value: float) -> bool:
    return any(
        figure.name.partition("(")[0] == benchmark and math.isclose(figure.value, value, rel_tol=1e-9)
        for figure in folder.figures
    )


def _newest_first(folders: Iterable[Known]) -> list[Known]:
    usable = (item for item in folders if item[0].is_plain)
    return sorted(usable, key=lambda item: (item[1] is FolderState.WHOLE, item[0].stamp), reverse=True)
