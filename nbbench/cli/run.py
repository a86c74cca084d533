"""`nbbench run [RANGE]`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from nbbench.cli.app import App
from nbbench.cli.options import dask_option, device_option, pattern
from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
from nbbench.report.blocks import Block

NOTHING_RAN = "nothing ran: all of it was measured already (--again measures again)"


@click.command()
@click.argument("span", metavar="[RANGE]", required=False)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Measure at most N commits.")
@click.option("--bench", multiple=True, metavar="REGEX", help="Only benchmarks whose name matches.")
@click.option("--commits", "named", metavar="HASH,…", help="Measure just these commits.")
@click.option("--machine", metavar="NAME", help="Name of this machine in the results.")
@device_option
@click.option("--again", is_flag=True, help="Measure again and append the samples (a second collection).")
@click.option("--quick", is_flag=True, help="One sample each: finds broken benchmarks, not regressions.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Watchdog of each benchmark process (seconds).",
)
@dask_option
@click.pass_obj
def run(
    app: App,
    span: str | None,
    limit: int | None,
    bench: tuple[str, ...],
    named: str | None,
    machine: str | None,
    device: str | None,
    again: bool,
    quick: bool,
    timeout: float | None,
    dask: str | None,
) -> int:
    """Measure commits with asv, newest first and then all over the range, then import.

    RANGE is a git range (A..B) or positions (21-245); the default is the whole branch. What is
    measured already is skipped, so an interrupted run resumes when it is repeated. A commit
    that cannot run is recorded as broken, with the reason. Neighbours are measured far apart
    in time (in an order drawn anew each run), so that a slow quarter of an hour is noise and
    no step.

    With --dask commits are measured by the nodes of a cluster, those of --commits all by one; the machine's
    name is that of their class of hardware, of several the one that --machine names. `--machine all` measures
    on each class.
    """
    app.override(machine=machine, device=device)
    for text in bench:
        pattern(text)  # refused now, not by asv when it comes to it
    from nbbench.measure.asv_run import AsvChoice, chosen_commits, look_back, measure_commits
    from nbbench.measure.cluster import cluster_environment, spread_times
    from nbbench.measure.cluster_task import WorkOrder
    from nbbench.measure.process_env import measuring, server_environment
    from nbbench.record.branch import save_commits
    from nbbench.record.projects import machine_name
    from nbbench.record.refresh import import_all, open_store
    from nbbench.report.run_view import run_blocks, run_payload, run_plan_text
    from nbbench.subject.repository import open_subject

    if dask is None:
        server_environment()  # refused here where there is no GPU, and not by asv
    began, started = datetime.now(UTC), time.monotonic()
    commits = chosen_commits(open_subject(app.settings), span, named, limit, again=again)
    choice = AsvChoice(bench, again, quick, timeout)
    machines: Sequence[str | None] = [machine]
    with measuring(app.settings.state_dir), open_store(app.settings, importing=True) as store:
        here = "the cluster" if dask else machine_name(app.settings)
        in_order = named is not None or len(commits) <= 2
        app.say(run_plan_text(here, len(commits), again=again, in_order=in_order))
        save_commits(app.settings, store)
        try:
            if dask:
                sent, together = cluster_environment(app.settings), named is not None
                work = WorkOrder(sent, choice=choice, machine=machine or "", together=together)
                machines = spread_times(app.settings, dask, commits, work, app.say, app.detail)
            else:
                measure_commits(app.settings, commits, choice, show=app.say, detail=app.detail)
        finally:
            import_all(app.settings, store)
            save_commits(app.settings, store)
        occasions = []
        for name in machines:
            app.override(machine=name)
            occasions.append(look_back(app.settings, store, commits, bench, began))
    spent = time.monotonic() - started
    blocks: list[Block] = []
    told = []
    for one in occasions:
        notes = () if one.ran or one.tried or not one.results else (NOTHING_RAN,)
        blocks += run_blocks(one.results, commits, machine=one.machine, records=one.records, notes=notes)
        told.append(run_payload(one.results, one.records, one.machine, commits, spent))
    app.report("run", told[0] | ({"others": told[1:]} if told[1:] else {}), blocks)
    return EXIT_OK if all(one.measured for one in occasions) else EXIT_INCONCLUSIVE
