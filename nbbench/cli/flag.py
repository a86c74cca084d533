"""`nbbench flag EVENT STATE`."""

import getpass
from contextlib import suppress
from datetime import UTC, datetime

import click

from nbbench.cli.app import App
from nbbench.cli.options import plan_item, plan_option
from nbbench.errors import SubjectError, UsageError
from nbbench.model import Decision, FlagState

_STATES = [state.value for state in FlagState if state is not FlagState.DETECTED]


@click.command()
@click.argument("event")
@click.argument("state", type=click.Choice(_STATES))
@click.option("--reason", "-m", required=True, help="Why; kept with the decision.")
@click.option("--commit", metavar="HASH", help="The commit that fixes it: `fixed` needs one.")
@click.option("--by", "person", metavar="NAME", help="Who decides (default: git's user.name, or the login).")
@click.option("--expires", metavar="DAYS|DATE", help="When an acknowledgement ends (30, or 2026-12-31).")
@plan_option
@click.pass_obj
def flag(
    app: App,
    event: str,
    state: str,
    reason: str,
    commit: str | None,
    person: str | None,
    expires: str | None,
    plan: str | None,
) -> None:
    """Move the flag of EVENT to STATE, with reason, person and date.

    The decision is also kept as a text file below results/decisions/, so that it travels with
    git and survives a deleted database. EVENT is an id of `nbbench regressions`, or at least
    four digits of its commit. `fixed` names the commit that fixes it (kept with the reason);
    `verified` needs the series back at their level on record, and is refused (exit 4)
    otherwise.
    """
    from nbbench.history.flags import check_fix, check_step, expiry, find_flag
    from nbbench.history.history import current_flags, up_to_date
    from nbbench.record.decisions import write_decision
    from nbbench.record.refresh import import_all, open_store

    why, target = " ".join(reason.split()), FlagState(state)
    if not why:
        raise UsageError("a decision needs a reason")
    if (target is FlagState.FIXED) != (commit is not None):
        hint = "name it with --commit HASH" if commit is None else "only `fixed` takes --commit"
        raise UsageError("`fixed` is said of the commit that fixes it", hint=hint)
    item, now = plan_item(app, plan), datetime.now(UTC)
    ends = expiry(expires, now) if expires else None
    with open_store(app.settings, importing=True) as store:
        found = find_flag(current_flags(store, up_to_date(app.settings, store), item), event)
        check_step(found, target)
        if commit is not None:
            known = store.commit(commit)
            if known is None:
                raise UsageError(f"no commit {commit!r} is on record", hint="`nbbench commits` lists them")
            check_fix(found, known, store.commits())
            why = f"{why} (commit {known.short})"
        decision = Decision(found.event.id, item, target, why, person or _person(), now, ends)
        path = write_decision(app.settings.decisions_dir, decision)
        import_all(app.settings, store)
    text = f"{found.event.id}: {found.state} → {target} ({path.relative_to(app.settings.root)})"
    app.emit("flag", {"decision": decision, "file": str(path.name)}, text)


def _person() -> str:
    from nbbench.subject.git import git_text

    with suppress(SubjectError):
        return git_text(None, ["config", "user.name"])
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"
