"""Flags: which decisions belong to which event, which event a name means, which step may be taken. No I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from nbbench.errors import InconclusiveError, UsageError
from nbbench.history.ledger_series import CommitOrder
from nbbench.model import Commit, Decision, Event, Flag, FlagState

_ID = re.compile(
    r"(?P<first>\w+?)(?:\.\.(?P<last>\w+?))?"
    r"(?P<way>-(?:slower|faster|changed|fails)(?:-import|-construct|-first-run|-memory)?)(?:-.*)?"
)

LEAST_DIGITS = 4
"""Fewer digits of a commit's hash are too likely another's."""

_LONGEST_DAYS = 36_525  # a century
# detected → confirmed → acknowledged | fixed → verified; anything may be rejected or confirmed anew.
_UNDECIDED = {FlagState.ACKNOWLEDGED, FlagState.FIXED, FlagState.REJECTED}
_NEXT = {
    FlagState.DETECTED: {FlagState.CONFIRMED, *_UNDECIDED},
    FlagState.CONFIRMED: _UNDECIDED,
    FlagState.ACKNOWLEDGED: {FlagState.CONFIRMED, *_UNDECIDED},
    FlagState.FIXED: {FlagState.VERIFIED, FlagState.CONFIRMED},
    FlagState.VERIFIED: {FlagState.CONFIRMED},
    FlagState.REJECTED: {FlagState.CONFIRMED},
}


def attach_flags(
    events: Iterable[Event], decisions: Sequence[Decision], plan: str, commits: Sequence[Commit]
) -> list[Flag]:
    """Flags of a plan item: every event that is a regression, in the state of its newest decision.

    A decision belongs to one event: the one that it names, else the one of its direction whose commits its
    own share most of. More measurements narrow a range and change the id, not the event.
    """
    worse = [event for event in events if event.worse]
    places = {commit.short: i for i, commit in enumerate(CommitOrder(commits).commits)}
    mine: dict[str, list[Decision]] = {event.id: [] for event in worse}
    for decision in sorted(decisions, key=lambda d: d.date):
        if decision.plan == plan and (home := _home(decision.event, worse, places)) is not None:
            mine[home.id].append(decision)
    return [
        Flag(e, plan, mine[e.id][-1].state if mine[e.id] else FlagState.DETECTED, tuple(mine[e.id]))
        for e in worse
    ]


def _home(name: str, events: Sequence[Event], places: Mapping[str, int]) -> Event | None:
    """The event that an id means now; None where there is none any more."""
    named = next((event for event in events if event.id == name), None)
    best = max(events, key=lambda event: _shared(name, event, places), default=None)
    return named or (best if best is not None and _shared(name, best, places) > 0 else None)


def _shared(name: str, event: Event, places: Mapping[str, int]) -> float:
    """The share of commits that an id's range has in common with an event's of its direction and phase."""
    said, now = _ID.fullmatch(name), _ID.fullmatch(event.id)
    if said is None or now is None or said["way"] != now["way"]:
        return 0.0
    ends = said["first"], said["last"] or said["first"], event.lo_commit, event.hi_commit
    known = [places[commit[:8]] for commit in ends if commit[:8] in places]
    if len(known) < len(ends):
        return 0.0
    first, last, lo, hi = known
    common = min(last, hi) - max(first, lo) + 1
    return max(common, 0) / (max(last, hi) - min(first, lo) + 1)


def find_flag(flags: Sequence[Flag], name: str) -> Flag:
    """The flag whose event has this id, or is the only one whose commit or id begins so.

    Raises UsageError for a name that fits none or several, or of fewer digits than LEAST_DIGITS.
    """
    commit, _, kind = name.partition("-")

    def fits(event: Event) -> bool:
        same = kind in ("", event.id.partition("-")[2])
        return event.id.startswith(name) or (same and event.hi_commit.startswith(commit))

    enough = re.match(rf"[0-9a-f]{{{LEAST_DIGITS}}}", name)
    matching = [flag for flag in flags if flag.event.id == name]
    matching = matching or [flag for flag in flags if enough and fits(flag.event)]
    if len(matching) == 1:
        return matching[0]
    shown = ", ".join(flag.event.id for flag in (matching or flags)[:8]) or "none"
    if matching:
        raise UsageError(f"{name!r} fits {len(matching)} flags", hint=f"name one: {shown}")
    raise UsageError(
        f"no flag {name!r}", hint=f"give an id, or at least {LEAST_DIGITS} digits of one; flags: {shown}"
    )


def check_step(flag: Flag, target: FlagState) -> None:
    """Raise UsageError unless the flag may become `target`, InconclusiveError where that needs a measurement.

    "verified" is a statement about a measurement: the event's series are back at their level, on record.
    """
    if target not in _NEXT[flag.state]:
        allowed = ", ".join(sorted(_NEXT[flag.state]))
        raise UsageError(
            f"a flag that is {flag.state} cannot become {target}", hint=f"from {flag.state}: {allowed}"
        )
    if target is FlagState.VERIFIED and not flag.event.recovered_by:
        names = sorted({re.escape(change.key.benchmark) for change in flag.event.changes})
        benches = " ".join(f"--bench '{name}'" for name in names[:3])
        raise InconclusiveError(
            f"no measurement on record shows the series of {flag.event.id} back at their level",
            hint=f"measure the fix and what follows it: `nbbench run --commits HASH,… {benches}`",
        )


def check_fix(flag: Flag, fix: Commit, commits: Sequence[Commit]) -> None:
    """Raise UsageError where the commit does not come after the event: it cannot have fixed it (H8)."""
    places = {commit.short: i for i, commit in enumerate(CommitOrder(commits).commits)}
    place, culprit = places.get(fix.short), places.get(flag.event.hi_commit[:8])
    if place is not None and culprit is not None and place <= culprit:
        raise UsageError(
            f"{fix.short} does not come after {flag.event.id}: it cannot have fixed it",
            hint="--commit names the commit that fixes it",
        )


def expiry(text: str, now: datetime) -> datetime:
    """When an acknowledgement ends: after so many days, or at a date. Raises UsageError for anything else."""
    try:
        if text.isascii() and text.isdecimal():
            moment = now + timedelta(days=int(text))
        else:
            day = datetime.fromisoformat(text)
            moment = day.astimezone(UTC) if day.tzinfo else day.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--expires takes a number of days or a date, got {text!r}") from error
    if not now < moment <= now + timedelta(days=_LONGEST_DAYS):
        raise UsageError(
            f"--expires takes 1 to {_LONGEST_DAYS:,} days or a date within them, not in the past: {text}"
        )
    return moment
