"""A criterion's value from the figures of evidence folders. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from nbbench.captured import EvidenceFigure, Folder
from nbbench.plan.plans import Criterion, Measured, PlanInput
from nbbench.units import format_number


def from_folders(criterion: Criterion, given: PlanInput) -> tuple[Measured | None, tuple[str, ...]]:
    """The newest figure of a captured folder that has the criterion's conditions; a whole folder first."""
    why_not: tuple[str, ...] = ()
    for folder in _newest_first(given.folders) if criterion.figure else ():
        figure = _figure(criterion, folder)
        if figure is None:
            continue
        if unlike := _unlike_folder(criterion, folder, given.machine):
            why_not = why_not or (f"{format_number(figure.value)} of {folder.stamp} was captured {unlike}",)
            continue
        doubts = ["other processes disturbed the captured test"] if "disturbed" in folder.kind else []
        reach = criterion.margin * abs(figure.value)
        return Measured(
            figure.value,
            figure.value - reach,
            figure.value + reach,
            folder.commit,
            folder.machine,
            folder.started_at,
            derived=f"{figure.name} of {figure.workload or folder.path}",
            folder=folder.path,
            damaged=bool(folder.damage),
            doubts=(*doubts, *few_cores(criterion, given)),
        ), ()
    return None, why_not


def _figure(criterion: Criterion, folder: Folder) -> EvidenceFigure | None:
    wanted, of = re.compile(f"(?i){criterion.figure}"), re.compile(criterion.test)
    for figure in folder.figures:
        dtypes = set(re.findall(r"float\d\d", figure.name))
        if criterion.dtype and dtypes - {criterion.dtype}:
            continue
        if (
            wanted.search(figure.name)
            and of.search(figure.workload)
            and figure.unit.startswith(criterion.unit)
        ):
            return figure
    return None


def _unlike_folder(criterion: Criterion, folder: Folder, machine: str) -> str:
    """Under which other conditions than those of the criterion a folder's figures were captured."""
    kinds = folder.kind.split()
    found = [f"on {folder.machine or 'a machine that it does not name'}"] if folder.machine != machine else []
    found += ["under a profiler"] if "profiled" in kinds else []
    found += ["with malloc pinned"] if "malloc-pinned" in kinds and criterion.malloc != "pinned" else []
    if ("compiled" in kinds) != bool(criterion.compile):
        found.append(
            "while Dynamo compiled" if "compiled" in kinds else "without anything compiled by Dynamo"
        )
    return ", ".join(found)


def folder_holding(
    values: Sequence[tuple[str, float]], commit: str, folders: Sequence[Folder]
) -> Folder | None:
    """The newest folder of the commit that holds every one of these (benchmark, value); None without one.

    A folder that merely belongs to the commit proves nothing about a value from elsewhere.
    """
    for folder in _newest_first(folders):
        if values and commit and folder.commit == commit and all(_holds(folder, *pair) for pair in values):
            return folder
    return None


def _holds(folder: Folder, benchmark: str, value: float) -> bool:
    return any(
        figure.name.partition("(")[0] == benchmark and math.isclose(figure.value, value, rel_tol=1e-9)
        for figure in folder.figures
    )


def _newest_first(folders: Iterable[Folder]) -> list[Folder]:
    return sorted(folders, key=lambda folder: (not folder.damage, folder.stamp), reverse=True)


def few_cores(criterion: Criterion, given: PlanInput) -> list[str]:
    """That the machine has fewer cores than the criterion asks for, or that nobody knows; else empty."""
    if not criterion.cores or (given.cores or 0) >= criterion.cores:
        return []
    if given.cores is None:
        return [f"how many cores {given.machine} has is not recorded; {criterion.cores} are asked for"]
    return [f"{given.machine} has {given.cores} cores; {criterion.cores} are asked for"]
