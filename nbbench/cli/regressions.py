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
@click.option("--all", "everything", is_flag=True, help="Improvements as well.")
@click.option("--evidence/--no-evidence", default=True, help="Evidence lines below the table.")
@click.option("--markdown", is_flag=True, help="Markdown instead of a terminal table.")
@click.option("--fail", is_flag=True, help="Exit 3 when a regression is open.")
@click.pass_obj
def regressions(
    app: App, plan: str | None, everything: bool, evidence: bool, markdown: bool, fail: bool
) -> int:
    """List what is flagged for a plan item: commit, size, cause, state, evidence.

    Works on committed results alone: nothing is measured.
    """
    from nbbench.cli.streams import terminal
    from nbbench.documents import regressions_document
    from nbbench.errors import EXIT_OK, EXIT_REGRESSION, InconclusiveError
    from nbbench.history.history import current_flags, up_to_date
    from nbbench.model import Flag, FlagState
    from nbbench.record.refresh import open_store, order_notes
    from nbbench.report.markdown import regressions_markdown
    from nbbench.report.text import regressions_text
    from nbbench.report.view import regressions_view

    item = plan_item(app, plan)
    with open_store(app.settings) as store:
        events = up_to_date(app.settings, store)
        if not store.run_info().get("series"):
            raise InconclusiveError("there are no results to judge", hint="run `nbbench run` first")
        flags = current_flags(store, events, item)
        for note in order_notes(store):
            app.say(note)
    if everything:
        flags += [Flag(event, "", FlagState.DETECTED) for event in events if not event.worse]
    view = regressions_view(flags, datetime.now(UTC))
    if app.json:
        put(regressions_document(flags), nl=False)
    elif markdown:
        put(regressions_markdown(view), nl=False)
    else:
        put(regressions_text(view, terminal(), evidence=evidence), nl=False)
    return EXIT_REGRESSION if fail and view.open_count else EXIT_OK
