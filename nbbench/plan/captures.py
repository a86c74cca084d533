"""A criterion's value from the figures of evidence folders. No I/O."""

from __future__ import annotations

import re

from nbbench.captured import EvidenceFigure, Folder
from nbbench.plan.plans import Criterion, Measured, PlanInput
from nbbench.units import format_number


def from_folders(criterion: Criterion, given: PlanInput) -> tuple[Measured | None, tuple[str, ...]]:
    """The newest figure of a captured folder that has the criterion's conditions; a whole folder first."""
    why_not: tuple[str, ...] = ()
    newest = sorted(given.folders, key=lambda folder: (not folder.damage, folder.stamp), reverse=True)
    for folder in newest if criterion.figure else ():
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


def few_cores(criterion: Criterion, given: PlanInput) -> list[str]:
    """That the machine has fewer cores than the criterion asks for, or that nobody knows; else empty."""
    if not criterion.cores or (given.cores or 0) >= criterion.cores:
        return []
    if given.cores is None:
        return [f"how many cores {given.machine} has is not recorded; {criterion.cores} are asked for"]
    return [f"{given.machine} has {given.cores} cores; {criterion.cores} are asked for"]
