"""`nbbench plan [ID]`."""

from datetime import UTC, datetime

import click

from nbbench.cli.app import App
from nbbench.cli.options import device_option, machine_option, markdown_option
from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION, UsageError
from nbbench.report.blocks import Table


@click.command()
@click.argument("plan_id", metavar="[ID]", required=False)
@click.option(
    "--measure",
    metavar="[COMMIT]",
    is_flag=False,
    flag_value="",
    help="First measure what has no verdict at COMMIT (default: the branch's newest) on this machine.",
)
@click.option("--again", is_flag=True, help="With --measure: what cannot be told is measured again, too.")
@click.option("--attempt", is_flag=True, help="Print an attempt entry for the plan's log (Markdown).")
@device_option
@machine_option
@markdown_option
@click.pass_obj
def plan(
    app: App,
    plan_id: str | None,
    measure: str | None,
    again: bool,
    attempt: bool,
    device: str | None,
    machine: str | None,
    markdown: str | None,
) -> int:
    """Show where a plan item stands: each criterion with its newest measured value and verdict.

    Without ID the known plans are listed. Criteria come from [tool.nbbench.plans] in
    pyproject.toml (docs/plan.md). All figures are of one machine, but those that need a GPU or
    more cores than it has. Exit code 0 when every criterion is met, 3 when one is missed, 4 when
    nothing is missed but something is stale, cannot be told or is not measured. What detection
    could not judge is counted and named below.

    With --measure what is missing or stale at a commit is measured first, and the table is that
    of the commit; what is finished is kept, and a repeated call goes on. Exit code 3 then says that a
    criterion is missed which this machine saw met at an earlier commit, 4 that it saw one met of
    which nobody knows now, or that nothing could be judged, and 0 that no criterion is lost.
    """
    from nbbench.plan.plans import find_plan, plans
    from nbbench.report import plan as report

    if plan_id is None:
        if measure is not None:
            raise UsageError("--measure takes a plan", hint="nbbench plan ID --measure [COMMIT]")
        known = list(plans(app.settings).values())
        rows = [(one.id, str(len(one.criteria)), one.title) for one in known]
        table = Table(("plan", "criteria", "title"), rows, right=(1,))
        app.report("plans", known, [table], markdown=markdown)
        return EXIT_OK
    chosen = find_plan(app.settings, plan_id)
    measured = None
    if measure is not None:
        from nbbench.plan.measuring import measure_plan

        app.override(machine=machine, device=device)
        measured = measure_plan(app.settings, chosen, measure, again=again, say=app.say, detail=app.detail)
    elif again or device:
        raise UsageError(f"--{'again' if again else 'device'} belongs to --measure")

    from nbbench.history.history import current_flags, up_to_date
    from nbbench.plan.plan import PlanVerdict, plan_verdict
    from nbbench.plan.plan_status import plan_states
    from nbbench.record.refresh import open_store
    from nbbench.report.markdown import as_markdown
    from nbbench.report.not_judged import not_judged_blocks, plain_not_judged

    now = datetime.now(UTC)
    with open_store(app.settings) as store:
        if measured:
            name, states = measured.machine, measured.states
        else:
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
        "measured": report.measured_payload(measured) if measured else None,
    }
    if attempt:
        commits = [state.found.commit for state in states if state.found]
        newest = max(commits, key=lambda c: order.get(c, -1), default="")
        blocks = report.attempt_blocks(chosen, states, flags, not_judged, now, machine=name, commit=newest)
        payload["attempt"] = as_markdown(blocks)
        markdown = markdown or "-"
    else:
        blocks = report.plan_blocks(chosen, states, name, now, measured) + not_judged_blocks(not_judged)
    app.report("plan", payload, blocks, markdown=markdown)
    if measured:
        return measured.exit_code
    codes = {PlanVerdict.MEETS: EXIT_OK, PlanVerdict.MISSES: EXIT_REGRESSION}
    return codes.get(verdict, EXIT_INCONCLUSIVE)
