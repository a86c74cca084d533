"""The series of a database for detection, read by the processes that judge them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nbbench.history.curves import Curve
from nbbench.history.order import CommitOrder
from nbbench.model import SeriesKey
from nbbench.record import Store
from nbbench.record.columns import SKIPPED, read_columns


@dataclass(frozen=True, slots=True)
class _Named:
    """A series by its id, with its place among all by name."""

    id: int
    place: int
    key: SeriesKey
    unit: str
    kind: str


class StoredSeries:
    """`StoredCurves` of an open database, counted by their ids.

    In another process it opens the database by its URL when it first reads. Each part is one state of the
    database; an import that goes on meanwhile may come between two parts, and the next detection sees all of
    it.
    """

    def __init__(self, store: Store, order: CommitOrder, machine: str | None) -> None:
        self._store: Store | None = store
        self._url, self._project = store.url, store.project
        self._hashes = [commit.hash for commit in order.commits]
        self._ranks = store.ranks({commit.hash: place for place, commit in enumerate(order.commits)})
        named = [
            _Named(number, place, key, unit, kind)
            for place, (number, key, unit, kind) in enumerate(store.series_keys(machine=machine))
        ]
        self._series = sorted(named, key=lambda one: one.id)  # ids close together are read fastest
        self.points = store.size(machine=machine)[1]

    @property
    def shared(self) -> bool:
        """Whether another process can open the database, too."""
        return self._url is not None

    def __len__(self) -> int:
        return len(self._series)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_store": None}

    def read(self, part: range) -> Iterator[tuple[int, Curve]]:
        """Some of the curves, each with its place among all by name. Raises StoreError."""
        if self._store is None:
            self._store = Store.open(str(self._url), create=False, project=self._project)
        named = {one.id: one for one in self._series[part.start : part.stop]}
        for number, column in read_columns(self._store, named, self._ranks):
            one, measured = named[number], column.states != SKIPPED
            commits, skipped = (
                [self._hashes[rank] for rank in column.ranks[some].tolist()] for some in (measured, ~measured)
            )
            yield one.place, Curve(one.key, one.unit, one.kind, commits, column.values[measured], skipped)
