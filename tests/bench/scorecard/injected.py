"""Steps added to stable stretches of asv histories that others recorded; the data are not part of the
project.

A stretch of STRETCH measured commits is stable when the medians of its four quarters lie within one MAD sigma
of the differences of the series: a rule that uses no detector.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.scorecard.metrics import Truth
from tests.bench.scorecard.planted import _places

STRETCH = 100
LONGEST_UNCHANGED = 0.5
"""A series that mostly repeats one number is no time."""


def stable_stretches(folder: Path) -> list[np.ndarray]:
    """Stable stretches of all series under ``folder``, which do not overlap, shape (STRETCH,) each."""
    found = []
    for values in _series(folder):
        start = 0
        while start + STRETCH <= values.size:
            part = values[start : start + STRETCH]
            if _stable(np.log(part)):
                found.append(part)
                start += STRETCH
            else:
                start += STRETCH // 4
    return found


def _stable(log: np.ndarray) -> bool:
    differences = np.abs(np.diff(log))
    sigma = 1.4826 * float(np.median(differences)) / math.sqrt(2)
    quarters = [float(np.median(part)) for part in np.split(log, 4)]
    return sigma > 1e-3 and max(quarters) - min(quarters) < sigma


def _series(folder: Path) -> Iterator[np.ndarray]:
    """Positive finite values by (machine, environment, benchmark, parameters), in order of commit date."""
    rows: dict[tuple[str, str, str, int], list[tuple[int, float]]] = defaultdict(list)
    for path in sorted(folder.rglob("*.json")):
        if path.name in ("benchmarks.json", "machine.json"):
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        for name, entry in content.get("results", {}).items():
            for i, value in enumerate(entry[0] or () if isinstance(entry, list) else ()):
                if isinstance(value, (int, float)) and value > 0:
                    key = (path.parent.name, content.get("env_name", ""), name, i)
                    rows[key].append((content["date"], float(value)))
    for _, points in sorted(rows.items()):
        yield np.array([value for _, value in sorted(points)])


def with_steps(stretches: list[np.ndarray], size: float, seed: int, half: int) -> list[Truth]:
    """Every second stretch (even: tuning, odd: table), with none to two steps by a factor of 1 + ``size``."""
    made = []
    for i, values in enumerate(stretches):
        if i % 2 != half:
            continue
        rng = np.random.default_rng([seed, i])
        places = _places(int(rng.integers(3)), values.size, rng)
        level = np.zeros(values.size)
        for place in places:
            level[place:] += math.log1p(size) * rng.choice([-1.0, 1.0])
        made.append(Truth(values * np.exp(level), tuple(places)))
    return made
