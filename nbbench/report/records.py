"""What is on record: commits, the database, a machine's noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nbbench.model import Commit
from nbbench.report.blocks import Block, Table
from nbbench.verdicts import SeriesNoise
from nbbench.words import day, plural


def commits_blocks(commits: Sequence[Commit]) -> list[Block]:
    """A table of commits in the order given."""
    if not commits:
        return ["No commits."]
    rows = [(str(c.position or ""), c.short, day(c.date), c.tree[:8], c.subject) for c in commits]
    headers = ("#", "commit", "date", "tree", "subject")
    return [Table(headers, rows, right=(0,), codes=(1, 3), spare=(3, 2)), plural(len(rows), "commit")]


def database_blocks(url: str, counts: Mapping[str, int], places: Sequence[tuple[str, str]]) -> list[Block]:
    """Where the database is, the rows of its tables, and which projects' results it holds."""
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in counts.items()]
    held = [[name, place.partition(":")[2] or "the results beside the database"] for name, place in places]
    blocks: list[Block] = [url, Table(("table", "rows"), rows, right=(1,))]
    return [*blocks, Table(("project", "imported from"), held)] if held else blocks


def calibration_blocks(found: Mapping[str, SeriesNoise], least_floor: float, note: str) -> list[Block]:
    """What noise the gate has to live with here: a row a series with its rounds, noise a pair, and floor
    (at least `least_floor`)."""
    rows = [
        (series, str(one.rounds), _percent(one.sigma), _percent(max(one.floor, least_floor)))
        for series, one in found.items()
    ]
    head = ("series", "rounds", "noise a pair", "floor")
    return [Table(head, rows, right=(1, 2, 3), codes=(0,)), note]


def _percent(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):.2f} %"
