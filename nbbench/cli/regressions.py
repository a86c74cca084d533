"""`nbbench regressions`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from nbbench.cli.app import App
from nbbench.cli.options import plan_item, project_option
from nbbench.cli.streams import put


@click.command()
@project_option
@click.option("--plan", metavar="ITEM", help="Plan item (default: the setting, PERF-PYTORCH-004).")
@click.option("--open", "open_only", is_flag=True, help="Only regressions that ask for a decision.")
@click.option("--all", "everything", is_flag=True, help="Improvements as well.")
@click.option("--evidence/--no-evidence", default=True, help="Evidence lines below the table.")
@click.option("--markdown", is_flag=True, help="Markdown instead of a terminal table.")
@click.option("--fail", is_flag=True, help="Exit 3 when a regression is open.")
@click.pass_obj
def regressions(
    app: App,
    plan: str | None,
    open_only: bool,
    everything: bool,
    evidence: bool,
    markdown: bool,
    fail: bool,
) -> int:
    """List what is flagged for a plan item: commit, size, cause, state, evidence.

    Works on committed results alone: nothing is measured. What could not be judged is counted with its
    reason; where nothing could be, the exit code is 4.
    """
    from nbbench.cli.streams import terminal
    from nbbench.documents import regressions_document
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION, InconclusiveError
    from nbbench.history.history import current_flags, up_to_date
    from nbbench.model import Flag, FlagState
    from nbbench.record.refresh import open_store, order_notes
    from nbbench.report.markdown import regressions_markdown
    from nbbench.report.text import regressions_text
    from nbbench.report.view import flag_row, regressions_view

    item, now = plan_item(app, plan), datetime.now(UTC)
    with open_store(app.settings) as store:
        events = up_to_date(app.settings, store)
        info = store.run_info()
        if not info.get("series"):
            raise InconclusiveError("there are no results to judge", hint="run `nbbench run` first")
        flags = current_flags(store, events, item)
        not_judged = store.not_judged()
        for note in order_notes(store):
            app.say(note)
    some_open = any(flag_row(flag, now).is_open for flag in flags)
    if everything:
        flags += [Flag(event, "", FlagState.DETECTED) for event in events if not event.worse]
    shown = [flag for flag in flags if flag_row(flag, now).is_open] if open_only else flags
    nothing = not info.get("judged") and not events
    view = regressions_view(shown, now, not_judged, nothing_judged=nothing)
    if app.json:
        put(regressions_document(shown, not_judged), nl=False)
    elif markdown:
        put(regressions_markdown(view), nl=False)
    else:
        put(regressions_text(view, terminal(), evidence=evidence), nl=False)
    if fail and some_open:
        return EXIT_REGRESSION
    return EXIT_INCONCLUSIVE if nothing else EXIT_OK
