"""`nbbench plan [ID]`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from nbbench.cli.app import App
from nbbench.cli.options import machine_option, markdown_option
from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION


@click.command()
@click.argument("plan_id", metavar="[ID]", required=False)
@click.option("--attempt", is_flag=True, help="Print an attempt entry for the plan's log (Markdown).")
@machine_option
@markdown_option
@click.pass_obj
def plan(app: App, plan_id: str | None, attempt: bool, machine: str | None, markdown: str | None) -> int:
    """Show where a plan item stands: each criterion with its newest measured value and verdict.

    Without ID the known plans are listed. Criteria come from [tool.nbbench.plans] in
    pyproject.toml (docs/plan.md). All figures are of one machine. Exit code 0 when every
    criterion is met, 3 when one is missed, 4 when nothing is missed but something is stale,
    cannot be told or is not measured. What detection could not judge is counted and named below.
    """
    from nbbench.plan.plans import find_plan, plans
    from nbbench.report import plan as report

    if plan_id is None:
        known = list(plans(app.settings).values())
        app.report("plans", known, report.plans_blocks(known), markdown=markdown)
        return EXIT_OK
    chosen = find_plan(app.settings, plan_id)

    from nbbench.history.history import current_flags, up_to_date
    from nbbench.plan.plan import PlanVerdict, plan_verdict
    from nbbench.plan.plan_status import plan_states
    from nbbench.record.refresh import open_store
    from nbbench.report.markdown import as_markdown
    from nbbench.report.not_judged import not_judged_blocks, plain_not_judged

    now = datetime.now(UTC)
    with open_store(app.settings) as store:
        name, states = plan_states(app.settings, store, chosen, now, machine=machine)
        flags, not_judged = [], []
        if store.counts()["results"]:
            flags = current_flags(store, up_to_date(app.settings, store), chosen.id)
            not_judged = store.not_judged()
        order = {commit.hash: place for place, commit in enumerate(store.commits())}
    verdict = plan_verdict(states)
    payload = {
        "plan": chosen.id,
        "title": chosen.title,
        "machine": name,
        "verdict": str(verdict),
        "criteria": states,
        "not_judged": plain_not_judged(not_judged),
        "attempt": None,
    }
    if attempt:
        commits = [state.found.commit for state in states if state.found]
        newest = max(commits, key=lambda c: order.get(c, -1), default="")
        blocks = report.attempt_blocks(chosen, states, flags, not_judged, now, machine=name, commit=newest)
        payload["attempt"] = as_markdown(blocks)
        markdown = markdown or "-"
    else:
        blocks = report.plan_blocks(chosen, states, name, now) + not_judged_blocks(not_judged)
    app.report("plan", payload, blocks, markdown=markdown)
    codes = {PlanVerdict.MEETS: EXIT_OK, PlanVerdict.MISSES: EXIT_REGRESSION}
    return codes.get(verdict, EXIT_INCONCLUSIVE)
