"""`nbbench budget set|check`."""

import click

from nbbench.cli.app import App
from nbbench.cli.options import markdown_option, pattern


@click.group()
def budget() -> None:
    """Hold a commit's exact work against what is allowed, row by row, in budgets.json."""


@budget.command("set")
@click.argument("commit", required=False)
@click.option("--bench", metavar="REGEX", default="", help="Workloads (default: all of the suite).")
@click.option(
    "--growth",
    type=click.FloatRange(min=0.0),
    metavar="PERCENT",
    help="What each row may grow by (default: what the gate lets pass, 1 to 10 by metric).",
)
@click.option("--reason", metavar="TEXT", default="", help="Why: asked for where a row is to allow more.")
@click.option("--commit", "committing", is_flag=True, help="Commit budgets.json alone, with the reason.")
@click.pass_obj
def set_(
    app: App, commit: str | None, bench: str, growth: float | None, reason: str, committing: bool
) -> None:
    """Write COMMIT's exact work (default: the branch's tip) as the budget.

    Bytes, operations, peak memory and host work of each workload, what is missing is recorded. Rows of
    other workloads stay. The reason belongs into the message of the commit, which --commit makes and else
    is printed. Exit code 2 where a row would allow more than before and no reason is given.
    """
    from nbbench.model import to_plain
    from nbbench.report.exact_work import budget_message
    from nbbench.subject.repository import measurable, open_subject
    from nbbench.words import clean, plural
    from nbbench.work.budget_file import BUDGETS, commit_budget, set_budget

    chosen = measurable(open_subject(app.settings), commit)
    allowed, why = None if growth is None else growth / 100.0, clean(reason)
    made, grown = set_budget(app.settings, chosen, pattern(bench), allowed, why, app.say)
    message = budget_message(chosen, why, grown)
    done = commit_budget(app.settings, message) if committing else ""
    said = f"{BUDGETS}: {plural(len(made.rows), 'row')}, those that were renewed are of {chosen.short}"
    if committing:
        said += f"\ncommitted as {done[:8]}" if done else "\nnothing changed, so nothing is committed"
    else:
        said += f"\ncommit it with this message:\n\n{message}"
    payload = {"commit": chosen.hash, "message": message, "committed": done or None}
    app.emit("budget", {**payload, "grown": [row for _, row in grown], **to_plain(made)}, said)


@budget.command()
@click.argument("commit", required=False)
@markdown_option
@click.pass_obj
def check(app: App, commit: str | None, markdown: str | None) -> int:
    """Hold COMMIT's exact work (default: the branch's tip) against budgets.json.

    Exit code 3: a row is exceeded; 4: a row has no value here, or the budget is of another torch or Python.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION
    from nbbench.host import IMPORT_WORKLOAD
    from nbbench.report.exact_work import budget_blocks, budget_payload
    from nbbench.subject.repository import measurable, open_subject
    from nbbench.work.budget_file import comparable_budget, counted_ledgers
    from nbbench.work.work_budget import check_budget

    chosen = measurable(open_subject(app.settings), commit)
    rows = comparable_budget(app.settings).rows
    names = sorted({row.workload for row in rows} - {IMPORT_WORKLOAD})
    found = check_budget(rows, counted_ledgers(app.settings, chosen, names, app.say))
    app.report("budget-check", budget_payload(chosen, found), budget_blocks(chosen, found), markdown=markdown)
    if found.over:
        return EXIT_REGRESSION
    return EXIT_INCONCLUSIVE if found.missing or not found.held else EXIT_OK
