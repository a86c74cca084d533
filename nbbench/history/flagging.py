"""A step in a flag's life: which event is meant, and whether the step may be taken. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from nbbench.errors import InconclusiveError, UsageError
from nbbench.model import Flag, FlagState

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


def find_flag(flags: Sequence[Flag], name: str) -> Flag:
    """The flag whose event has this id, or is the only one whose commit or id begins so.

    Raises UsageError for a name that fits none or several, or of fewer digits than LEAST_DIGITS.
    """
    if exact := [flag for flag in flags if flag.event.id == name]:
        return exact[0]
    commit, _, kind = name.partition("-")
    matching = [flag for flag in flags if _fits(flag, name, commit, kind)]
    if not re.match(rf"[0-9a-f]{{{LEAST_DIGITS}}}", name):
        matching = []
    if len(matching) == 1:
        return matching[0]
    shown = ", ".join(flag.event.id for flag in (matching or flags)[:8]) or "none"
    if matching:
        raise UsageError(f"{name!r} fits {len(matching)} flags", hint=f"name one: {shown}")
    raise UsageError(
        f"no flag {name!r}", hint=f"give an id, or at least {LEAST_DIGITS} digits of one; flags: {shown}"
    )


def _fits(flag: Flag, name: str, commit: str, kind: str) -> bool:
    event = flag.event
    if event.id.startswith(name):
        return True
    return event.hi_commit.startswith(commit) and kind in ("", event.id.partition("-")[2])


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


def expiry(text: str, now: datetime) -> datetime:
    """When an acknowledgement ends: after so many days, or at a date. Raises UsageError for anything else."""
    if re.fullmatch(r"[0-9]{1,6}", text):
        days = int(text)
        if not 0 < days <= _LONGEST_DAYS:
            raise UsageError(f"--expires takes 1 to {_LONGEST_DAYS:,} days, got {text}")
        return now + timedelta(days=days)
    try:
        day = datetime.fromisoformat(text)
        moment = day.astimezone(UTC) if day.tzinfo else day.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--expires takes a number of days or a date, got {text!r}") from error
    if moment <= now:
        raise UsageError(f"--expires {text} lies in the past")
    return moment
