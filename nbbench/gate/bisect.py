"""`nbbench bisect`: exact work first, then paired comparisons with good, until one commit is left.

Which commit comes next is decided by the search over commits that `run --adaptive` uses
(`history.next_tree`): the work that explains the slowdown locates it, and only what it does not explain is
bisected by time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.gate.compare import CommitMark, SeriesComparison, compare_series
from nbbench.gate.work_verdicts import LEDGER_TOLERANCE
from nbbench.history.next_tree import Located, Probe, Tree, TreeReading, Why, plan
from nbbench.measure.ledgers import commit_ledgers, matching_workloads
from nbbench.model import Commit, SeriesKey, to_plain
from nbbench.record.atomic import write_text
from nbbench.subject.repository import is_ancestor, list_commits, measurable, open_subject
from nbbench.units import format_change
from nbbench.words import plural
from nbbench.work.ledger_diff import log_ratio
from nbbench.workloads import ledger_families

_SCHEMA = "nbbench.bisect/2"
BAD_SHARE = 0.5
"""A commit is bad when it lost more than this part of what bad lost against good: half-way is as far from
either as can be, so the fewest rounds decide."""

_ENDS_SHARE = 1 / 3
"""Of the budget, for good against bad where exact work has an answer already."""

_STEP_FLOOR = 0.005
"""A step of work below half a per cent is no suspect of a slowdown that was timed."""


@dataclass(frozen=True, slots=True)
class ComparedCommit:
    """One commit compared with good: what was concluded, the log ratio of their times, one sentence."""

    index: int
    commit: str
    mark: CommitMark
    effect: float
    sentence: str


@dataclass(slots=True)
class CulpritSearch:
    """A search under way: commits (oldest first, good to bad), and what was found out.

    `costs` is the exact work by workload at each commit, {} at one without a ledger; empty before it was
    looked at. `made` are the comparisons with good, bad's own among them.
    """

    series: str
    commits: tuple[Commit, ...]
    workloads: tuple[str, ...] = ()
    costs: Sequence[Mapping[str, float]] = ()
    made: list[ComparedCommit] = field(default_factory=list)

    @property
    def effect(self) -> float:
        """The log ratio of bad to good; 0.0 while time cannot tell."""
        last = len(self.commits) - 1
        return next((one.effect for one in self.made if one.index == last), 0.0)

    @property
    def steps(self) -> dict[int, float]:
        """Commits at which the work of some workload grew, by index, with the greatest log ratio."""
        steps: dict[int, float] = {}
        last: dict[str, float] = {}
        for index, cost in enumerate(self.costs):
            grown = max((log_ratio(last[w], cost[w]) for w in last.keys() & cost.keys()), default=0.0)
            if grown > _STEP_FLOOR:
                steps[index] = grown
            last |= cost
        return steps

    @property
    def largest(self) -> range:
        """Where most exact work was added: one commit, or several of which all but one have no ledger."""
        steps = self.steps
        most = max(steps, key=lambda i: (steps[i], -i), default=0)
        if not most or steps[most] <= LEDGER_TOLERANCE:
            return range(0)
        first = most
        while not self.costs[first - 1]:
            first -= 1
        return range(first, most + 1)

    @property
    def work(self) -> str:
        """What the ledgers know of the series, in one clause: it belongs to every answer."""
        names, steps = " and ".join(self.workloads), self.steps
        if not names:
            return "no ledger counts what this series runs"
        if not self.costs:
            return f"the exact work of {names} was not recorded"
        if not steps:
            return f"the exact work of {names} grew nowhere"
        most = max(steps, key=lambda i: (steps[i], -i))
        others = f", and at {plural(len(steps) - 1, 'more commit')}" if len(steps) > 1 else ""
        return (
            f"the exact work of {names} grew by {format_change(steps[most])} "
            f"at {self.commits[most].short}{others}"
        )

    def next(self) -> Probe | Located | None:
        """The commit to compare next, or the slowdown once it is located; None where nothing is left."""
        known = {0: 0.0} | {
            one.index: one.effect for one in self.made if one.mark in (CommitMark.GOOD, CommitMark.BAD)
        }
        unusable = {one.index for one in self.made} - known.keys()
        trees = [
            Tree(
                cost=self.costs[i] or None if self.costs else None,
                readings={self.series: TreeReading(known[i], 0.0)} if i in known else {},
                collections=2 if i in known else 0,
                broken=i in unusable,
            )
            for i in range(len(self.commits))
        ]
        found = plan(trees, {self.series: self.workloads}, min_effect=BAD_SHARE * self.effect)
        slower = [one for one in found.located if one.effect > 0]
        if slower:
            return max(slower, key=lambda one: one.effect)
        return next((probe for probe in found.probes if probe.why is not Why.COARSE), None)

    def open_range(self) -> range:
        """The commits after the last one that is good, up to the first one that is bad."""
        bad = min((one.index for one in self.made if one.mark is CommitMark.BAD), default=0)
        good = max(
            (one.index for one in self.made if one.mark is CommitMark.GOOD and one.index < bad), default=0
        )
        return range(good + 1, bad + 1) if bad else range(0)


@dataclass(frozen=True, slots=True)
class BisectAnswer:
    """The culprit's places in `search.commits`; none where bad is not slower than good."""

    search: CulpritSearch
    culprits: range
    sentence: str
    stopped: str  # located, work, range, unchanged, budget


