"""The hunks behind a gate's regressions of exact work, where naming them takes no more than some seconds."""

from collections.abc import Sequence
from dataclasses import replace

from nbbench.config import Settings
from nbbench.errors import SubjectError
from nbbench.gate.acknowledged import ledger_name
from nbbench.gate.exact import ExactWork
from nbbench.measure.warm_runs import Servers
from nbbench.model import Cause, Commit, EvidenceRecord, Outcome
from nbbench.verdicts import Verdict
from nbbench.words import Say
from nbbench.work.hunk_causes import NEW_IMAGE, HunkSearch, HunkTarget
from nbbench.work.hunks import find_hunks

_FEW, _SOME = 8, 30
"""Hunks among which a gate searches in any case, and while it has spent less than `_EARLY_S` seconds."""
_EARLY_S = 8.0
_WORSE = (Outcome.REGRESSED, Outcome.NOT_COMPARABLE)


def with_hunks(
    settings: Settings,
    ends: tuple[Commit, Commit],
    work: ExactWork,
    verdicts: Sequence[Verdict],
    elapsed_s: float,
    servers: Servers,
    say: Say,
) -> list[Verdict]:
    """The verdicts on exact work, the worse ones with the hunks that cause them.

    The only hunk that changes the program needs no search. Where there are too many for the time left the
    evidence says so.
    """
    if not any(one.outcome in _WORSE for one in verdicts):
        return list(verdicts)
    search = HunkSearch(*ends)
    most = _SOME if elapsed_s < _EARLY_S else _FEW
    try:
        find_hunks(settings, search, work.diffs, work.host, work.orders, say=say, most=most, servers=servers)
    except SubjectError as error:  # a verdict stands without its hunk
        say(str(error))
    return [_with_cause(one, search) if one.outcome in _WORSE else one for one in verdicts]


def _with_cause(verdict: Verdict, search: HunkSearch) -> Verdict:
    said = [cause.record(len(search.hunks)) for cause in search.causes if _explains(cause.target, verdict)]
    if len(search.moving) == 1:
        places = {"place": search.moving[0].place, "change": search.moving[0].change}
        said = [EvidenceRecord("only hunk", {**places, "total": len(search.hunks)})]
    elif not search.done:
        ends = [search.base.short, search.head.short]
        said = [EvidenceRecord("many hunks", {"moving": len(search.moving), "ends": ends})]
    return replace(verdict, evidence=(*verdict.evidence, *said))


def _explains(target: HunkTarget, verdict: Verdict) -> bool:
    """Whether a verdict is on the figure that was explained, on the same or another workload."""
    if target.metric == NEW_IMAGE:
        return verdict.cause is Cause.IMAGE
    if target.phase:
        return verdict.unit == target.metric and verdict.series.endswith(target.phase)
    return verdict.unit == target.unit and verdict.series.startswith(ledger_name(target.metric, ""))
