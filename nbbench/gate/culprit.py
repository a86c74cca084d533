"""A search for a culprit under way: what is known of each commit, and which comes next. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nbbench.ledger import Ledger
from nbbench.model import Commit, EvidenceRecord
from nbbench.work.ledger_diff import LedgerDiff
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
            known = steps[index].cost_effect if index in steps else _STEP_FLOOR
            if diff is not None and diff.cost_effect > known:
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

    @property
    def explaining(self) -> int | None:
        """The one commit after the last good one whose exact work explains the slowdown."""
        span, effects = self.open_range(), {0: 0.0} | {one.index: one.effect for one in self.made}
        large = self._grown(BAD_SHARE * self.effect)
        if len(large) != 1:
            return None
        slower, work = effects[span.stop - 1] - effects[span.start - 1], self.steps[large[0]].cost_effect
        near = abs(slower - work) <= max(BAD_SHARE * self.effect, _UNEXPLAINED_SHARE * work)
        return large[0] if near else None

    def next(self) -> int | None:
        """The index of the commit to compare next: beside a step of work if there is one, else in the middle.

        None where exact work explains the slowdown, or no commit between good and bad can be compared.
        """
        unusable = {one.index for one in self.made if one.mark in (CommitMark.BROKEN, CommitMark.UNCLEAR)}
        inside = [index for index in self.open_range()[:-1] if index not in unusable]
        steps = self._grown(BAD_SHARE * self.effect) or self._grown(0.0)
        beside = [index for step in steps for index in (step - 1, step) if index in inside] or inside
        return beside[len(beside) // 2] if beside and self.explaining is None else None

    def _grown(self, least: float) -> list[int]:
        """The commits of the open range at which work grew by at least this log ratio."""
        span = self.open_range()
        return [index for index, diff in self.steps.items() if index in span and diff.cost_effect >= least]

    def open_range(self) -> range:
        """The commits after the last one that is good, up to the first one that is bad."""
        bad = min((one.index for one in self.made if one.mark is CommitMark.BAD), default=0)
        good = max(
            (one.index for one in self.made if one.mark is CommitMark.GOOD and one.index < bad), default=0
        )
        return range(good + 1, bad + 1) if bad else range(0)


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
