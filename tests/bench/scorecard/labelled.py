"""Series that others labelled: the Turing change point data set (van den Burg and Williams 2020,
arXiv:2003.06222), from a folder that the environment variable NBBENCH_TCPD names; no part of the project.

Five people marked the changes of each series. A change is true where at least half of them marked one within
MARGIN points of it, the margin of the data set's own benchmark. They are no performance histories: most have
trends, seasons and memory, of which no method here knows anything.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.bench.scorecard.metrics import Truth

MARGIN = 5


def series_of(folder: Path) -> list[Truth]:
    """The series of one dimension and positive values, with the changes that most people marked."""
    marks = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    found = []
    for path in sorted((folder / "datasets").glob("*/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        raw = content["series"][0]["raw"] if len(content["series"]) == 1 else [None]
        values = np.array([np.nan if one is None else float(one) for one in raw])
        known = values[np.isfinite(values)]
        if known.size > 2 * MARGIN and known.min() > 0 and path.stem in marks:
            found.append(Truth(values, agreed(list(marks[path.stem].values())), tolerance=MARGIN))
    return found


def agreed(marks: list[list[int]]) -> tuple[int, ...]:
    """The middle of each group of marks, at most MARGIN apart, that at least half of the people share."""
    placed = sorted((place, who) for who, places in enumerate(marks) for place in places)
    groups: list[list[tuple[int, int]]] = []
    for place, who in placed:
        if groups and place - groups[-1][-1][0] <= MARGIN:
            groups[-1].append((place, who))
        else:
            groups.append([(place, who)])
    shared = [group for group in groups if 2 * len({who for _, who in group}) >= len(marks)]
    return tuple(int(np.median([place for place, _ in group])) for group in shared)
