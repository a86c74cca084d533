"""Series as detection takes them: what was measured, in the order of the branch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nbbench.history.order import CommitOrder
from nbbench.model import Series, SeriesKey, Status


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A series without what was skipped: the ``commits`` in order and their ``values`` (n,), NaN where the
    benchmark failed; ``skipped`` are the others."""

    key: SeriesKey
    unit: str
    kind: str
    commits: Sequence[str]
    values: NDArray[np.float64]
    skipped: Sequence[str] = ()


class StoredCurves(Protocol):
    """The curves of a database. Sent to another process it reads there, over a connection of its own."""

    points: int
    """Results of all curves together."""

    @property
    def shared(self) -> bool:
        """Whether another process can read them."""

    def __len__(self) -> int:
        """The number of curves."""

    def read(self, part: range) -> Iterator[tuple[int, Curve]]:
        """Some of the curves, counted as they lie in the database, each with its place among all by name."""


def curve(order: CommitOrder, series: Series) -> Curve:
    """A series in memory as a curve."""
    points = [p for p in order.sort(series.points) if p.status is not Status.SKIPPED]
    values = np.array([np.nan if p.value is None else p.value for p in points], dtype=np.float64)
    skipped = [p.commit for p in series.points if p.status is Status.SKIPPED]
    return Curve(series.key, series.unit, series.kind, [p.commit for p in points], values, skipped)
