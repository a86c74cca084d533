"""`nbbench ledger COMMIT|RANGE`."""

import functools
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.cli.options import dask_option, markdown_option, pattern
from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, InconclusiveError, UsageError
from nbbench.ledger import Ledger
from nbbench.model import Commit

if TYPE_CHECKING:
    from nbbench.work.steps import WorkStep


@click.command()
@click.argument("span", metavar="[COMMIT|RANGE]", required=False)
@click.option(
    "--bench",
    metavar="REGEX",
    help="Workloads to record (default: range_workloads of the subject's profile).",
)
@click.option(
    "--by",
    type=click.Choice(["line", "function", "op", "dtype"]),
    default="line",
    show_default=True,
    help="What a row stands for.",
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows shown.")
@click.option(
    "--compiled",
    is_flag=True,
    help="What torch.compile makes of the workloads on the CPU: half a minute each, with a C++ compiler.",
)
@click.option("--scaling", is_flag=True, help="The laws by which exact work grows with size and parameters.")
@dask_option
@markdown_option
@click.pass_obj
def ledger(
    app: App,
    span: str | None,
    bench: str | None,
    by: str,
    top: int,
    compiled: bool,
    scaling: bool,
    dask: str | None,
    markdown: str | None,
) -> int:
    """Record the exact work of commits, which needs one small run a tree and no quiet machine.

    For a single COMMIT: where its bytes go, the line that ran when most were alive, and what a
    perfect fusion of the whole would move.

    With --scaling: exact polynomials in N of bytes, operations, peak and host steps, from small runs. Of a
    range they are recorded too, so that `regressions` finds what grows with another power than before.

    For a RANGE (A..B, or positions 21-245): the table of commits at which bytes per pixel or
    operations changed, with the command that reproduces each row.

    With --dask the workers of a cluster record what a range lacks, in any order.

    With --compiled: graphs, graph breaks and recompilations with their reasons and lines, kernels,
    and the bytes that these move.
    """
    from nbbench.record.branch import read_commits, subject_or_none
    from nbbench.report.ledger_view import ledger_blocks, plain_step, steps_blocks
    from nbbench.subject.profile import load_profile
    from nbbench.subject.repository import open_subject
    from nbbench.subject.selection import by_position, is_positions, select
    from nbbench.work.work import find_commit

    single = bool(span) and ".." not in str(span) and not is_positions(str(span))
    if compiled and not single:
        raise UsageError("--compiled is for a single commit", hint="give a COMMIT, not a range")
    if dask and single:
        raise UsageError("--dask is for a range: one commit takes seconds here")
    usual = bench or load_profile(app.settings).range_workloads
    if span and single:
        commit = find_commit(app.settings, span)
        if scaling:
            return _laws(app, commit, bench, markdown)
        if compiled:
            return _compiled(app, commit, usual, markdown)
        found = _recorded(app, commit, usual)
        blocks = ledger_blocks(commit, found, by=by, top=top)
        payload = {"commit": commit, "ledgers": list(found.values())}
        app.report("ledger", payload, blocks, markdown=markdown)
        return EXIT_OK if any(not one.error for one in found.values()) else EXIT_INCONCLUSIVE
    by_name = subject_or_none(app.settings) is None
    if (span is None or is_positions(span)) and by_name and (kept := read_commits(app.settings)):
        # A fresh clone: the committed list of commits and the committed ledgers are enough.
        commits = by_position(kept, span, app.settings.measured_path)
    else:
        commits = select(open_subject(app.settings), span)
    steps, workloads, any_recorded = _steps(app, commits, usual, scaling, dask)
    blocks = steps_blocks(len(commits), steps, workloads, by_name=by_name)
    payload = {"commits": len(commits), "steps": [plain_step(step) for step in steps]}
    app.report("ledger-steps", payload, blocks, markdown=markdown, version=2)
    return EXIT_OK if any_recorded else EXIT_INCONCLUSIVE


def _laws(app: App, commit: Commit, bench: str | None, markdown: str | None) -> int:
    from nbbench.report.exact_work import scaling_blocks, scaling_payload
    from nbbench.work.work import commit_laws

    found = commit_laws(app.settings, commit, pattern(bench) if bench else None, say=app.say)
    blocks = scaling_blocks(commit, found) or [f"No scale of {commit.short} is on record."]
    app.report("ledger-scaling", scaling_payload(commit, found), blocks, markdown=markdown)
    return EXIT_OK if any(not one.scaled.error for one in found) else EXIT_INCONCLUSIVE


def _recorded(app: App, commit: Commit, bench: str) -> dict[str, Ledger]:
    from nbbench.measure.ledgers import ledger_torch, workload_names
    from nbbench.work.work import found_ledgers

    torch = ledger_torch(app.settings, (commit,), app.say)
    found = found_ledgers(app.settings, commit, pattern(bench), app.say, torch)
    if not found:
        workload_names(app.settings, pattern(bench))  # refused where it fits no workload
        raise InconclusiveError(f"no such ledger of {commit.short} is on record", hint="register the subject")
    return found


def _compiled(app: App, commit: Commit, bench: str, markdown: str | None) -> int:
    from nbbench.measure.counts import workload_compiled
    from nbbench.measure.ledgers import workload_names
    from nbbench.measure.process_env import torch_version
    from nbbench.report.exact_work import compiled_blocks, compiled_payload

    names = workload_names(app.settings, pattern(bench))
    found = workload_compiled(app.settings, commit, names, app.say)
    if not found:
        said = f"no compiled work of {commit.short} is on record"
        raise InconclusiveError(said, hint="register the subject")
    torch = torch_version()
    blocks = compiled_blocks(commit, found, torch)
    app.report("compiled", compiled_payload(commit, found, torch), blocks, markdown=markdown)
    return EXIT_OK if any(not one.error for one in found.values()) else EXIT_INCONCLUSIVE


def _steps(
    app: App, commits: list[Commit], bench: str, scaling: bool, dask: str | None
) -> "tuple[list[WorkStep], list[str], bool]":
    """The steps of a range (what is missing is recorded), the workloads, and whether any ledger is there."""
    from nbbench.measure.cluster import spread_ledgers
    from nbbench.measure.ledgers import HOST, commit_ledgers, ensure_work, known_work, workload_names
    from nbbench.probe.resources import usable_cores
    from nbbench.record.branch import branch_commits, subject_or_none
    from nbbench.record.workers import MOST_JOBS
    from nbbench.subject.profile import load_profile
    from nbbench.subject.repository import list_commits
    from nbbench.subject.selection import with_predecessor
    from nbbench.work.steps import find_steps
    from nbbench.work.work import commit_scales, line_match, recorded_again

    wanted = workload_names(app.settings, pattern(bench))
    subject = subject_or_none(app.settings)
    if subject is not None and not commits[0].position:  # of another branch, which has its own order
        history = list_commits(subject, commits[0].hash)
    else:
        history = branch_commits(app.settings)
    compared = with_predecessor(commits, history)
    if dask:
        spread_ledgers(app.settings, dask, compared, wanted, app.say, app.detail)
    jobs = min(usable_cores(), MOST_JOBS)
    kept = commit_ledgers(app.settings, compared, wanted, say=app.say, jobs=jobs)
    if subject is not None:
        ensure_work(app.settings, HOST, compared, wanted, say=app.say)  # no step here, but events find it
        sides = [(kept[c.tree], known_work(app.settings, c).host) for c in compared]
        if recorded_again(app.settings, compared, sides, app.say):
            kept = commit_ledgers(app.settings, compared, wanted, say=app.say, jobs=jobs)
    if scaling:
        commit_scales(app.settings, compared, None, "", say=app.say)
    found = [(c, {n: kept[c.tree][n] for n in wanted if n in kept[c.tree]}) for c in compared]
    match_of = functools.cache(functools.partial(line_match, app.settings))
    steps = find_steps(found, match_of, load_profile(app.settings).image)
    steps = [step for step in steps if step.commit in commits]
    return steps, wanted, any(ledgers for _, ledgers in found)
