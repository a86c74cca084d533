"""`nbbench regressions`."""

from datetime import UTC, datetime

import click

from nbbench.cli.app import App
from nbbench.cli.options import markdown_option, plan_item, plan_option, project_option


@click.command()
@project_option
@plan_option
@click.option("--open", "open_only", is_flag=True, help="Only regressions that ask for a decision.")
@click.option("--all", "everything", is_flag=True, help="Improvements as well.")
@click.option("--brief", is_flag=True, help="Only the table, without the evidence of each.")
@click.option(
    "--costliest",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the N open regressions whose end would save most time, and how much.",
)
@click.option("--fail", is_flag=True, help="Exit 3 when one is open, 4 when nothing could be judged.")
@markdown_option
@click.pass_obj
def regressions(
    app: App,
    plan: str | None,
    open_only: bool,
    everything: bool,
    brief: bool,
    costliest: int | None,
    fail: bool,
    markdown: str | None,
) -> int:
    """Find what became slower or faster, and list what is flagged: commit, size, cause, state, evidence.

    Works on results alone, committed ones too: nothing is measured. Where anything that the answer rests
    on is new, it is found anew: exact counters are compared exactly, noisy series by the detector of
    docs/statistics.md. What could not be judged is counted with its reason; where nothing could be, the
    exit code is 4.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION
    from nbbench.history.costs import costs_of
    from nbbench.history.history import every_flag, nothing_judged, up_to_date
    from nbbench.model import EventDirection
    from nbbench.record.projects import own_project
    from nbbench.record.refresh import open_store, result_notes
    from nbbench.report.events import costs_blocks, event_machines, is_open, regressions_blocks
    from nbbench.report.not_judged import plain_not_judged

    now = datetime.now(UTC)
    with open_store(app.settings) as store:
        events = up_to_date(app.settings, store)
        info = store.run_info()
        item = plan_item(app, plan) if store.project == own_project(app.settings) else ""
        flags = every_flag(store, events, item)
        not_judged = store.not_judged()
        commits = store.commits()
        for note in result_notes(store):
            app.say(note)
        nothing = nothing_judged(store)
    waiting = [flag for flag in flags if is_open(flag, now)]
    # A change of unknown direction is always shown: somebody has to say what it is.
    some = [f for f in flags if everything or f.event.direction is not EventDirection.IMPROVEMENT]
    shown = waiting if open_only else some
    costs = costs_of(waiting, flags, {commit.hash: place for place, commit in enumerate(commits)})
    blocks = (
        costs_blocks(costs, waiting, costliest)
        if costliest
        else regressions_blocks(
            shown,
            every=flags,
            not_judged=not_judged,
            nothing=nothing,
            now=now,
            trees={commit.hash for commit in commits if commit.tree},
            brief=brief,
        )
    )
    payload = {
        "count": len(shown),
        "flags": shown,
        "machines": event_machines(shown),
        "judged": info.get("judged"),
        "changes": info.get("changes"),
        "not_judged": plain_not_judged(not_judged),
        "costs": costs,
    }
    app.report("regressions", payload, blocks, markdown=markdown, version=3)
    if fail and waiting:
        return EXIT_REGRESSION
    return EXIT_INCONCLUSIVE if nothing else EXIT_OK
