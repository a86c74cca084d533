"""One series at two commits, compared by the gate's paired rounds until it is clear or hopeless."""

from __future__ import annotations

import math
import re
import shlex
import time
from dataclasses import dataclass

from nbbench.config import Settings
from nbbench.errors import UsageError
from nbbench.gate.bisect_search import Mark
from nbbench.gate.rounds import Tally, clean_round
from nbbench.gate.session import RESOLUTION
from nbbench.measure.paired import paired_runner
from nbbench.model import Commit
from nbbench.stats.paired import PairedEstimate, estimate_pairs, interval, percent

# A search makes some ten comparisons, each at this level: about 3 % for a wrong turn in any of them.
ALPHA = 0.003
MAX_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison said: `effect` is the log ratio of head to base.

    `broken` is the short hash of the commit that cannot run.
    """

    mark: Mark
    effect: float
    sentence: str
    broken: str = ""


def one_series(settings: Settings, commit: Commit, pattern: re.Pattern[str]) -> str:
    """The asv name of the one timed series that matches; UsageError when several or none do."""
    with paired_runner(settings, commit, commit, 0) as runner:
        found = [s.label for s in runner.discover(pattern.pattern)]
    if len(found) > 1:
        raise UsageError(
            f"{pattern.pattern!r} matches {len(found)} series; name one",
            hint=f"for example --series {shlex.quote(re.escape(found[0]))}",
        )
    return found[0]


def compare(
    settings: Settings,
    base: Commit,
    head: Commit,
    series: str,
    *,
    threshold: float | None = None,
    seed: int,
    budget_s: float,
) -> Comparison:
    """Whether `head` is slower than `base` by more than `threshold` (log ratio; default: the floor).

    Bad: the interval lies above the threshold. Good: it lies below (without a threshold: below
    the smallest change that a gate promises to find). Either errs with probability ALPHA at
    most, whenever the rounds end.
    """
    bad = settings.floor if threshold is None else threshold
    good = max(bad, RESOLUTION) if threshold is None else threshold
    deadline = time.monotonic() + budget_s
    ratios: list[float] = []
    tally = Tally()
    found: PairedEstimate | None = None
    with paired_runner(settings, base, head, seed) as runner:
        [item] = runner.discover(f"^{re.escape(series)}$")
        while len(ratios) < MAX_ROUNDS and time.monotonic() < deadline:
            pair = clean_round(runner, [item], deadline, tally)[item]
            for commit, side in ((base, pair.base), (head, pair.head)):
                if side.error:
                    return Comparison(Mark.BROKEN, 0.0, side.error, commit.short)
            if not math.isfinite(pair.log_ratio):  # every turn was disturbed
                continue
            ratios.append(pair.log_ratio)
            found = estimate_pairs(ratios, alpha=ALPHA)
            if found.lo > bad:
                return Comparison(Mark.BAD, found.effect, _told(found))
            if found.hi < good:
                return Comparison(Mark.GOOD, found.effect, _told(found))
    told = _told(found) if found else "the budget is spent"
    busy = tally.sentence if tally.repeated else ""
    return Comparison(Mark.UNCLEAR, found.effect if found else 0.0, "; ".join(filter(None, [told, busy])))


def _told(found: PairedEstimate) -> str:
    if math.isinf(found.lo) or math.isinf(found.hi):
        return f"change {percent(found.effect)}; {found.n} rounds are too few for an interval"
    return interval(found).rstrip(",")
