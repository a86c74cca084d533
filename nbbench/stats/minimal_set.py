"""Delta debugging: the smallest part of a change that still shows what the whole of it shows.

The algorithm is ddmin of A. Zeller and R. Hildebrandt, "Simplifying and isolating failure-inducing input",
IEEE Transactions on Software Engineering 28(2), 2002. A test that fails there *shows the change* here.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T", bound=Hashable)


class Trial(StrEnum):
    """What came of a set: it shows the change, it does not, or it does not run at all."""

    SHOWS = "shows"
    LACKS = "lacks"
    UNRESOLVED = "unresolved"


SetTest: TypeAlias = Callable[[Sequence[frozenset[T]]], Sequence[Trial]]
"""Tries several sets at once, so that they can run side by side."""


class TooManyTests(Exception):
    """The bound on the number of tests is reached."""


def shrinking_sets(
    items: tuple[T, ...],
    test: SetTest[T],
    *,
    starts: Iterable[Iterable[T]] = (),
    width: int = 1,
    most: int = 10_000,
) -> Iterator[tuple[T, ...]]:
    """Ever smaller sets that show the change. All items together must show it, the empty set must not.

    Of the last set no single item can be left out. `starts` are guesses, the smallest first: the first that
    shows the change is where the search begins. `width` sets are tried at a time. Without guesses n items
    take n² + 3n tests at most, and 2 log₂ n where one item does it alone; no set is tried twice. Raises
    TooManyTests before more than `most` tests are made.
    """
    tries = _Tries(test, width, most)
    guesses = (tuple(one for one in items if one in wanted) for wanted in map(frozenset, starts))
    found = tries.first(one for one in guesses if 0 < len(one) < len(items)) or items
    yield found
    parts = 2
    while len(found) > 1:
        ends = (len(found) * part // parts for part in range(parts + 1))
        chunks = [found[a:b] for a, b in pairwise(ends)]  # of nearly equal length
        smaller, next_parts = tries.first(chunks), 2
        if smaller is None and parts > 2:
            gone = map(frozenset, chunks)
            smaller = tries.first(tuple(one for one in found if one not in chunk) for chunk in gone)
            next_parts = parts - 1
        if smaller is not None:
            found, parts = smaller, min(next_parts, len(smaller))
            yield found
        elif parts < len(found):
            parts = min(2 * parts, len(found))
        else:
            return


class _Tries(Generic[T]):
    """Tests so far: nothing is tried twice, and not more than the bound."""

    def __init__(self, test: SetTest[T], width: int, most: int) -> None:
        self._test, self._width, self._most = test, width, most
        self._known: dict[frozenset[T], Trial] = {}

    def first(self, sets: Iterable[tuple[T, ...]]) -> tuple[T, ...] | None:
        """The first of the sets that shows the change, tried some at a time."""
        waiting = list(sets)
        for begin in range(0, len(waiting), self._width):
            some = waiting[begin : begin + self._width]
            new = [one for one in map(frozenset, some) if one not in self._known]
            if len(self._known) + len(new) > self._most:
                raise TooManyTests(f"{self._most} tests did not suffice")
            if new:
                self._known.update(zip(new, self._test(new), strict=True))
            for one in some:
                if self._known[frozenset(one)] is Trial.SHOWS:
                    return one
        return None
