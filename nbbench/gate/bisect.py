"""`nbbench bisect`: exact work first, then paired comparisons with good, until one commit is left.

The work that explains the slowdown locates it (gate/culprit.py), and only what it does not explain is
bisected by the gate's rounds of pairs.
"""

import re
from collections.abc import Sequence

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.gate.culprit import BAD_SHARE, BisectAnswer, CommitMark, ComparedCommit, CulpritSearch, Stopped
from nbbench.gate.judge import measured_evidence
from nbbench.gate.rounds import RESOLUTION, GateSession, SeriesState, Tally, run_rounds
from nbbench.measure.ledgers import commit_ledgers, matching_workloads
from nbbench.measure.paired import PairedRunner
from nbbench.model import Commit, SeriesKey
from nbbench.subject.repository import is_ancestor, list_commits, measurable, open_subject
from nbbench.words import Say, exactly
from nbbench.workloads import ledger_families

ALPHA = 0.003
"""A search makes some ten comparisons, each at this level: about 3 % for a wrong turn in any of them."""
_ENDS_SHARE = 1 / 3
"""Of the budget, for good against bad where exact work has an answer already."""


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


def one_series(settings: Settings, commit: Commit, pattern: re.Pattern[str], budget: Budget) -> str:
    """The asv name of the one series that matches.

    Raises UsageError when several or none do, InconclusiveError when the budget does not last.
    """
    try:
        with held(budget), PairedRunner(settings, commit, commit, 0) as runner:
            found = [s.label for s in runner.discover(pattern.pattern)]
    except BudgetSpentError as error:
        raise InconclusiveError("the budget ended before anything was measured", hint="give more") from error
    if len(found) > 1:
        raise UsageError(
            f"{pattern.pattern!r} matches {len(found)} series; name one",
            hint=f"for example --series {exactly(found[0])}",
        )
    return found[0]


def find_culprit(
    settings: Settings, series: str, commits: Sequence[Commit], *, budget: Budget, seed: int, say: Say
) -> BisectAnswer:
    """Find the commit of `commits` (good first, bad last) that made `series` slower.

    `series` is an asv name of one benchmark with its parameters. Raises InconclusiveError when good or bad
    cannot run.
    """
    search = CulpritSearch(series, tuple(commits))
    try:
        with held(budget):
            _exact_work(settings, search, say)
            return _search(settings, search, budget, seed, say)
    except BudgetSpentError:
        return _open_answer(search, Stopped.BUDGET)


def _search(settings: Settings, search: CulpritSearch, budget: Budget, seed: int, say: Say) -> BisectAnswer:
    """Compare good with bad, and then with one commit after the other."""
    commits, last = search.commits, len(search.commits) - 1
    ends = compare_commit(
        settings, search, last, seed=seed, budget=budget.share(_ENDS_SHARE if search.largest else 1.0)
    )
    search.made.append(ends)
    say(f"{commits[0].short} against {commits[-1].short}: {ends.mark}")
    if ends.mark is CommitMark.BROKEN:
        raise InconclusiveError(
            f"{search.series}: {ends.evidence[0].figures['error']}",
            hint="GOOD and BAD both have to run: choose a neighbour",
        )
    if ends.mark is CommitMark.UNCLEAR:
        return _open_answer(search, Stopped.RANGE)
    if ends.mark is CommitMark.GOOD:
        return BisectAnswer(search, range(0), Stopped.UNCHANGED)
    while (index := search.next()) is not None:
        if budget.spent:
            return _open_answer(search, Stopped.BUDGET)
        say(f"{commits[index].short} against good {commits[0].short} …")
        search.made.append(compare_commit(settings, search, index, seed=seed, budget=budget))
        say(f"  {search.made[-1].mark}")
    if (index := search.explaining) is not None:
        return BisectAnswer(search, range(index, index + 1), Stopped.EXPLAINED)
    if len(left := search.open_range()) == 1:
        return BisectAnswer(search, left, Stopped.TIME)
    return _open_answer(search, Stopped.RANGE)


def compare_commit(
    settings: Settings, search: CulpritSearch, index: int, *, seed: int, budget: Budget
) -> ComparedCommit:
    """Whether the commit at `index` is slower than good, by the gate's rounds.

    Bad: the interval lies above half of what bad lost (of bad itself: above the floor). Good: it lies below
    that (of bad: below the smallest change that a gate promises to find), or it is faster. Either errs with
    probability ALPHA at most, whenever the rounds end.
    """
    half = BAD_SHARE * search.effect
    floor, resolution = (half, half) if half else (settings.floor, RESOLUTION)
    state = SeriesState(search.series, floor, confirm=False, resolution=resolution)
    session, tally = GateSession([state], ALPHA, ALPHA), Tally()
    with PairedRunner(settings, search.commits[0], search.commits[index], seed) as runner:
        [item] = runner.discover(f"^{re.escape(search.series)}$")
        run_rounds(runner, [item], session, budget=budget, tally=tally)
    session.finish()
    evidence = measured_evidence(state)
    if state.errors and not state.log_ratios:
        return ComparedCommit(index, CommitMark.BROKEN, 0.0, evidence)
    if state.decision is None or state.decision.decision == "undecided":
        busy = (tally.record,) if tally.repeated else ()
        effect = state.decision.estimate.effect if state.decision else 0.0
        return ComparedCommit(index, CommitMark.UNCLEAR, effect, (*evidence, *busy))
    mark = CommitMark.BAD if state.decision.decision == "slower" else CommitMark.GOOD
    return ComparedCommit(index, mark, state.decision.estimate.effect, evidence)


def _open_answer(search: CulpritSearch, stopped: Stopped) -> BisectAnswer:
    """The answer where time alone names no commit: that of exact work where it accounts for the change."""
    places, added = search.open_range(), search.largest
    enough = bool(added) and search.steps[added[-1]].cost_effect >= BAD_SHARE * search.effect
    if enough and (not places or added[-1] in places):
        return BisectAnswer(search, added, Stopped.WORK if len(added) == 1 else Stopped.RANGE)
    return BisectAnswer(search, places, stopped)


def _exact_work(settings: Settings, search: CulpritSearch, say: Say) -> None:
    """Look at the work of the series' workloads at every commit; what is missing is recorded."""
    families = ledger_families(SeriesKey(search.series.partition("(")[0], "", (), "", ""))
    search.workloads = tuple(_workloads(settings, search.series, families) if families else ())
    if not search.workloads:
        return
    kept = commit_ledgers(settings, search.commits, list(search.workloads), say=say)
    search.ledgers = [
        {name: one for name in search.workloads if (one := kept[c.tree].get(name)) and not one.error}
        for c in search.commits
    ]


def _workloads(settings: Settings, series: str, families: tuple[str, ...]) -> list[str]:
    """The workload that the series runs, or the smallest two of its families."""
    values = [part.strip().strip("'") for part in series.partition("(")[2].rstrip(")").split(",")]
    names = matching_workloads(settings, re.compile("|".join(f"^{re.escape(f)}" for f in families)))
    exact = [name for name in names if name.split("-")[1:] == [v for v in values if v]]
    return exact or names[:2]
