"""`nbbench gate BASE HEAD`."""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.cli.options import exactly, in_a_folder, pattern, seconds

if TYPE_CHECKING:
    from nbbench.gate.acknowledged import Acknowledged
    from nbbench.gate.session import SeriesState
    from nbbench.measure.paired import PairedRunner
    from nbbench.model import Commit, GateReport
    from nbbench.work.ledger_diff import LedgerDiff


@click.command()
@click.argument("base", required=False)
@click.argument("head", required=False)
@click.option("--bench", metavar="REGEX", help="Timed series (asv names; default: the setting gate_bench).")
@click.option("--budget", metavar="TIME", help="Time for measuring: 90s, 5m (default: 5m).")
@click.option("--floor", metavar="PERCENT", help="A change below this never blocks: 1% (default).")
@click.option(
    "--policy",
    type=click.Choice(["both", "ledger", "time"]),
    default="both",
    show_default=True,
    help="What decides: exact work first and then time, exact work alone, or time alone.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Run BASE (default: the branch's tip) against itself and keep this machine's noise.",
)
@click.option("--seed", type=int, help="Seed of the random order (recorded in the report).")
@click.option(
    "--markdown",
    metavar="FILE",
    callback=in_a_folder,
    help="Write the report as Markdown too ('-' prints it instead).",
)
@click.option("--junit", metavar="FILE", callback=in_a_folder, help="Write the report as JUnit XML too.")
@click.pass_obj
def gate(
    app: App,
    base: str | None,
    head: str | None,
    bench: str | None,
    budget: str | None,
    floor: str | None,
    policy: str,
    calibrate: bool,
    seed: int | None,
    markdown: str | None,
    junit: str | None,
) -> int:
    """Decide whether HEAD is slower than BASE (default: the branch's tip against the commit before).

    Equal trees pass at once. A difference of exact work decides first and names the lines;
    then base and head run in interleaved fresh processes until every series is decided or the
    budget is spent. A loss blocks when it lies beyond the floor for certain and fresh processes
    confirm it; "unchanged" is shown, not assumed. Losses that were acknowledged (`nbbench flag`)
    do not block until they grow or the acknowledgement expires.
    Exit 0 pass, 3 regression, 4 cannot tell.
    """
    from nbbench.gate.gate import EXIT_BY_OUTCOME, same_tree_report

    app.override(floor=floor, budget_s=seconds(budget))
    timed = bench or app.settings.gate_bench
    pattern(timed, "--bench" if bench else "the setting gate_bench")  # refused before anything is measured
    chosen_seed = secrets.randbelow(2**31) if seed is None else seed
    if calibrate:
        return _calibrate(app, base, head, timed, chosen_seed)
    first, second = _ends(app, base, head)
    if first.tree == second.tree:
        report = same_tree_report(first, second)
    else:
        report = _measure(app, first, second, timed, policy, chosen_seed)
    _print(app, report, markdown, junit)
    return EXIT_BY_OUTCOME[report.outcome]


def _ends(app: App, base: str | None, head: str | None) -> tuple[Commit, Commit]:
    from nbbench.errors import UsageError
    from nbbench.subject.repository import list_commits, measurable, open_subject

    subject = open_subject(app.settings)
    tip = measurable(subject, head or subject.branch)
    if base is not None:
        return measurable(subject, base), tip
    commits = list_commits(subject)
    if len(commits) < 2:
        raise UsageError("the branch has no two commits to compare", hint="give BASE and HEAD")
    return commits[-2], tip


def _measure(app: App, base: Commit, head: Commit, bench: str, policy: str, seed: int) -> GateReport:
    from nbbench.gate.gate import LEDGER_TOLERANCE, build_report, ledger_verdict
    from nbbench.measure.lock import measuring
    from nbbench.measure.paired import paired_runner
    from nbbench.model import Outcome

    started = time.monotonic()
    notes: list[str] = []
    states: list[SeriesState] = []
    with measuring(app.settings.state_dir), paired_runner(app.settings, base, head, seed) as runner:
        diffs, broken = ([], {}) if policy == "time" else _diffs(app, runner, base, head)
        exact = [ledger_verdict(diff).outcome for diff in diffs]
        if Outcome.REGRESSED in exact and policy != "time":
            notes.append(f"exact work decides beyond {LEDGER_TOLERANCE:.0%}; time was not measured")
        elif policy != "ledger" and not broken:
            states = _rounds(app, runner, bench, started, notes)
    lost = Outcome.REGRESSED in exact or any(state.confirmed for state in states)
    return build_report(
        base,
        head,
        diffs,
        states,
        broken=broken,
        acknowledged=_acknowledged(app, base, head) if lost else (),
        notes=notes,
        seed=seed,
        elapsed_s=time.monotonic() - started,
    )