def commits_between(settings: Settings, good: str, bad: str) -> list[Commit]:
    """Good, the commits after it that changed the measured paths, and bad; UsageError without any."""
    subject = open_subject(settings)
    ends = measurable(subject, good), measurable(subject, bad)
    names = f"{ends[0].short} and {ends[1].short}"
    if ends[0].tree == ends[1].tree:
        raise UsageError(f"{names} have the same source tree: nothing to search")
    if not is_ancestor(subject, ends[0], ends[1]):
        raise UsageError(
            f"{ends[0].short} is not an ancestor of {ends[1].short}",
            hint="the older commit, GOOD, comes first",
        )
    inside = list_commits(subject, f"{ends[0].hash}..{ends[1].hash}")
    if not inside:
        raise UsageError(
            f"no commit between {names} changed {settings.measured_path} on the first-parent line",
            hint="take GOOD and BAD from one branch: `nbbench commits`",
        )
    return [ends[0], *inside]


def find_culprit(
    settings: Settings,
    series: str,
    commits: Sequence[Commit],
    *,
    budget: Budget,
    restart: bool,
    seed: int,
    show: Callable[[str], None],
) -> BisectAnswer:
    """Find the commit of `commits` (good first, bad last) that made `series` slower.

    `series` is an asv name of one benchmark with its parameters. Comparisons made earlier are taken over
    unless `restart`. Raises InconclusiveError when good or bad cannot run.
    """
    search = CulpritSearch(series, tuple(commits))
    if not restart:
        _resume(settings, search, show)

    def compare(index: int, part: float = 1.0) -> SeriesComparison:
        ends = index == len(commits) - 1
        return compare_series(
            settings,
            commits[0],
            commits[index],
            series,
            threshold=None if ends else BAD_SHARE * search.effect,
            seed=seed,
            budget=budget.share(part),
        )

    try:
        with held(budget):
            _exact_work(settings, search, show)
            return _search(settings, search, budget, compare, show)
    except BudgetSpentError:
        return _open_answer(search, "the budget is spent", "budget")


def _search(
    settings: Settings,
    search: CulpritSearch,
    budget: Budget,
    compare: Callable[..., SeriesComparison],
    show: Callable[[str], None],
) -> BisectAnswer:
    """Compare good with bad, and then with one commit after the other."""
    commits, last = search.commits, len(search.commits) - 1
    good, bad = commits[0].short, commits[-1].short
    if not search.effect:
        ends = compare(last, _ENDS_SHARE if search.largest else 1.0)
        show(f"{good} → {bad}: {ends.sentence}")
        if ends.mark is CommitMark.BROKEN:
            raise InconclusiveError(
                f"{search.series}: {ends.sentence}", hint="GOOD and BAD both have to run: choose a neighbour"
            )
        if ends.mark is CommitMark.UNCLEAR:
            return _open_answer(search, f"time cannot tell {bad} from {good}: {ends.sentence}", "range")
        if ends.mark is CommitMark.GOOD:
            said = f"{bad} is not slower than {good}: {ends.sentence}; {search.work}"
            older = " (GOOD may be slow already: try an older one)"
            return BisectAnswer(search, range(0), said + older, "unchanged")
        _take(settings, search, last, ends)
    while isinstance(step := search.next(), Probe):
        if budget.spent:
            return _open_answer(search, "the budget is spent", "budget")
        show(f"{commits[step.index].short} against good {good} …")
        made = compare(step.index)
        if made.mark is CommitMark.UNCLEAR and budget.spent:
            continue  # a resumed search asks again
        _take(settings, search, step.index, made)
        show(f"  {made.mark}: {made.sentence}")
    if step is None or step.first != step.index:
        return _open_answer(search, "time leaves a range", "range", step)
    why = "its exact work explains it" if step.explained else "measured before it and with it"
    sentence = f"{commits[step.index].short} made {search.series} slower ({why}); {search.work}"
    return BisectAnswer(search, range(step.index, step.index + 1), sentence, "located")


