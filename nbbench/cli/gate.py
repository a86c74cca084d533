"""`nbbench gate BASE HEAD`."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbbench.cli.app import App

if TYPE_CHECKING:
    from nbbench.analyse.gate import SeriesState
    from nbbench.analyse.ledger_diff import LedgerDiff
    from nbbench.collect.paired import PairedRunner
    from nbbench.model import Commit, GateReport

LEDGER_WORKLOADS = (
    r"bandwidth-(512|1024)-float(32|64)|tricubic-1000-float32|sources-3969|multi_source-3|oversample-2"
)
_RETRIES = 2  # how often a contended pair is measured again


@click.command()
@click.argument("base", required=False)
@click.argument("head", required=False)
@click.option("--bench", metavar="REGEX", help="Timed series (asv names; default: the setting gate_bench).")
@click.option("--budget", metavar="TIME", help="Time for measuring: 90s, 5m (default: 5m).")
@click.option("--floor", metavar="PERCENT", help="Smallest change that matters: 3% (default).")
@click.option(
    "--policy",
    type=click.Choice(["both", "ledger", "time"]),
    default="both",
    show_default=True,
    help="What decides: exact work first and then time, exact work alone, or time alone.",
)
@click.option("--seed", type=int, help="Seed of the random order (recorded in the report).")
@click.option("--markdown", metavar="FILE", help="Write the report as Markdown too ('-' prints it instead).")
@click.option("--junit", metavar="FILE", help="Write the report as JUnit XML too.")
@click.pass_obj
def gate(
    app: App,
    base: str | None,
    head: str | None,
    bench: str | None,
    budget: str | None,
    floor: str | None,
    policy: str,
    seed: int | None,
    markdown: str | None,
    junit: str | None,
) -> int:
    """Decide whether HEAD is slower than BASE (default: the branch's tip against the commit before).

    Equal trees pass at once. A difference of exact work decides first and names the lines;
    then base and head run in interleaved fresh processes until every series is decided or the
    budget is spent. Exit 0 pass, 3 regression, 4 cannot tell.
    """
    from nbbench.analyse.gate import EXIT_BY_OUTCOME, same_tree_report

    app.override(floor=floor, budget_s=_seconds(budget))
    first, second = _ends(app, base, head)
    chosen_seed = secrets.randbelow(2**31) if seed is None else seed
    if first.tree == second.tree:
        report = same_tree_report(first, second)
    else:
        report = _measure(app, first, second, bench or app.settings.gate_bench, policy, chosen_seed)
    _print(app, report, markdown, junit)
    return EXIT_BY_OUTCOME[report.outcome]


def _seconds(text: str | None) -> float | None:
    from nbbench.errors import UsageError

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--budget takes a time such as 90s or 5m, got {text!r}")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def _ends(app: App, base: str | None, head: str | None) -> tuple[Commit, Commit]:
    from nbbench.errors import UsageError
    from nbbench.subject.repository import describe, list_commits, open_subject

    subject = open_subject(app.settings)
    if base is not None and head is not None:
        found = describe(subject, base), describe(subject, head)
    else:
        commits = list_commits(subject)
        tip = describe(subject, head or subject.branch)
        if base is None and len(commits) < 2:
            raise UsageError("the branch has no two commits to compare")
        found = (describe(subject, base) if base else commits[-2]), tip
    for commit in found:
        if not commit.tree:
            raise UsageError(f"commit {commit.short} has no {app.settings.measured_path}")
    return found


def _measure(app: App, base: Commit, head: Commit, bench: str, policy: str, seed: int) -> GateReport:
    from nbbench.analyse.gate import LEDGER_TOLERANCE, build_report, ledger_verdict
    from nbbench.collect.lock import measuring
    from nbbench.collect.paired import paired_runner
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
    return build_report(
        base, head, diffs, states, broken=broken, notes=notes, seed=seed, elapsed_s=time.monotonic() - started
    )


def _diffs(
    app: App, runner: PairedRunner, base: Commit, head: Commit
) -> tuple[list[LedgerDiff], dict[str, str]]:
    """Exact differences by workload, and the workloads that run at base but not at head, with why."""
    from nbbench.analyse.ledger_diff import diff_ledgers
    from nbbench.collect.ledgers import workload_ledgers

    pattern = re.compile(LEDGER_WORKLOADS)
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
    from nbbench.analyse.gate import MAX_ROUNDS, SeriesState, corrected_alpha, rounds_needed

    settings = app.settings
    series = runner.discover(bench)
    floors = _floors(app)
    alpha = corrected_alpha(settings.alpha, len(series))
    states = {s: SeriesState(s.label, max(settings.floor, floors.get(s.label, 0.0))) for s in series}
    for item, state in states.items():
        state.reproduce = f"nbbench gate --policy time --bench '{re.escape(item.label)}' {runner.ends}"
    app.say(f"timing {len(series)} series, at least {rounds_needed(settings.alpha, len(series))} rounds")
    pairs = contended = 0
    for turn in range(1, MAX_ROUNDS + 1):
        todo = [s for s in series if not states[s].settled]
        if not todo or time.monotonic() - started > settings.budget_s:
            break
        measured = dict(runner.measure(todo))
        for _ in range(_RETRIES):
            spoilt = [s for s, pair in measured.items() if pair.contended]
            if not spoilt or time.monotonic() - started > settings.budget_s:
                break
            contended += len(spoilt)
            pairs += len(spoilt)
            measured |= runner.measure(spoilt)
        pairs += len(measured)
        for item, pair in measured.items():
            states[item].errors += [side.error for side in (pair.base, pair.head) if side.error]
            states[item].base_s += [pair.base.seconds] if pair.base.seconds else []
            states[item].head_s += [pair.head.seconds] if pair.head.seconds else []
            states[item].add(pair.log_ratio, alpha)
        settled = sum(s.settled for s in states.values())
        spent = time.monotonic() - started
        app.say(f"round {turn}: {settled}/{len(series)} settled, {spent:.0f} of {settings.budget_s:.0f} s")
    if pairs:
        notes.append(f"{contended} of {pairs} pairs were disturbed by others and measured again")
    if not floors:
        notes.append("no A/A noise is on record for this machine: floors are the policy's alone")
    return list(states.values())


def _floors(app: App) -> dict[str, float]:
    """Noise floors of this machine by asv name, from the database."""
    from nbbench.pipeline.history import open_store

    with open_store(app.settings) as store:
        known: dict[Any, Any] = store.noise_floors()
    return {
        f"{key.benchmark}({', '.join(value for _, value in key.params)})": found.floor
        for key, found in known.items()
    }


def _print(app: App, report: GateReport, markdown: str | None, junit: str | None) -> None:
    from nbbench.cli.terminal import terminal
    from nbbench.report.atomic import write_text
    from nbbench.report.json_out import gate_document
    from nbbench.report.junit import gate_junit
    from nbbench.report.markdown import gate_markdown
    from nbbench.report.text import gate_text
    from nbbench.report.view import gate_view

    view = gate_view(report)
    if junit:
        write_text(Path(junit), gate_junit(view))
    if markdown and markdown != "-":
        write_text(Path(markdown), gate_markdown(view))
    if app.json:
        click.echo(gate_document(report), nl=False)
    elif markdown == "-":
        click.echo(gate_markdown(view), nl=False)
    else:
        click.echo(gate_text(view, terminal()), nl=False)
