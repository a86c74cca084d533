"""`nbbench bisect GOOD BAD`."""

import secrets

import click

from nbbench.cli.app import App
from nbbench.cli.options import pattern


@click.command()
@click.argument("good")
@click.argument("bad")
@click.option(
    "--series",
    metavar="REGEX",
    help="The one timed series that became slower (asv name with parameters; default: the profile's).",
)
@click.option(
    "--budget", metavar="TIME", default="30m", show_default=True, help="Time for measuring: 90s, 10m."
)
@click.option("--floor", metavar="PERCENT", help="Smallest slowdown of BAD against GOOD worth a search.")
@click.option("--seed", type=int, help="Seed of the random order of measurements.")
@click.pass_obj
def bisect(
    app: App,
    good: str,
    bad: str,
    series: str | None,
    budget: str,
    floor: str | None,
    seed: int | None,
) -> int:
    """Find the commit between GOOD and BAD that made a series slower.

    Exact work comes first, recorded where it is missing: where it explains the slowdown it names the commit,
    also on a machine that is too busy for times. What it does not explain is bisected with the gate's paired
    comparisons with GOOD; a commit that cannot run is passed over. Where the budget ends first, the command
    for what is left is printed. Exit 0 one commit found (or BAD is not slower), 4 a range.
    """
    from nbbench.budget import Budget
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
    from nbbench.gate.bisect import commits_between, find_culprit, one_series
    from nbbench.gate.culprit import Stopped
    from nbbench.measure.process_env import measuring
    from nbbench.report.gate import bisect_payload, bisect_text
    from nbbench.subject.profile import load_profile

    app.override(floor=floor, budget_s=budget)
    # without one, the suite's only series
    wanted = pattern(series or load_profile(app.settings).bisect_series or ".", "--series")
    commits = commits_between(app.settings, good, bad)
    chosen = secrets.randbelow(2**31) if seed is None else seed
    given = Budget(app.settings.budget_s)
    with measuring(app.settings.state_dir):
        name = one_series(app.settings, commits[-1], wanted, given)
        app.say(f"{name}: {commits[0].short} and {len(commits) - 1} after it")
        answer = find_culprit(app.settings, name, commits, budget=given, seed=chosen, say=app.say)
    app.emit("bisect", bisect_payload(answer), bisect_text(answer))
    found = len(answer.culprits) == 1 or answer.stopped is Stopped.UNCHANGED
    return EXIT_OK if found else EXIT_INCONCLUSIVE
