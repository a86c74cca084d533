"""What the series of a machine share: what none shows by itself, all of them may show together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbbench.history.curves import Curve
from nbbench.history.ledger_series import CommitOrder
from nbbench.model import SeriesKey
from nbbench.stats.expected import expected_effects
from nbbench.stats.shared import SharedJumps, SharedSlowness, SharedSpeed

_Floats = NDArray[np.float64]
_Measured = tuple[Curve, _Floats, _Floats]
"""A series of times, the undisturbed logs of its collections (k, n), and when they were measured (n,)."""

MeasuredAt = Mapping[tuple[str, str, str], float]
"""When the results of a commit on a machine in an environment were measured, in seconds of the epoch."""


class FileTimes:
    """When what each result file holds was measured, by machine and environment along the branch."""

    def __init__(self, files: MeasuredAt, order: CommitOrder) -> None:
        self._none = np.full(len(order.commits), np.nan)
        self._at: dict[tuple[str, str], _Floats] = {}
        for (commit, *name), at in files.items():
            if (place := order.index(commit)) >= 0:
                self._at.setdefault((name[0], name[1]), self._none.copy())[place] = at

    def of(self, one: Curve) -> _Floats:
        """When each commit (n,) of a series was measured; NaN where that is not known."""
        return self._at.get((one.key.machine, one.key.environment), self._none)[one.places]


@dataclass(frozen=True, slots=True)
class Together:
    """What the series of each machine and environment show together along the branch: a figure for each of
    its commits, whose ``places`` these are."""

    places: Mapping[str, int]
    found: Mapping[tuple[str, str], NDArray[Any]]

    def at(self, key: SeriesKey, commits: Sequence[str]) -> NDArray[Any] | None:
        """The figures (n,) at a series' ``commits``; None where its machine has none."""
        if (found := self.found.get((key.machine, key.environment))) is None:
            return None
        return found[[self.places[commit] for commit in commits]]


def shared_levels(order: CommitOrder, series: Iterable[_Measured]) -> Together:
    """The number of the level that each commit lies in by what the series share, by the undisturbed logs of
    their collections (k, n)."""
    jumps = _by_machine(order, series, SharedJumps)
    return Together(_places(order), {name: one.levels() for name, one in jumps.items()})


def shared_speed(order: CommitOrder, series: Iterable[_Measured]) -> Together:
    """How slow the machine was by what it measured right before and after each commit, as a factor."""
    speeds = _by_machine(order, series, SharedSpeed)
    return Together(_places(order), {name: one.factors() for name, one in speeds.items()})


def shared_slowness(order: CommitOrder, series: Iterable[_Measured]) -> Together:
    """Which share of a machine's series are slow at each commit."""
    slow = _by_machine(order, series, SharedSlowness)
    return Together(_places(order), {name: one.shares() for name, one in slow.items()})


class PlaceTest(NamedTuple):
    """What a series shows where a level ends, at the first ``commit`` of the next: the log ratio of its time
    with the standard ``error``, and those of its bytes and operations."""

    key: SeriesKey
    commit: str
    effect: float
    error: float
    work: tuple[float, float]


class PlaceEffects:
    """By how much the work and the other series of its machine let each series change where levels end."""

    def __init__(self, tests: Iterable[PlaceTest] = ()) -> None:
        machines: dict[tuple[str, str], list[PlaceTest]] = defaultdict(list)
        self._found: dict[SeriesKey, dict[str, tuple[float, float]]] = defaultdict(dict)
        for test in tests:
            machines[test.key.machine, test.key.environment].append(test)
        for own in machines.values():
            keys, commits, effects, errors, work = zip(*own, strict=True)
            found = zip(*expected_effects(effects, errors, work, commits), strict=True)
            for key, commit, one in zip(keys, commits, found, strict=True):
                self._found[key][commit] = one

    def of(self, key: SeriesKey, commits: Sequence[str]) -> _Floats:
        """The log of the time to expect at a series' ``commits``, 0 before its first change, and the standard
        deviation of the change since the level before, infinite where nothing is known: (2, n)."""
        expected = np.array([np.zeros(len(commits)), np.full(len(commits), np.inf)])
        own = self._found.get(key, {})
        for i, commit in enumerate(commits if own else ()):
            if commit in own:
                effect, expected[1, i:] = own[commit]
                expected[0, i:] += effect
        return expected


def _places(order: CommitOrder) -> dict[str, int]:
    return {commit.hash: i for i, commit in enumerate(order.commits)}


_Sums = TypeVar("_Sums", SharedJumps, SharedSlowness, SharedSpeed)


def _by_machine(
    order: CommitOrder, series: Iterable[_Measured], make: type[_Sums]
) -> dict[tuple[str, str], _Sums]:
    places, found = _places(order), dict[tuple[str, str], _Sums]()
    for one, collections, at in series:
        name = one.key.machine, one.key.environment
        if name not in found:
            found[name] = make(len(places))
        found[name].add(np.array([places[commit] for commit in one.commits], dtype=np.int64), collections, at)
    return found
