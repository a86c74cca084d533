"""A search for a culprit under way: what is known of each commit, and which comes next. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nbbench.ledger import Ledger
from nbbench.model import Commit, EvidenceRecord
from nbbench.work.ledger_diff import LedgerDiff, log_ratio
from nbbench.work.steps import find_steps

BAD_SHARE = 0.5
"""A commit is bad when it lost more than this part of what bad lost against good: half-way is as far from
either as can be, so the fewest rounds decide."""
_UNEXPLAINED_SHARE = 1 / 3
"""The work explains a slowdown where it leaves at most this part of it open: time follows bytes and
operations loosely (on record: bytes -20 %, time -36 %), and a second change may hide beside it."""
_STEP_FLOOR = 0.005
"""A step of work below half a per cent is no suspect of a slowdown that was timed."""


class CommitMark(StrEnum):
    """What is known of a commit: as fast as good, as slow as bad, unable to run, or undecided."""

    GOOD = "good"
    BAD = "bad"
    BROKEN = "broken"
    UNCLEAR = "cannot tell"


@dataclass(frozen=True, slots=True)
class ComparedCommit:
    """The commit at an index compared with good: what is known of it, the log ratio, and why."""

    index: int
    mark: CommitMark
    effect: float
    evidence: tuple[EvidenceRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Located:
    """The slowdown came with the commit at `index`, or with any from `first` on: those between are unusable.

    `explained` says that exact work changed with it.
    """

    first: int
    index: int
    explained: bool


@dataclass(slots=True)
class CulpritSearch:
    """A search under way: commits (oldest first, good to bad), and what was found out.

    `ledgers` are those that could be recorded, by workload, at each commit; empty before they were looked at.
    `made` are the comparisons with good, bad's own among them.
    """

    series: str
    commits: tuple[Commit, ...]
    workloads: tuple[str, ...] = ()
    ledgers: Sequence[Mapping[str, Ledger]] = ()
    made: list[ComparedCommit] = field(default_factory=list)

    @property
    def effect(self) -> float:
        """The log ratio of bad to good; 0.0 while time cannot tell."""
        last = len(self.commits) - 1
        return next((one.effect for one in self.made if one.index == last), 0.0)

    @property
    def steps(self) -> dict[int, LedgerDiff]:
        """Commits at which the work of some workload grew, by index, with the workload that grew most."""
        steps: dict[int, LedgerDiff] = {}
        places = {commit.hash: index for index, commit in enumerate(self.commits)}
        for step in find_steps(zip(self.commits, self.ledgers, strict=False)):
            index, diff = places[step.commit.hash], step.diff
            if diff is not None and diff.cost_effect > max(_STEP_FLOOR, _cost(steps.get(index))):
                steps[index] = diff
        return steps

    @property
    def largest(self) -> range:
        """Where most exact work was added: one commit, or several of which all but one have no ledger."""
        steps = self.steps
        most = max(steps, key=lambda i: (steps[i].cost_effect, -i), default=0)
        if not most or not steps[most].telling:
            return range(0)
        first = most
        while not self.ledgers[first - 1]:
            first -= 1
        return range(first, most + 1)

    def next(self) -> int | Located:
        """The index of the commit to compare next, or the slowdown once it is located.

        Between the last good and the first bad commit: exact work that explains the slowdown names it, else
        the commits beside a step of work come first, and then the middle.
        """
        first, last = self.open_range().start, self.open_range().stop - 1
        unusable = {one.index for one in self.made if one.mark in (CommitMark.BROKEN, CommitMark.UNCLEAR)}
        inside = [index for index in range(first, last) if index not in unusable]
        changed = self._work_changes(range(first, last + 1))
        steps = [index for index, size in changed.items() if size >= BAD_SHARE * self.effect]
        if len(steps) > 1:
            middle = steps[len(steps) // 2]
            if between := [index for index in inside if steps[0] <= index < steps[-1]]:
                return min(between, key=lambda index: (abs(index - middle), index))
        elif steps and self._explained(first - 1, last):
            return Located(steps[0], steps[0], True)
        if not inside:
            return Located(first, last, bool(steps))
        beside = [index for step in steps or changed for index in (step - 1, step) if index in inside]
        return (beside or [inside[len(inside) // 2]])[0]

    def _costs(self, index: int) -> dict[str, float]:
        """Work by workload in one unit; empty while no ledger is there."""
        return {name: one.cost_bytes for name, one in self.ledgers[index].items()} if self.ledgers else {}

    def _work_changes(self, span: range) -> dict[int, float]:
        """The commits of `span` at which some workload's work changed, in order, with the size."""
        last, found = self._costs(span.start - 1), {}
        for index in span:
            now = self._costs(index)
            moved = [abs(log_ratio(last[name], now[name])) for name in last.keys() & now.keys()]
            if (size := max(moved, default=0.0)) > 0.0:
                found[index] = size
            last |= now
        return found

    def _explained(self, good: int, bad: int) -> bool:
        """Whether the work of one workload leaves little open of how much slower `bad` is than `good`."""
        effects = {0: 0.0} | {one.index: one.effect for one in self.made}
        effect, old, new = effects[bad] - effects[good], self._costs(good), self._costs(bad)
        moved = [log_ratio(old[name], new[name]) for name in old.keys() & new.keys()]
        least = max(BAD_SHARE * self.effect, _UNEXPLAINED_SHARE * abs(effect))
        return any(abs(effect - work) <= max(least, _UNEXPLAINED_SHARE * abs(work)) for work in moved)

    def open_range(self) -> range:
        """The commits after the last one that is good, up to the first one that is bad."""
        bad = min((one.index for one in self.made if one.mark is CommitMark.BAD), default=0)
        good = max(
            (one.index for one in self.made if one.mark is CommitMark.GOOD and one.index < bad), default=0
        )
        return range(good + 1, bad + 1) if bad else range(0)


def _cost(diff: LedgerDiff | None) -> float:
    return diff.cost_effect if diff else 0.0


class Stopped(StrEnum):
    """Why a search ended: by time, by time and work, by work alone, or without a single commit."""

    TIME = "located"
    EXPLAINED = "explained"
    WORK = "work"
    RANGE = "range"
    UNCHANGED = "unchanged"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class BisectAnswer:
    """The culprit's places in `search.commits`; none where bad is not slower than good, or nobody knows."""

    search: CulpritSearch
    culprits: range
    stopped: Stopped
