"""One series at two commits, compared by the gate's rounds until it is clear or hopeless."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from enum import StrEnum

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.gate.rounds import Tally, run_rounds
from nbbench.gate.session import RESOLUTION, GateSession, SeriesState
from nbbench.measure.paired import paired_runner
from nbbench.model import Commit

# A search makes some ten comparisons, each at this level: about 3 % for a wrong turn in any of them.
ALPHA = 0.003


class CommitMark(StrEnum):
    """What is known of a commit: as fast as good, as slow as bad, unable to run, or undecided."""

    GOOD = "good"
    BAD = "bad"
    BROKEN = "broken"
    UNCLEAR = "cannot tell"


@dataclass(frozen=True, slots=True)
class SeriesComparison:
    """What a comparison said: `effect` is the log ratio of head to base.

    `broken` is the short hash of the commit that cannot run.
    """

    mark: CommitMark
    effect: float
    sentence: str
    broken: str = ""


def one_series(settings: Settings, commit: Commit, pattern: re.Pattern[str], budget: Budget) -> str:
    """The asv name of the one series that matches.

    Raises UsageError when several or none do, InconclusiveError when the budget does not last.
    """
    try:
        with held(budget), paired_runner(settings, commit, commit, 0) as runner:
            found = [s.label for s in runner.discover(pattern.pattern)]
    except BudgetSpentError as error:
        raise InconclusiveError("the budget ended before anything was measured", hint="give more") from error
    if len(found) > 1:
        raise UsageError(
            f"{pattern.pattern!r} matches {len(found)} series; name one",
            hint=f"for example --series {shlex.quote(re.escape(found[0]))}",
        )
    return found[0]


def compare_series(
    settings: Settings,
    base: Commit,
    head: Commit,
    series: str,
    *,
    threshold: float | None = None,
    seed: int,
    budget: Budget,
) -> SeriesComparison:
    """Whether `head` is slower than `base` by more than `threshold` (log ratio; default: the floor).

    Bad: the interval lies above the threshold. Good: it lies below (without a threshold: below the smallest
    change that a gate promises to find), or head is faster. Either errs with probability ALPHA at most,
    whenever the rounds end.
    """
    floor, resolution = (settings.floor, RESOLUTION) if threshold is None else (threshold, threshold)
    state = SeriesState(series, floor, confirm=False, resolution=resolution)
    session, tally = GateSession([state], ALPHA, ALPHA), Tally()
    with paired_runner(settings, base, head, seed) as runner:
        [item] = runner.discover(f"^{re.escape(series)}$")
        run_rounds(runner, [item], session, budget=budget, tally=tally)
    session.finish()
    for side, commit in (("base", base), ("head", head)):
        if side in state.errors and not state.log_ratios:
            return SeriesComparison(CommitMark.BROKEN, 0.0, state.errors[side], commit.short)
    busy = tally.sentence if tally.repeated else ""
    if state.decision is None:
        said = "; ".join(filter(None, [state.disturbed or "the budget is spent", busy]))
        return SeriesComparison(CommitMark.UNCLEAR, 0.0, said)
    marks = {"slower": CommitMark.BAD, "undecided": CommitMark.UNCLEAR}
    mark = marks.get(state.decision.decision, CommitMark.GOOD)
    said = "; ".join(filter(None, [state.decision.reason, busy if mark is CommitMark.UNCLEAR else ""]))
    return SeriesComparison(mark, state.decision.estimate.effect, said)
