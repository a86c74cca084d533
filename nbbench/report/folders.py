"""The registered evidence folders as a table, with their figures on request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbbench import units
from nbbench.evidence import Folder, FolderState
from nbbench.report.blocks import Block, Table, Title
from nbbench.report.text import as_text
from nbbench.words import plural

_PROBLEMS = 5


def folders_text(
    folders: Sequence[tuple[Folder, FolderState, tuple[str, ...]]], figures: re.Pattern[str] | None = None
) -> str:
    """A row for each folder, what is wrong with damaged ones, and the figures whose names match."""
    if not folders:
        return "No evidence folders are registered.\n"
    damaged = sum(state is not FolderState.WHOLE for _, state, _ in folders)
    headline = plural(len(folders), "evidence folder")
    blocks: list[Block] = [Title(f"{headline}, {damaged} not whole" if damaged else f"{headline}, all whole")]
    rows = [
        (
            *(f.stamp, str(state), f.kind, f.cluster, f.commit[:8]),
            *("" if f.exit_code is None else str(f.exit_code), f.verdict, str(len(f.figures)), f.path),
        )
        for f, state, _ in folders
    ]
    headers = ("stamp", "state", "kind", "cluster", "commit", "exit", "verdict", "figures", "folder")
    blocks.append(Table(headers, rows, right=(5, 7)))
    for folder, state, problems in folders:
        if state is not FolderState.WHOLE:
            more = f" and {len(problems) - _PROBLEMS} more" if len(problems) > _PROBLEMS else ""
            blocks.append(f"{folder.path}: {'; '.join(problems[:_PROBLEMS])}{more}")
    if figures:
        found = [
            (
                *(f.stamp, f.kind, f.commit[:8], f.verdict, figure.name),
                *(units.format_value(figure.value, figure.unit), figure.workload),
            )
            for f, _, _ in folders
            for figure in f.figures
            if figures.search(figure.name)
        ]
        columns = ("stamp", "kind", "commit", "verdict", "figure", "value", "of")
        blocks.append(
            Table(columns, found, right=(5,)) if found else f"No figure's name matches {figures.pattern!r}."
        )
    return as_text(blocks) + "\n"