def _acknowledged(app: App, base: Commit, head: Commit) -> list[Acknowledged]:
    """Accepted losses between base and head, from everything under results/ (the database follows it)."""
    from nbbench.errors import InconclusiveError
    from nbbench.gate.acknowledged import acknowledged_between
    from nbbench.history.flags import attach_flags
    from nbbench.history.history import up_to_date
    from nbbench.record.branch import branch_commits
    from nbbench.record.decisions import read_decisions
    from nbbench.record.refresh import open_store

    decisions = read_decisions(app.settings.decisions_dir)
    if not decisions:
        return []
    commits = branch_commits(app.settings)
    with open_store(app.settings) as store:
        try:
            events = up_to_date(app.settings, store)
        except InconclusiveError:  # no results, so no events that could have been accepted
            return []
    flags = attach_flags(events, decisions, app.settings.plan, commits)
    return acknowledged_between(flags, commits, base, head, datetime.now(UTC))


def _diffs(
    app: App, runner: PairedRunner, base: Commit, head: Commit
) -> tuple[list[LedgerDiff], dict[str, str]]:
    """Exact differences by workload, and the workloads that run at base but not at head, with why."""
    from nbbench.measure.ledgers import workload_ledgers
    from nbbench.subject.profile import load_profile
    from nbbench.work.ledger_diff import diff_ledgers

    pattern = re.compile(load_profile(app.settings).gate_workloads)
    sides = [
        workload_ledgers(app.settings, commit, pattern, say=app.say, server=runner.server)
        for commit in (base, head)
    ]
    diffs, broken = [], {}
    for name in sorted(sides[0].keys() & sides[1].keys()):
        before, after = (side[name] for side in sides)
        if after.error and not before.error:
            broken[name] = after.error
        elif not before.error and not after.error:
            diffs.append(diff_ledgers(before, after))
    return diffs, broken


def _rounds(
    app: App, runner: PairedRunner, bench: str, started: float, notes: list[str]
) -> list[SeriesState]:
    """Measure rounds until every series is settled or the budget is spent."""
    import math

    from nbbench.gate.calibrate import known_noise
    from nbbench.gate.rounds import run_rounds
    from nbbench.gate.session import GateSession, SeriesState

    settings = app.settings
    series = runner.discover(bench)
    noise, warning = known_noise(settings, datetime.now(UTC))
    policy = math.log1p(settings.floor)
    states = []
    for item in series:
        known = noise.get(item.label)
        state = SeriesState(item.label, max(policy, known.floor if known else 0.0))
        state.reproduce = f"nbbench gate --policy time --bench {exactly(item.label)} {runner.ends}"
        states.append(state)
    app.say(f"timing {len(series)} series")
    tally = run_rounds(
        runner,
        series,
        GateSession(states, settings.alpha),
        coefficients={label: found.canary for label, found in noise.items()},
        deadline=started + settings.budget_s,
        say=app.say,
    )
    if tally.pairs:
        notes.append(tally.sentence)
    if warning:
        app.say(f"warning: {warning}")
        notes.append(warning)
    if noise and (unknown := [s.label for s in states if s.label not in noise]):
        notes.append(f"{len(unknown)} series are not in the calibration: {unknown[0]} …")
    return states


def _calibrate(app: App, base: str | None, head: str | None, bench: str, seed: int) -> int:
    """Run one tree against itself and print what was learned."""
    from nbbench.errors import EXIT_OK, UsageError
    from nbbench.gate.calibrate import calibrate
    from nbbench.measure.lock import measuring
    from nbbench.measure.paired import paired_runner
    from nbbench.model import to_plain
    from nbbench.report.calibration import calibration_text
    from nbbench.subject.repository import measurable, open_subject

    if head is not None:
        raise UsageError("--calibrate takes one commit, which runs against itself")
    subject = open_subject(app.settings)
    commit = measurable(subject, base or subject.branch)
    deadline = time.monotonic() + app.settings.budget_s
    with measuring(app.settings.state_dir), paired_runner(app.settings, commit, commit, seed) as runner:
        series = runner.discover(bench)
        app.say(f"calibrating {len(series)} series on {commit.short} against itself")
        found, tally = calibrate(app.settings, runner, commit, series, deadline, app.say)
    rows = [
        (
            label,
            one.rounds,
            one.sigma,
            max(one.floor, app.settings.floor),
            (one.plain, one.corrected),
            bool(one.canary),
        )
        for label, one in found.series.items()
    ]
    app.emit(
        "calibration",
        {"calibration": to_plain(found), "note": tally.sentence},
        calibration_text(rows, tally.sentence),
    )
    return EXIT_OK


def _print(app: App, report: GateReport, markdown: str | None, junit: str | None) -> None:
    from nbbench.cli.pages import emit_blocks
    from nbbench.record.atomic import write_text
    from nbbench.report.gate import gate_blocks
    from nbbench.report.junit import gate_junit

    if junit:
        write_text(Path(junit), gate_junit(report))
    emit_blocks(app, "gate", report, gate_blocks(report), markdown, for_github=True)
