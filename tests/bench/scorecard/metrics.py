"""How a list of found changes is scored against the true ones. Closed forms, tested as such."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nbbench.ledger import Ledger
from nbbench.model import Commit

TOLERANCE = 2
"""A change reported within two points of its true place counts as found (the same for everyone)."""


@dataclass(frozen=True, slots=True)
class Truth:
    """One series: values of shape (n,), NaN where a commit was not measured, and the first indices of its
    true new levels. A report at one of the ``open`` places is neither right nor wrong (a change that is
    real, but below the size that the row is about). Where they are known: ``ledgers`` are the exact work at
    each point, None where there is none; ``collections`` (2, n) the values of a first and a second collection
    and ``contended`` (n,) or (2, n) the processes that telemetry says waited; ``commits`` the branch's own;
    ``siblings`` are all series of the recording, this one among them, and ``place`` is its own among them.
    ``canary`` (programs, n) are seconds of fixed programs that were timed beside each point, and ``at`` (n,)
    is when they were, on any clock (None: in the order of the points). ``tolerance`` is how far
    from its true place a change may be reported."""

    values: np.ndarray
    changes: tuple[int, ...] = ()
    open: tuple[int, ...] = ()
    samples: tuple[tuple[float, ...], ...] = ()
    ledgers: tuple[Ledger | None, ...] = field(default=(), repr=False)
    collections: np.ndarray | None = None
    contended: np.ndarray | None = None
    canary: np.ndarray | None = None
    at: np.ndarray | None = None
    commits: tuple[Commit, ...] = field(default=(), repr=False)
    siblings: tuple[Truth, ...] = field(default=(), repr=False)
    place: int = 0
    tolerance: int = TOLERANCE


@dataclass(slots=True)
class Score:
    """Counts over many series; everything else follows from them."""

    hits: int = 0
    misses: int = 0
    alarms: int = 0
    points: int = 0
    distances: list[int] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Share of reports that are true; NaN when nothing was reported."""
        return self.hits / (self.hits + self.alarms) if self.hits + self.alarms else math.nan

    @property
    def recall(self) -> float:
        """Share of true changes that were found; NaN when there was none."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else math.nan

    @property
    def f1(self) -> float:
        """2 hits / (2 hits + misses + alarms); NaN when there was nothing to find and nothing was found."""
        total = 2 * self.hits + self.misses + self.alarms
        return 2 * self.hits / total if total else math.nan

    @property
    def alarms_per_thousand(self) -> float:
        """Reports without a change, by thousand points."""
        return 1e3 * self.alarms / self.points if self.points else math.nan

    @property
    def exact(self) -> float:
        """Share of hits at the very place."""
        return sum(d == 0 for d in self.distances) / len(self.distances) if self.distances else math.nan

    @property
    def location_error(self) -> float:
        """Median distance of the hits from their true places, in points."""
        return float(np.median(self.distances)) if self.distances else math.nan

    def add(self, truth: Truth, found: Sequence[int]) -> None:
        """Score the places ``found`` in one series."""
        tolerance = truth.tolerance
        pairs = match(truth.changes, found, tolerance)
        taken = {place for _, place in pairs}
        rest = [f for f in found if f not in taken]
        neutral = {f for _, f in match(truth.open, rest, tolerance)}
        self.hits += len(pairs)
        self.misses += len(truth.changes) - len(pairs)
        self.alarms += len([f for f in rest if f not in neutral])
        self.points += int(np.isfinite(truth.values).sum())
        self.distances += [abs(true - place) for true, place in pairs]


def match(true: Iterable[int], found: Iterable[int], tolerance: int) -> list[tuple[int, int]]:
    """Pairs of true and found places at most ``tolerance`` apart, nearest first, each place once."""
    found = list(found)
    near = sorted((abs(t - f), t, f) for t in set(true) for f in set(found) if abs(t - f) <= tolerance)
    pairs: list[tuple[int, int]] = []
    for _, t, f in near:
        if all(t != a and f != b for a, b in pairs):
            pairs.append((t, f))
    return sorted(pairs)


def large_enough(values: np.ndarray, found: Sequence[int], least: float) -> list[int]:
    """Those of the places ``found`` between levels whose medians differ by a log ratio of ``least``."""
    known = np.log(values)
    edges = [0, *sorted(set(found)), values.size]
    kept = []
    for i, place in enumerate(edges[1:-1], start=1):
        before, after = known[edges[i - 1] : place], known[place : edges[i + 1]]
        measured = np.isfinite(before).any() and np.isfinite(after).any()
        if measured and abs(np.nanmedian(after) - np.nanmedian(before)) >= least:
            kept.append(place)
    return kept
