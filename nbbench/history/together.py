"""Levels that the series of a machine share: what none shows by itself, all of them may show together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbbench.history.curves import Curve
from nbbench.history.ledger_series import CommitOrder
from nbbench.model import SeriesKey
from nbbench.stats.shared import SharedJumps

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]

MeasuredAt = Mapping[tuple[str, str, str], float]
"""When the results of a commit on a machine in an environment were measured, in seconds of the epoch."""


def measured_at(one: Curve, files: MeasuredAt) -> _Floats:
    """When each commit (n,) of a series was measured, by its result file; NaN where that is not known."""
    key = one.key
    return np.array([files.get((commit, key.machine, key.environment), np.nan) for commit in one.commits])


@dataclass(frozen=True, slots=True)
class SharedLevels:
    """The number of the shared level at each commit of the branch, by machine and environment."""

    places: Mapping[str, int]
    found: Mapping[tuple[str, str], _Ints]

    @classmethod
    def of(cls, order: CommitOrder, series: Iterable[tuple[Curve, _Floats, _Floats]]) -> SharedLevels:
        """What the given series of times show, each with its undisturbed log values (n,) and when they were
        measured (n,)."""
        places = {commit.hash: i for i, commit in enumerate(order.commits)}
        machines: dict[tuple[str, str], SharedJumps] = {}
        for one, logs, at in series:
            machine = machines.setdefault((one.key.machine, one.key.environment), SharedJumps(len(places)))
            machine.add(np.array([places[commit] for commit in one.commits], dtype=np.int64), logs, at)
        return cls(places, {name: machine.levels() for name, machine in machines.items()})

    def levels(self, key: SeriesKey, commits: Sequence[str]) -> _Ints:
        """Number (n,) of the shared level at each of a series' ``commits``; all 0 where there is none."""
        if (found := self.found.get((key.machine, key.environment))) is None:
            return np.zeros(len(commits), dtype=np.int64)
        return found[[self.places[commit] for commit in commits]]
