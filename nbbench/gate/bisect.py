"""`nbbench bisect`: exact work first, then paired comparisons, until one commit is left."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.gate.bisect_search import Found, Knowledge, Mark, Probe, bounds, next_probe, work_steps
from nbbench.gate.compare import compare
from nbbench.measure.ledgers import commit_ledgers, workload_names
from nbbench.model import Commit, SeriesKey
from nbbench.record.atomic import write_text
from nbbench.work.work_share import cost_bytes
from nbbench.workloads import ledger_families

_SCHEMA = "nbbench.bisect/1"
WORK_FLOOR = 0.005  # a step of work below half a per cent is no suspect of a slowdown that was timed


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
    """A search under way: commits (oldest first, good to bad), and what was found out."""

    series: str
    commits: tuple[Commit, ...]
    effect: float = 0.0
    ends: str = ""
    steps: dict[int, float] = field(default_factory=dict)
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


@dataclass(frozen=True, slots=True)
class Answer:
    """The culprit's range within `search.commits`, or None where bad is not slower than good."""

    search: Search
    found: Found | None
    sentence: str
    stopped: str  # located, range, unchanged, budget


def bisect(
    settings: Settings,
    series: str,
    commits: Sequence[Commit],
    *,
    budget_s: float,
    restart: bool,
    seed: int,
    show: Callable[[str], None],
) -> Answer:
    """Find the commit of `commits` (good first, bad last) that made `series` slower.

    `series` is an asv name of one timed benchmark with its parameters. Comparisons made earlier
    are taken over unless `restart`. Raises InconclusiveError when good or bad cannot run.
    """
    deadline = time.monotonic() + budget_s
    search = Search(series, tuple(commits))
    if not restart:
        _resume(settings, search, show)
    search.steps = _exact_work(settings, search, show)
    if not search.ends:
        left_s = deadline - time.monotonic()
        first = compare(settings, commits[0], commits[-1], series, seed=seed, budget_s=left_s)
        if first.mark is Mark.BROKEN:
            raise InconclusiveError(
                f"{series}: {first.sentence}", hint="GOOD and BAD both have to run: choose a neighbour"
            )
        ends = f"{commits[0].short} → {commits[-1].short}: {first.sentence}"
        show(ends)
        if first.mark is not Mark.BAD:
            told = "is not slower than" if first.mark is Mark.GOOD else "cannot be told from"
            stopped = "unchanged" if first.mark is Mark.GOOD else "range"
            more = " (GOOD may be slow already: try an older one)" if first.mark is Mark.GOOD else ""
            named = f"{commits[-1].short} {told} {commits[0].short}"
            return Answer(search, None, f"{named}: {first.sentence}{more}", stopped)
        search.effect, search.ends = first.effect, ends
        _keep(settings, search)
    while isinstance(probe := next_probe(search.knowledge), Probe):
        if time.monotonic() >= deadline:
            found = _range(search)
            return Answer(search, found, f"the budget is spent: {_sentence(search, found)}", "budget")
        _make(settings, search, probe, seed, deadline, show)
    located = probe.first == probe.last and probe.verified
    return Answer(search, probe, _sentence(search, probe), "located" if located else "range")


def _make(
    settings: Settings,
    search: Search,
    probe: Probe,
    seed: int,
    deadline: float,
    show: Callable[[str], None],
) -> None:
    """Make one comparison, tell of it and keep it, unless the budget cut it short."""
    reference, commit = search.commits[probe.reference], search.commits[probe.index]
    what = "against its parent" if probe.verify else "against good"
    show(f"{commit.short} {what} {reference.short} …")
    made = compare(
        settings,
        reference,
        commit,
        search.series,
        threshold=probe.threshold,
        seed=seed,
        budget_s=deadline - time.monotonic(),
    )
    if made.mark is Mark.UNCLEAR and time.monotonic() >= deadline:
        return  # a resumed search asks again
    index = probe.reference if made.broken == reference.short else probe.index
    step = Step(index, search.commits[index].hash, reference.hash, made.mark, probe.verify, made.sentence)
    search.made.append(step)
    show(f"  {made.mark}: {made.sentence}")
    _keep(settings, search)


def _range(search: Search) -> Found:
    good, bad = bounds(search.knowledge)
    return Found(good + 1, bad, False)


def _sentence(search: Search, found: Found) -> str:
    first, last = search.commits[found.first], search.commits[found.last]
    if found.first == found.last:
        sure = "measured against its parent" if found.verified else "its parent could not be compared"
        return f"{last.short} made {search.series} slower ({sure})"
    return f"the culprit is one of the {found.last - found.first + 1} commits {first.short}..{last.short}"


def _exact_work(settings: Settings, search: Search, show: Callable[[str], None]) -> dict[int, float]:
    """Commits at which the work of the series' workloads grew; what is missing is recorded."""
    families = ledger_families(SeriesKey(search.series.partition("(")[0], "", (), "", ""))
    if not families:
        return {}
    names = _workloads(settings, search.series, families)
    kept = commit_ledgers(settings, search.commits, names, say=show)
    costs = []
    for commit in search.commits:
        found = kept[commit.tree]
        usable = [name for name in names if name in found and not found[name].error]
        costs.append({name: cost_bytes(found[name]) for name in usable})
    return {i: size for i, size in work_steps(costs).items() if size > WORK_FLOOR}


def _workloads(settings: Settings, series: str, families: tuple[str, ...]) -> list[str]:
    """The workload that the series runs, or the smallest two of its families."""
    values = [part.strip().strip("'") for part in series.partition("(")[2].rstrip(")").split(",")]
    names = workload_names(settings, re.compile("|".join(f"^{re.escape(f)}" for f in families)))
    exact = [name for name in names if name.split("-")[1:] == [v for v in values if v]]
    return exact or names[:2]


def _path(settings: Settings, search: Search) -> Path:
    named = "\0".join([search.series, *(c.hash for c in search.commits)])
    digest = hashlib.sha256(named.encode()).hexdigest()[:16]
    return settings.state_dir / "bisect" / f"{digest}.json"


def _keep(settings: Settings, search: Search) -> None:
    path = _path(settings, search)
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "schema": _SCHEMA,
        "series": search.series,
        "good": search.commits[0].hash,
        "bad": search.commits[-1].hash,
        "effect": search.effect,
        "ends": search.ends,
        "made": [
            {
                "index": step.index,
                "commit": step.commit,
                "reference": step.reference,
                "mark": str(step.mark),
                "verify": step.verify,
                "sentence": step.sentence,
            }
            for step in search.made
        ],
    }
    write_text(path, json.dumps(told, indent=1))


def _resume(settings: Settings, search: Search, show: Callable[[str], None]) -> None:
    """Take over what an interrupted search of the same commits found out."""
    try:
        told = json.loads(_path(settings, search).read_text(encoding="utf-8"))
        if told["schema"] != _SCHEMA:
            return
        made = [Step(**{**entry, "mark": Mark(entry["mark"])}) for entry in told["made"]]
        effect, ends = float(told["effect"]), str(told["ends"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    search.made, search.effect, search.ends = made, effect, ends
    count = len(made) + bool(ends)  # that of bad with good
    some = "1 comparison" if count == 1 else f"{count} comparisons"
    show(f"{some} of an earlier search taken over (--restart measures again)")
