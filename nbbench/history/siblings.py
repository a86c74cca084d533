"""Short levels that the series of a machine share: many of them measure one commit, each in its own process.

A commit at which half of them stand out of their neighbours to the same side did something to all, or the
machine did. Where the canaries beside the results say that the machine did not, the commit did. Without
canaries nothing is confirmed: bursts of one or two commits are common, and every series shows them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nbbench.model import SeriesKey
from nbbench.stats.canary import quiet_beside
from nbbench.stats.short_levels import standing_out

LEAST_SIBLINGS = 2
"""Other series that must stand out to the same side at the commit: at least these, and half of those that
measured it."""

LEAST_TURNS = 3
"""Turns of measuring between a commit and its neighbours on the branch, in which a mood of the machine has
passed or shows at other commits: the order of `nbbench run` has them, one commit after the other has not."""

_Group = tuple[str, str]
"""Machine and environment."""


@dataclass(frozen=True, slots=True)
class MeasuredBeside:
    """A series of n commits: its undisturbed ``log_values`` (n,), the ``canaries`` beside them in seconds
    (programs, n), and when they were measured, ``at`` (n,) in seconds on any clock; NaN where nothing was."""

    key: SeriesKey
    commits: tuple[str, ...]
    log_values: NDArray[np.float64]
    canaries: NDArray[np.float64]
    at: NDArray[np.float64]

    def sides(self) -> dict[str, int]:
        """Where each commit stands, as `standing_out` has it, without those that the machine may have moved:
        a canary was slow, or a neighbour on the branch was measured right before or after."""
        measured = np.isfinite(self.log_values)
        ranks = np.full(measured.size, np.nan)
        ranks[measured] = np.argsort(np.argsort(self.at[measured], kind="stable"))
        gaps = np.abs(np.diff(ranks[measured]))
        alone = np.zeros(measured.size, dtype=np.bool_)
        alone[measured] = np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf)) >= LEAST_TURNS
        out = np.where(quiet_beside(self.canaries, self.at) & alone, standing_out(self.log_values), np.nan)
        found = zip(self.commits, out.tolist(), strict=True)
        return {commit: int(side) for commit, side in found if math.isfinite(side)}


@dataclass
class Siblings:
    """To which side the series of each machine stand out at each commit."""

    _sides: dict[SeriesKey, dict[str, int]] = field(default_factory=dict)
    _counts: dict[_Group, Counter[tuple[str, int]]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def of(cls, series: Iterable[MeasuredBeside]) -> Siblings:
        """What the given series show together."""
        found = cls()
        for one in series:
            sides = found._sides[one.key] = one.sides()
            found._counts[one.key.machine, one.key.environment].update(sides.items())
        return found

    def confirm(self, key: SeriesKey, commits: Iterable[str]) -> NDArray[np.bool_]:
        """At which of the ``commits`` (n,) a series stands out as its siblings do."""
        counts, sides = self._counts.get((key.machine, key.environment)), self._sides.get(key, {})

        def shared(commit: str) -> bool:
            side = sides.get(commit, 0)
            if counts is None or side == 0:
                return False
            others = sum(counts[commit, one] for one in (-1, 0, 1)) - 1
            return counts[commit, side] - 1 >= max(LEAST_SIBLINGS, others / 2)

        return np.array([shared(commit) for commit in commits], dtype=np.bool_)
