"""`nbbench bisect`: exact work first, then paired comparisons, until one commit is left."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.gate.bisect_search import (
    BAD_SHARE,
    Found,
    Knowledge,
    Mark,
    Probe,
    bounds,
    next_probe,
    work_steps,
)
from nbbench.gate.compare import Comparison, compare
from nbbench.gate.verdicts import LEDGER_TOLERANCE
from nbbench.measure.ledgers import commit_ledgers, matching_workloads
from nbbench.model import Commit, SeriesKey, to_plain
from nbbench.record.atomic import write_text
from nbbench.subject.repository import is_ancestor, list_commits, measurable, open_subject
from nbbench.units import format_change
from nbbench.work.work_share import cost_bytes
from nbbench.workloads import ledger_families

_SCHEMA = "nbbench.bisect/1"
WORK_FLOOR = 0.005  # a step of work below half a per cent is no suspect of a slowdown that was timed
_ENDS_SHARE = 1 / 3  # of the budget, for good against bad where exact work has an answer already


@dataclass(frozen=True, slots=True)
class Step:
    """One comparison that was made: commits by hash, what was concluded, and in one sentence."""

    index: int
    commit: str
    reference: str
    mark: Mark
    verify: bool
    sentence: str


@dataclass(slots=True)
class Search:
    """A search under way: commits (oldest first, good to bad), and what was found out.

    `effect` is the log ratio of bad to good, 0.0 while time cannot tell; `steps` are the commits at which the
    exact work of `workloads` grew, by index, with the log ratio that it predicts; `uncounted` are commits
    without a ledger, whose change falls to the next that has one (None: none was looked at yet).
    """

    series: str
    commits: tuple[Commit, ...]
    effect: float = 0.0
    ends: str = ""
    workloads: tuple[str, ...] = ()
    steps: dict[int, float] = field(default_factory=dict)
    uncounted: frozenset[int] | None = None
    made: list[Step] = field(default_factory=list)

    @property
    def knowledge(self) -> Knowledge:
        """What the planner needs to know."""
        marks = {step.index: step.mark for step in self.made if not step.verify}
        verified = {step.index: step.mark for step in self.made if step.verify}
        for step in self.made:  # a commit that cannot run is broken whatever it was compared with
            if step.mark is Mark.BROKEN:
                marks[step.index] = Mark.BROKEN
        verified = {i: mark for i, mark in verified.items() if mark is not Mark.BROKEN}
        return Knowledge(len(self.commits), self.effect, self.steps, marks, verified)

    @property
    def largest(self) -> int | None:
        """The commit that added most exact work; None where none of it added any worth a search."""
        most = max(self.steps, key=lambda i: (self.steps[i], -i), default=None)
        return most if most is not None and self.steps[most] > LEDGER_TOLERANCE else None

    @property
    def work(self) -> str:
        """What the ledgers know of the series, in one clause: it belongs to every answer."""
        if not self.workloads:
            return "no ledger counts what this series runs"
        names = " and ".join(self.workloads)
        if self.uncounted is None:
            return f"the exact work of {names} was not recorded"
        if not self.steps:
            return f"the exact work of {names} grew nowhere"
        most = max(self.steps, key=lambda i: (self.steps[i], -i))
        others = f", and at {len(self.steps) - 1} more commits" if len(self.steps) > 1 else ""
        grew = f"{format_change(self.steps[most])} at {self.commits[most].short}"
        return f"the exact work of {names} grew by {grew}{others}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The culprit's range within `search.commits`, or None where bad is not slower than good."""

    search: Search
    found: Found | None
    sentence: str
    stopped: str  # located, work, range, unchanged, budget


def bisect(
    settings: Settings,
    series: str,
    commits: Sequence[Commit],
    *,
    budget: Budget,
    restart: bool,
    seed: int,
    show: Callable[[str], None],
) -> Answer:
    """Find the commit of `commits` (good first, bad last) that made `series` slower.

    `series` is an asv name of one benchmark with its parameters. Exact work decides first; time is for what
    it does not explain. Comparisons made earlier are taken over unless `restart`. Raises InconclusiveError
    when good or bad cannot run.
    """
    search = Search(series, tuple(commits))
    if not restart:
        _resume(settings, search, show)
    try:
        with held(budget):
            return _search(settings, search, budget, seed, show)
    except BudgetSpentError:
        return _open_answer(search, "the budget is spent", "budget")


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


def _search(
    settings: Settings, search: Search, budget: Budget, seed: int, show: Callable[[str], None]
) -> Answer:
    _exact_work(settings, search, show)
    if not search.ends:
        known = search.largest is not None
        part = budget.share(_ENDS_SHARE if known else 1.0)
        first = _compare(settings, search, Probe(len(search.commits) - 1, 0, 0.0), seed, part, ends=True)
        if first.mark is Mark.BROKEN:
            raise InconclusiveError(
                f"{search.series}: {first.sentence}", hint="GOOD and BAD both have to run: choose a neighbour"
            )
        good, bad = search.commits[0].short, search.commits[-1].short
        show(f"{good} → {bad}: {first.sentence}")
        if first.mark is Mark.UNCLEAR:
            return _open_answer(search, f"time cannot tell {bad} from {good}: {first.sentence}", "range")
        if first.mark is Mark.GOOD:
            said = f"{bad} is not slower than {good}: {first.sentence}; {search.work}"
            return Answer(search, None, f"{said} (GOOD may be slow already: try an older one)", "unchanged")
        search.effect, search.ends = first.effect, f"{good} → {bad}: {first.sentence}"
        _keep(settings, search)
    while isinstance(probe := next_probe(search.knowledge), Probe):
        if budget.spent:
            return _open_answer(search, "the budget is spent", "budget")
        _make(settings, search, probe, seed, budget, show)
    if probe.first == probe.last and probe.verified:
        return Answer(search, probe, _sentence(search, probe), "located")
    return _open_answer(search, "time leaves a range", "range", probe)


