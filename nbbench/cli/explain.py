"""`nbbench explain BASE HEAD`."""

from typing import TYPE_CHECKING, Any

import click

from nbbench.cli.app import App
from nbbench.cli.options import markdown_option, pattern
from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
from nbbench.report.blocks import Block

if TYPE_CHECKING:
    from nbbench.measure.warm_runs import Servers
    from nbbench.work.work_share import Explanation


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
@click.option(
    "--hunks",
    is_flag=True,
    help="Find the hunks of the diff that cause each change: subsets of them are recorded.",
)
@click.option(
    "--torch",
    nargs=2,
    metavar="OLD NEW",
    help="Compare one commit under two versions of torch instead of two commits.",
)
@markdown_option
@click.pass_obj
def explain(
    app: App,
    base: str,
    head: str | None,
    bench: str | None,
    lines: int,
    hunks: bool,
    torch: tuple[str, str] | None,
    markdown: str | None,
) -> int:
    """Show the exact difference of work between two commits (or of an event), line by line.

    One sentence says what happened; then bytes and operations of each workload, the lines that
    changed (moved code is no change), other dtypes, new temporaries, the image, and how much of
    the measured time the work explains.

    Where an image changed, both commits are recorded operation by operation, and the line is named at
    which values first differ, with the reason.

    Ledgers that are not there yet are recorded, which needs one small run a tree. Without a
    registered subject the committed ledgers do, and lines are matched by function names.

    With --hunks the smallest set of the diff's hunks is found that gives each change, with the part that
    each hunk carries; the others are shown to be innocent. Combinations that do not run are skipped. What
    was recorded is kept: an interrupted search goes on where it was.

    With --torch the exact work of BASE under one version is compared with that under another, line by line:
    the source is the same, so every difference is torch's. The same command is run in this project in an
    environment of each version: the first run records and ends with 4, the second one compares.
    """
    from nbbench.history.history import event_ends, find_event
    from nbbench.measure.warm_runs import Servers
    from nbbench.report.explain import explain_blocks, explain_payload
    from nbbench.work.work import explain_commits, explain_torch, find_commit

    wanted = pattern(bench) if bench is not None else None
    if torch and (head is not None or hunks):
        raise UsageError("--torch compares one commit with itself", hint="give BASE alone, without --hunks")
    if torch or head is not None:
        other = base if head is None else head
        ends = find_commit(app.settings, base), find_commit(app.settings, other)
    elif (event := find_event(app.settings, base)) is not None:
        ends = event_ends(app.settings, event)
    else:
        raise UsageError(f"no event {base!r}", hint="give two commits, or an id of `nbbench regressions`")
    with Servers() as servers:
        if torch:
            found = explain_torch(app.settings, ends[0], torch, wanted, say=app.say)
        else:
            found = explain_commits(app.settings, *ends, wanted, app.say, servers)
        blocks, payload = explain_blocks(found, lines=lines), explain_payload(found)
        code = EXIT_OK if found.diffs else EXIT_INCONCLUSIVE
        if hunks:
            code = _add_hunks(app, found, blocks, payload, servers) or code
    app.report("explain", payload, blocks, markdown=markdown, version=2)
    return code


def _add_hunks(app: App, found: "Explanation", blocks: list[Block], payload: Any, servers: "Servers") -> int:
    """Put what a search for hunks finds behind the first sentence; 0, or the exit code of an interrupt."""
    from nbbench.cli.signals import interrupt_code
    from nbbench.measure.process_env import measuring
    from nbbench.report.exact_work import hunk_blocks, hunk_payload
    from nbbench.work.hunk_causes import HunkSearch
    from nbbench.work.hunks import find_hunks

    search, code = HunkSearch(found.base, found.head), EXIT_OK
    try:
        with measuring(app.settings.state_dir):
            counts = found.diffs, found.host or (), found.orders or ()
            find_hunks(app.settings, search, *counts, say=app.say, servers=servers)
    except KeyboardInterrupt as error:
        code = interrupt_code(error)
    blocks[1:1] = hunk_blocks(search)
    payload["hunks"] = hunk_payload(search)
    return code
