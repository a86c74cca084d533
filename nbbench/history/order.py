"""Commit order, and the unmeasured commits that lie between two measured ones."""

from __future__ import annotations

from collections.abc import Iterable

from nbbench.model import Commit, Point


class CommitOrder:
    """Commits along the branch, oldest first.

    Commits with a position stand in the order of their positions, whatever their dates say.
    Others keep the place in which they were given (the store's order).
    """

    def __init__(self, commits: Iterable[Commit]) -> None:
        given = list(commits)
        placed = iter(sorted((c for c in given if c.position), key=lambda c: (c.position, c.date)))
        line = [next(placed) if commit.position else commit for commit in given]
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
