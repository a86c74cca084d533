"""Which commit made a series slower: the next comparison to make, and what is known; pure.

The commits are numbered along the branch, 0 the good one and `count - 1` the bad one. Where the
exact work accounts for the slowdown, the commit that added most of it is compared with its
parent at once; only what the work does not account for is bisected by time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nbbench.work.ledger_diff import log_ratio

# A commit is bad when it lost more than this part of what bad lost against good: half-way is as
# far from either as can be, so the fewest rounds decide.
BAD_SHARE = 0.5


class Mark(StrEnum):
    """What is known of a commit: as fast as good, as slow as bad, unable to run, or undecided."""

    GOOD = "good"
    BAD = "bad"
    BROKEN = "broken"
    UNCLEAR = "cannot tell"


@dataclass(frozen=True, slots=True)
class Probe:
    """Compare commit `index` with commit `reference`; slower than `threshold` (log ratio) is bad.

    With `verify`, the two are a suspected culprit and its parent.
    """

    index: int
    reference: int
    threshold: float
    verify: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The culprit lies in commits `first` … `last`; one commit where they are the same.

    `verified` says that its slowdown against its parent was measured.
    """

    first: int
    last: int
    verified: bool


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was found out so far.

    `effect` is the log ratio of bad to good; `steps` the commits at which the exact work grew,
    with the log ratio it predicts; `marks` come from comparisons with good, `verified` from
    comparisons of a commit with its parent.
    """

    count: int
    effect: float
    steps: Mapping[int, float]
    marks: Mapping[int, Mark]
    verified: Mapping[int, Mark]


def next_probe(known: Knowledge) -> Probe | Found:
    """The next comparison, or the answer when there is none left to make."""
    culprit = next((i for i, mark in known.verified.items() if mark is Mark.BAD), None)
    if culprit is not None:
        return Found(_parent(known, culprit) + 1, culprit, True)
    if _parent(known, known.count - 1) == 0:  # none between good and bad runs: they were compared already
        return Found(1, known.count - 1, True)
    for index, size in sorted(known.steps.items(), key=lambda step: (-step[1], step[0])):
        if size < BAD_SHARE * known.effect:
            break
        if index not in known.verified and _runs(known, index):
            threshold = BAD_SHARE * min(size, known.effect)
            return Probe(index, _parent(known, index), threshold, verify=True)
    good, bad = bounds(known)
    inside = [i for i in range(good + 1, bad) if i not in known.marks]
    if inside:
        return Probe(_nearest(inside, good, bad), 0, BAD_SHARE * known.effect)
    parent = _parent(known, bad)
    if parent == 0 and known.marks.get(bad) is Mark.BAD:  # its comparison with good was one with its parent
        return Found(1, bad, True)
    if bad not in known.verified and parent >= good:
        return Probe(bad, parent, BAD_SHARE * known.effect, verify=True)
    return Found(good + 1, bad, False)


def bounds(known: Knowledge) -> tuple[int, int]:
    """The last good commit before the first bad one, and that one."""
    bad = min((i for i, mark in known.marks.items() if mark is Mark.BAD), default=known.count - 1)
    good = max((i for i, mark in known.marks.items() if mark is Mark.GOOD and i < bad), default=0)
    return good, bad


def work_steps(costs: Sequence[Mapping[str, float]]) -> dict[int, float]:
    """Commits at which the work of some workload grew, with the greatest log ratio.

    `costs` are positive, by workload, along the branch; a commit without any (broken) is
    passed over, so that its change falls to the next that has one.
    """
    steps: dict[int, float] = {}
    last: dict[str, float] = {}
    for index, cost in enumerate(costs):
        grown = max((log_ratio(last[w], cost[w]) for w in last.keys() & cost.keys()), default=0.0)
        if grown > 0:
            steps[index] = grown
        last |= cost
    return steps


def _runs(known: Knowledge, index: int) -> bool:
    return known.marks.get(index) is not Mark.BROKEN


def _parent(known: Knowledge, index: int) -> int:
    """The nearest commit before `index` that runs."""
    return next((i for i in range(index - 1, 0, -1) if _runs(known, i)), 0)


def _nearest(inside: Sequence[int], good: int, bad: int) -> int:
    middle = (good + bad) / 2
    return min(inside, key=lambda i: (abs(i - middle), i))
