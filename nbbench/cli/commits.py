"""`nbbench commits [RANGE]`."""

import click

from nbbench.cli.app import App


@click.command()
@click.argument("span", metavar="[RANGE]", required=False)
@click.pass_obj
def commits(app: App, span: str | None) -> None:
    """List the first-parent commits that differ in the measured paths, oldest first.

    RANGE is a git range (A..B) or positions (21-245); the default is the whole branch.
    """
    from nbbench.report.run_view import commits_blocks
    from nbbench.subject.repository import open_subject
    from nbbench.subject.selection import select

    found = select(open_subject(app.settings), span)
    app.report("commits", {"commits": found}, commits_blocks(found))