def _open_answer(
    search: CulpritSearch, why: str, stopped: str, located: Located | None = None
) -> BisectAnswer:
    """The answer where time alone names no commit: that of exact work where it accounts for the change."""
    places = range(located.first, located.index + 1) if located else search.open_range()
    added = search.largest
    enough = bool(added) and search.steps[added[-1]] >= BAD_SHARE * search.effect
    if enough and (not places or added[-1] in places):
        names = " or ".join(search.commits[i].short for i in added)
        sentence = f"{names} made {search.series} do more work; {search.work}; {why}"
        return BisectAnswer(search, added, sentence, "work" if len(added) == 1 else "range")
    if places:
        first, last = (search.commits[i].short for i in (places[0], places[-1]))
        why += f": the culprit is one of the {len(places)} commits {first}..{last}"
    return BisectAnswer(search, places, f"{why}; {search.work}", stopped)


def _take(settings: Settings, search: CulpritSearch, index: int, made: SeriesComparison) -> None:
    """Remember a comparison, here and for a search that is resumed."""
    commit = search.commits[index].hash
    search.made.append(ComparedCommit(index, commit, made.mark, made.effect, made.sentence))
    path = _path(settings, search)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"schema": _SCHEMA, "made": to_plain(search.made)}, indent=1))


def _path(settings: Settings, search: CulpritSearch) -> Path:
    named = "\0".join([search.series, *(c.hash for c in search.commits)])
    digest = hashlib.sha256(named.encode()).hexdigest()[:16]
    return settings.state_dir / "bisect" / f"{digest}.json"


def _resume(settings: Settings, search: CulpritSearch, show: Callable[[str], None]) -> None:
    """Take over what an interrupted search of the same commits found out."""
    try:
        kept = json.loads(_path(settings, search).read_text(encoding="utf-8"))
        if kept["schema"] != _SCHEMA:
            return
        made = [ComparedCommit(**{**entry, "mark": CommitMark(entry["mark"])}) for entry in kept["made"]]
    except (OSError, ValueError, KeyError, TypeError):
        return
    search.made = made
    some = "1 comparison" if len(made) == 1 else f"{len(made)} comparisons"
    show(f"{some} of an earlier search taken over (--restart measures again)")


def _exact_work(settings: Settings, search: CulpritSearch, show: Callable[[str], None]) -> None:
    """Look at the work of the series' workloads at every commit; what is missing is recorded."""
    families = ledger_families(SeriesKey(search.series.partition("(")[0], "", (), "", ""))
    search.workloads = tuple(_workloads(settings, search.series, families) if families else ())
    if not search.workloads:
        return
    kept = commit_ledgers(settings, search.commits, list(search.workloads), say=show)
    search.costs = [
        {
            name: kept[commit.tree][name].cost_bytes
            for name in search.workloads
            if name in kept[commit.tree] and not kept[commit.tree][name].error
        }
        for commit in search.commits
    ]


def _workloads(settings: Settings, series: str, families: tuple[str, ...]) -> list[str]:
    """The workload that the series runs, or the smallest two of its families."""
    values = [part.strip().strip("'") for part in series.partition("(")[2].rstrip(")").split(",")]
    names = matching_workloads(settings, re.compile("|".join(f"^{re.escape(f)}" for f in families)))
    exact = [name for name in names if name.split("-")[1:] == [v for v in values if v]]
    return exact or names[:2]
