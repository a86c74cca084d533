"""Commit order, and the unmeasured commits that lie between two measured ones."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from nbbench.model import Commit, Point, Series

_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)


class CommitOrder:
    """Commits along the branch, oldest first.

    Commits with a position stand in the order of their positions, whatever their dates say.
    Others keep the place in which they were given (the store's order), and so does a commit
    that only a series names: it follows the point before it.
    """

    def __init__(self, commits: Iterable[Commit], series: Iterable[Series] = ()) -> None:
        given = list(commits)
        placed = iter(sorted((c for c in given if c.position), key=lambda c: (c.position, c.date)))
        line = [next(placed) if commit.position else commit for commit in given]
        _add_unlisted(line, series)
        self.commits: tuple[Commit, ...] = tuple(line)
        self._index = {commit.hash: i for i, commit in enumerate(line)}

    def index(self, commit: str) -> int:
        """Place of a commit on the branch; -1 when it is unknown."""
        return self._index.get(commit, -1)

    def sort(self, points: Iterable[Point]) -> list[Point]:
        """Points in the order of their commits."""
        return sorted(points, key=lambda point: self._index[point.commit])

    def after(self, commit: str) -> str:
        """The commit that follows `commit` on the branch (it may not have been measured)."""
        return self.commits[min(self._index[commit] + 1, len(self.commits) - 1)].hash


def _add_unlisted(line: list[Commit], series: Iterable[Series]) -> None:
    known = {commit.hash for commit in line}
    for one in series:
        hashes = [point.commit for point in one.points]
        for i, name in enumerate(hashes):
            if name in known:
                continue
            if i:
                place = _place(line, hashes[i - 1]) + 1
            else:
                follower = next((h for h in hashes if h in known), None)
                place = len(line) if follower is None else _place(line, follower)
            line.insert(place, Commit(name, "", _NO_DATE, ""))
            known.add(name)


def _place(line: list[Commit], name: str) -> int:
    return next(i for i, commit in enumerate(line) if commit.hash == name)
