"""`nbbench flag EVENT STATE`."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime, timedelta

import click

from nbbench.cli.app import App
from nbbench.model import Flag, FlagState

# detected → confirmed → acknowledged | fixed → verified; anything may be rejected or confirmed anew.
_NEXT = {
    FlagState.DETECTED: {FlagState.CONFIRMED, FlagState.ACKNOWLEDGED, FlagState.FIXED, FlagState.REJECTED},
    FlagState.CONFIRMED: {FlagState.ACKNOWLEDGED, FlagState.FIXED, FlagState.REJECTED},
    FlagState.ACKNOWLEDGED: {
        FlagState.CONFIRMED,
        FlagState.ACKNOWLEDGED,
        FlagState.FIXED,
        FlagState.REJECTED,
    },
    FlagState.FIXED: {FlagState.VERIFIED, FlagState.CONFIRMED},
    FlagState.VERIFIED: {FlagState.CONFIRMED},
    FlagState.REJECTED: {FlagState.CONFIRMED},
}
_STATES = [state.value for state in FlagState if state is not FlagState.DETECTED]


@click.command()
@click.argument("event")
@click.argument("state", type=click.Choice(_STATES))
@click.option("--reason", "-m", required=True, help="Why; kept with the decision.")
@click.option("--by", "person", metavar="NAME", help="Who decides (default: git's user.name, or the login).")
@click.option("--expires", metavar="DAYS|DATE", help="When an acknowledgement ends (30, or 2026-12-31).")
@click.option("--plan", metavar="ITEM", help="Plan item (default: the setting).")
@click.pass_obj
def flag(
    app: App, event: str, state: str, reason: str, person: str | None, expires: str | None, plan: str | None
) -> None:
    """Move the flag of EVENT to STATE, with reason, person and date.

    The decision is also kept as a text file below results/decisions/, so that it travels with
    git and survives a deleted database. EVENT is an id of `nbbench regressions`, or its commit.
    """
    from nbbench.errors import UsageError
    from nbbench.history.history import current_flags, up_to_date
    from nbbench.model import Decision, to_plain
    from nbbench.record.decisions import write_decision
    from nbbench.record.refresh import import_all, open_store

    if not reason.strip():
        raise UsageError("a decision needs a reason")
    item = plan or app.settings.plan
    now = datetime.now(UTC)
    with open_store(app.settings) as store:
        flags = current_flags(store, up_to_date(app.settings, store), item)
        found = _find(flags, event)
        target = FlagState(state)
        if target not in _NEXT[found.state]:
            allowed = ", ".join(sorted(_NEXT[found.state]))
            raise UsageError(
                f"a flag that is {found.state} cannot become {target}", hint=f"from {found.state}: {allowed}"
            )
        decision = Decision(
            event=found.event.id,
            plan=item,
            state=target,
            reason=" ".join(reason.split()),
            person=person or _person(),
            date=now,
            expires=_expiry(expires, now) if expires else None,
        )
        path = write_decision(app.settings.decisions_dir, decision)
        import_all(app.settings, store)
    text = f"{found.event.id}: {found.state} → {target} ({path.relative_to(app.settings.root)})"
    app.emit("flag", {"decision": to_plain(decision), "file": str(path.name)}, text)


def _find(flags: list[Flag], name: str) -> Flag:
    from nbbench.errors import UsageError

    matching = [
        f
        for f in flags
        if f.event.id == name or (len(name) >= 7 and f.event.hi_commit.startswith(name.partition("-")[0]))
    ]
    if len(matching) != 1:
        known = ", ".join(f.event.id for f in flags[:8]) or "none"
        raise UsageError(f"no flag {name!r}", hint=f"flags: {known}")
    return matching[0]


def _person() -> str:
    from nbbench.errors import SubjectError
    from nbbench.subject.git import git_text

    try:
        return git_text(None, ["config", "user.name"])
    except SubjectError:
        pass
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return os.environ.get("USER") or "unknown"


def _expiry(text: str, now: datetime) -> datetime:
    from nbbench.errors import UsageError

    if text.isdigit():
        return now + timedelta(days=int(text))
    try:
        day = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--expires takes a number of days or a date, got {text!r}") from error
    moment = day if day.tzinfo else day.replace(tzinfo=UTC)
    if moment <= now:
        raise UsageError(f"--expires {text} lies in the past")
    return moment
