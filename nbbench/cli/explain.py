"""`nbbench explain BASE HEAD`."""

from __future__ import annotations

import click

from nbbench.cli.app import App
from nbbench.cli.options import html_option, markdown_option, pattern


@click.command()
@click.argument("base", metavar="BASE|EVENT")
@click.argument("head", required=False)
@click.option(
    "--bench",
    metavar="REGEX",
    help="Workloads to explain, each with its lines (default: the usual ones, and the lines of the "
    "one that tells most).",
)
@click.option(
    "--lines", type=click.IntRange(min=0), default=15, show_default=True, help="Lines shown a workload."
)
@html_option
@markdown_option
@click.pass_obj
def explain(
    app: App,
    base: str,
    head: str | None,
    bench: str | None,
    lines: int,
    html: str | None,
    markdown: str | None,
) -> int:
    """Show the exact difference of work between two commits (or of an event), line by line.

    One sentence says what happened; then bytes and operations of each workload, the lines that
    changed (moved code is no change), other dtypes, new temporaries, the image, and how much of
    the measured time the work explains.

    Ledgers that are not there yet are recorded, which needs one small run a tree. Without a
    registered subject the committed ledgers do, and lines are matched by function names.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
    from nbbench.history.event_ends import event_ends, find_event
    from nbbench.report.explain import explain_blocks, explain_payload
    from nbbench.work.work import explain_commits, find_commit

    if head is not None:
        ends = find_commit(app.settings, base), find_commit(app.settings, head)
    elif (event := find_event(app.settings, base)) is not None:
        ends = event_ends(app.settings, event)
    else:
        raise UsageError(f"no event {base!r}", hint="give two commits, or an id of `nbbench regressions`")
    found = explain_commits(app.settings, *ends, pattern(bench) if bench is not None else None, say=app.say)
    blocks = explain_blocks(found, lines=lines)
    app.report("explain", explain_payload(found), blocks, markdown=markdown, html=html)
    return EXIT_OK if found.diffs else EXIT_INCONCLUSIVE
