"""`nbbench bisect GOOD BAD`."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import click

from nbbench.cli.app import App
from nbbench.cli.options import exactly, pattern, seconds

if TYPE_CHECKING:
    from nbbench.gate.bisect import BisectAnswer

MOST_LISTED = 20  # commits of a range that are printed


@click.command()
@click.argument("good")
@click.argument("bad")
@click.option(
    "--series",
    metavar="REGEX",
    default=r"bandwidth\.Warm\.time_run\(512, 'float32'\)",
    show_default=True,
    help="The one timed series that became slower (asv name with parameters).",
)
@click.option(
    "--budget", metavar="TIME", default="30m", show_default=True, help="Time for measuring: 90s, 10m."
)
@click.option("--floor", metavar="PERCENT", help="Smallest slowdown of BAD against GOOD worth a search.")
@click.option("--restart", is_flag=True, help="Forget what an interrupted search found out.")
@click.option("--seed", type=int, help="Seed of the random order of measurements.")
@click.pass_obj
def bisect(
    app: App,
    good: str,
    bad: str,
    series: str,
    budget: str,
    floor: str | None,
    restart: bool,
    seed: int | None,
) -> int:
    """Find the commit between GOOD and BAD that made a series slower.

    Exact work comes first, recorded where it is missing: where it explains the slowdown it names the commit,
    also on a machine that is too busy for times. What it does not explain is bisected with the gate's paired
    comparisons with GOOD; a commit that cannot run is passed over. Repeat the command to resume. Exit 0 one
    commit found (or BAD is not slower), 4 a range.
    """
    from nbbench.budget import Budget
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
    from nbbench.gate.bisect import commits_between, find_culprit
    from nbbench.gate.compare import one_series
    from nbbench.measure.lock import measuring

    app.override(floor=floor, budget_s=seconds(budget))
    wanted = pattern(series, "--series")
    commits = commits_between(app.settings, good, bad)
    chosen = secrets.randbelow(2**31) if seed is None else seed
    given = Budget(app.settings.budget_s)
    with measuring(app.settings.state_dir):
        name = one_series(app.settings, commits[-1], wanted, given)
        app.say(f"{name}: {commits[0].short} and {len(commits) - 1} after it")
        answer = find_culprit(
            app.settings, name, commits, budget=given, restart=restart, seed=chosen, show=app.say
        )
    app.emit("bisect", _payload(answer), _text(answer))
    return EXIT_OK if answer.stopped in ("located", "work", "unchanged") else EXIT_INCONCLUSIVE


def _payload(answer: BisectAnswer) -> dict[str, Any]:
    search = answer.search
    return {
        "series": search.series,
        "good": search.commits[0].hash,
        "bad": search.commits[-1].hash,
        "effect": search.effect,
        "stopped": answer.stopped,
        "sentence": answer.sentence,
        "work": search.work,
        "culprits": [search.commits[i] for i in answer.culprits],
        "steps_of_work": {search.commits[i].hash: size for i, size in search.steps.items()},
        "comparisons": search.made,
    }


def _text(answer: BisectAnswer) -> str:
    from nbbench.units import format_change

    search, places = answer.search, answer.culprits
    lines = [answer.sentence]
    for index in places[:MOST_LISTED]:
        commit = search.commits[index]
        work = f"  exact work {format_change(search.steps[index])}" if index in search.steps else ""
        lines.append(f"  {commit.short} {commit.date:%Y-%m-%d} {commit.subject[:70]}{work}")
    if len(places) > MOST_LISTED:
        lines.append(f"  … and {len(places) - MOST_LISTED} more")
    if len(places) == 1:
        parent, culprit = (search.commits[i].short for i in (places[0] - 1, places[0]))
        lines.append(f"  nbbench explain {parent} {culprit}")
        lines.append(f"  nbbench gate --policy time --bench {exactly(search.series)} {parent} {culprit}")
    return "\n".join(lines)
