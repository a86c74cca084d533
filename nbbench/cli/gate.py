"""`nbbench gate BASE HEAD`."""

import secrets
from dataclasses import replace
from pathlib import Path

import click

from nbbench.cli.app import App
from nbbench.cli.options import in_a_folder, markdown_option, pattern
from nbbench.errors import EXIT_OK, UsageError


@click.command()
@click.argument("base", required=False)
@click.argument("head", required=False)
@click.option(
    "--bench", metavar="REGEX", help="Series to measure (asv names; default: the setting gate_bench)."
)
@click.option("--budget", metavar="TIME", help="Time for measuring: 90s, 5m (default: 5m).")
@click.option("--floor", metavar="PERCENT", help="A change below this never blocks: 1% (default).")
@click.option(
    "--policy",
    type=click.Choice(["both", "work", "ledger", "time"]),
    help="What decides: exact work first and then time (default), exact work alone (ledger: the same; "
    "default with --worktree), or time alone.",
)
@click.option(
    "--plan",
    "plan_id",
    metavar="ITEM",
    help="Judge a plan's workloads, too, and that no met criterion is lost.",
)
@click.option("--worktree", is_flag=True, help="HEAD is what lies in the registered work tree, uncommitted.")
@click.option(
    "--accept-image", is_flag=True, help="Another image than at BASE is right: judge HEAD all the same."
)
@click.option(
    "--reviewed", is_flag=True, help="A person read the diff: lines that could deceive the counts are right."
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Run BASE (default: the branch's tip) against itself and keep this machine's noise.",
)
@click.option("--seed", type=int, help="Seed of the random order (recorded in the report).")
@click.option("--junit", metavar="FILE", callback=in_a_folder, help="Write the report as JUnit XML too.")
@markdown_option
@click.pass_obj
def gate(
    app: App,
    base: str | None,
    head: str | None,
    bench: str | None,
    budget: str | None,
    floor: str | None,
    policy: str | None,
    plan_id: str | None,
    worktree: bool,
    accept_image: bool,
    reviewed: bool,
    calibrate: bool,
    seed: int | None,
    junit: str | None,
    markdown: str | None,
) -> int:
    """Decide whether HEAD is slower than BASE (default: the branch's tip against the commit before).

    Equal trees, and trees in which only comments, docstrings or formatting differ, pass at once. Exact work
    decides first and names the lines: traffic, operations and peak memory of tensors, and in each phase
    Python's own steps, imports, output and memory. Then base and head run in interleaved fresh processes
    until every series is decided or the budget is spent. A regression blocks when it lies beyond the floor
    for certain and fresh processes confirm it; "unchanged" is shown, not assumed. A program that computes
    another image is not comparable, until somebody says that the new image is right. Regressions that were
    acknowledged (`nbbench flag`) do not block until they grow or the acknowledgement expires. Exit 0 pass,
    3 regression, 4 cannot tell, not judged or not comparable; under --policy work or time the code speaks of
    what that policy judges, and the rest is listed as not judged. docs/gate.md has the default set.

    With --plan a criterion that this machine saw met up to BASE, and that is missed at HEAD, is a regression;
    one of which nobody knows makes it 4. With --worktree BASE is HEAD by default; the clone is only read.
    """
    from nbbench.gate.judge import EXIT_BY_OUTCOME
    from nbbench.gate.run import Asked, gate_ends, run_gate
    from nbbench.model import EvidenceRecord
    from nbbench.record.atomic import write_text
    from nbbench.report.gate import gate_blocks, gate_junit, gate_payload

    app.override(floor=floor, budget_s=budget)
    chosen = bench or app.settings.gate_bench
    pattern(chosen, "--bench" if bench else "the setting gate_bench")  # refused before anything is measured
    if seed is None:
        seed = secrets.randbelow(2**31)
    if calibrate and (plan_id or worktree or head is not None):
        raise UsageError("--calibrate takes one commit, which runs against itself")
    if calibrate:
        return _calibrate(app, base, chosen, seed)
    if worktree and head is not None:
        raise UsageError("--worktree stands for HEAD: give BASE alone")
    ends = gate_ends(app.settings, base, head, worktree=worktree)
    policy = "work" if policy == "ledger" else policy or ("work" if worktree else "both")
    asked = Asked(*ends, chosen, policy, seed, accept_image, reviewed)
    if plan_id is None:
        report = run_gate(app.settings, asked, app.say)
    else:
        from nbbench.plan.gated import gate_plan
        from nbbench.plan.plans import find_plan

        report = gate_plan(app.settings, find_plan(app.settings, plan_id), asked, app.say)
    if worktree:
        said = EvidenceRecord("work tree", {"tree": asked.head.tree})
        report = replace(report, notes=(*report.notes, said))
    if junit:
        write_text(Path(junit), gate_junit(report))
    app.report("gate", gate_payload(report), gate_blocks(report), markdown=markdown)
    return EXIT_BY_OUTCOME[report.outcome]


def _calibrate(app: App, base: str | None, bench: str, seed: int) -> int:
    from nbbench.gate.calibration import calibrate
    from nbbench.report.causes import evidence_text
    from nbbench.report.run_view import calibration_blocks
    from nbbench.subject.repository import measurable, open_subject

    commit = measurable(open_subject(app.settings), base)
    found, disturbed = calibrate(app.settings, commit, bench, seed, app.say)
    note = evidence_text([disturbed])
    blocks = calibration_blocks(found.series, app.settings.floor, note)
    app.report("calibration", {"calibration": found, "note": note}, blocks)
    return EXIT_OK