def _open_answer(search: Search, why: str, stopped: str, found: Found | None = None) -> Answer:
    """The answer where time alone names no commit: that of exact work where it accounts for the change."""
    good, bad = bounds(search.knowledge)
    found = found or (Found(good + 1, bad, False) if search.effect else None)
    most, first, last = search.largest, found.first if found else 1, found.last if found else bad
    if most is not None and first <= most <= last and search.steps[most] >= BAD_SHARE * search.effect:
        first = most
        while first - 1 in (search.uncounted or ()):
            first -= 1
        named = " or ".join(commit.short for commit in search.commits[first : most + 1])
        sentence = f"{named} made {search.series} do more work; {search.work}; {why}"
        return Answer(search, Found(first, most, False), sentence, "work" if first == most else "range")
    told = f"{why}: {_sentence(search, found)}" if found else why
    return Answer(search, found, f"{told}; {search.work}", stopped)


def _compare(
    settings: Settings, search: Search, probe: Probe, seed: int, budget: Budget, *, ends: bool = False
) -> Comparison:
    return compare(
        settings,
        search.commits[probe.reference],
        search.commits[probe.index],
        search.series,
        threshold=None if ends else probe.threshold,
        seed=seed,
        budget=budget,
    )


def _make(
    settings: Settings, search: Search, probe: Probe, seed: int, budget: Budget, show: Callable[[str], None]
) -> None:
    """Make one comparison, tell of it and keep it, unless the budget cut it short."""
    reference, commit = search.commits[probe.reference], search.commits[probe.index]
    show(f"{commit.short} against {'its parent' if probe.verify else 'good'} {reference.short} …")
    made = _compare(settings, search, probe, seed, budget)
    if made.mark is Mark.UNCLEAR and budget.spent:
        return  # a resumed search asks again
    index = probe.reference if made.broken == reference.short else probe.index
    step = Step(index, search.commits[index].hash, reference.hash, made.mark, probe.verify, made.sentence)
    search.made.append(step)
    show(f"  {made.mark}: {made.sentence}")
    _keep(settings, search)


def _sentence(search: Search, found: Found) -> str:
    first, last = search.commits[found.first], search.commits[found.last]
    if found.first == found.last:
        sure = "measured against its parent" if found.verified else "its parent could not be compared"
        return f"{last.short} made {search.series} slower ({sure})"
    return f"the culprit is one of the {found.last - found.first + 1} commits {first.short}..{last.short}"


def _exact_work(settings: Settings, search: Search, show: Callable[[str], None]) -> None:
    """Find the commits at which the work of the series' workloads grew; what is missing is recorded."""
    families = ledger_families(SeriesKey(search.series.partition("(")[0], "", (), "", ""))
    names = _workloads(settings, search.series, families) if families else []
    search.workloads = tuple(names)
    if not names:
        return
    kept = commit_ledgers(settings, search.commits, names, say=show)
    costs = []
    for commit in search.commits:
        found = kept[commit.tree]
        usable = [name for name in names if name in found and not found[name].error]
        costs.append({name: cost_bytes(found[name]) for name in usable})
    search.uncounted = frozenset(i for i, cost in enumerate(costs) if not cost)
    search.steps = {i: size for i, size in work_steps(costs).items() if size > WORK_FLOOR}


def _workloads(settings: Settings, series: str, families: tuple[str, ...]) -> list[str]:
    """The workload that the series runs, or the smallest two of its families."""
    values = [part.strip().strip("'") for part in series.partition("(")[2].rstrip(")").split(",")]
    pattern = re.compile("|".join(f"^{re.escape(f)}" for f in families))
    names = matching_workloads(settings, pattern)
    exact = [name for name in names if name.split("-")[1:] == [v for v in values if v]]
    return exact or names[:2]


def _path(settings: Settings, search: Search) -> Path:
    named = "\0".join([search.series, *(c.hash for c in search.commits)])
    digest = hashlib.sha256(named.encode()).hexdigest()[:16]
    return settings.state_dir / "bisect" / f"{digest}.json"


def _keep(settings: Settings, search: Search) -> None:
    path = _path(settings, search)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"schema": _SCHEMA, "effect": search.effect, "ends": search.ends, "made": to_plain(search.made)}
    write_text(path, json.dumps(kept, indent=1))


def _resume(settings: Settings, search: Search, show: Callable[[str], None]) -> None:
    """Take over what an interrupted search of the same commits found out."""
    try:
        kept = json.loads(_path(settings, search).read_text(encoding="utf-8"))
        if kept["schema"] != _SCHEMA:
            return
        made = [Step(**{**entry, "mark": Mark(entry["mark"])}) for entry in kept["made"]]
        effect, ends = float(kept["effect"]), str(kept["ends"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    search.made, search.effect, search.ends = made, effect, ends
    count = len(made) + bool(ends)  # that of bad with good
    some = "1 comparison" if count == 1 else f"{count} comparisons"
    show(f"{some} of an earlier search taken over (--restart measures again)")
