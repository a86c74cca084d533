"""`nbbench run [RANGE]`."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import click

from nbbench.cli.app import App
from nbbench.cli.options import pattern, seconds


@click.command()
@click.argument("span", metavar="[RANGE]", required=False)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Measure at most N commits.")
@click.option("--bench", multiple=True, metavar="REGEX", help="Only benchmarks whose name matches.")
@click.option("--commits", "named", metavar="HASH,…", help="Measure just these commits.")
@click.option("--machine", metavar="NAME", help="Name of this machine in the results.")
@click.option("--again", is_flag=True, help="Measure again and append the samples (a second collection).")
@click.option(
    "--adaptive", is_flag=True, help="Choose commits by what was found: coarse first, then changes."
)
@click.option("--budget", metavar="TIME", help="With --adaptive: stop after 90s, 20m, 2h (default: none).")
@click.option("--quick", is_flag=True, help="One sample each: finds broken benchmarks, not regressions.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Watchdog of each benchmark process (seconds).",
)
@click.pass_obj
def run(
    app: App,
    span: str | None,
    limit: int | None,
    bench: tuple[str, ...],
    named: str | None,
    machine: str | None,
    again: bool,
    adaptive: bool,
    budget: str | None,
    quick: bool,
    timeout: float | None,
) -> int:
    """Measure commits with asv, newest first and then all over the range, then import.

    RANGE is a git range (A..B) or positions (21-245); the default is the whole branch. What is
    measured already is skipped, so an interrupted run resumes when it is repeated. A commit
    that cannot run is recorded as broken, with the reason. Neighbours are measured far apart
    in time (in an order drawn anew each run), so that a slow quarter of an hour is noise and
    no step.

    With --adaptive the exact work of every tree is recorded first (it needs no quiet machine);
    then one tree a stretch of equal work is timed, and what the work does not explain is
    bisected, until each change is located to one commit (exit 0) or the budget is spent with
    suspicions left (exit 4).
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
    from nbbench.measure.asv_run import measure_commits
    from nbbench.measure.lock import measuring
    from nbbench.record.branch import save_commits
    from nbbench.record.refresh import import_all, open_store

    app.override(machine=machine)
    for text in bench:
        pattern(text)  # refused now, not by asv when it comes to it
    if adaptive:
        _refuse_with_adaptive(named=named, again=again, quick=quick, timeout=timeout)
        return _adaptive(app, span, bench, budget, limit)
    if budget is not None:
        raise UsageError("--budget belongs to --adaptive; --limit N measures N commits")
    commits = _chosen(app, span, named, limit, again=again)
    way = "in a drawn order" if again else "newest first, then all over the range"
    order = "" if named or len(commits) <= 2 else f"{way}; "
    app.say(f"measuring {len(commits)} commits, {order}interrupt at any time, repeat to resume")
    started = time.monotonic()
    with measuring(app.settings.state_dir), open_store(app.settings) as store:
        save_commits(app.settings)
        try:
            measure_commits(
                app.settings,
                commits,
                bench=bench,
                again=again,
                quick=quick,
                timeout_s=timeout,
                show=app.say,
                detail=app.say if app.verbose else lambda line: None,
            )
        finally:
            import_all(app.settings, store)
        told = _report(store, [c.hash for c in commits], commits, time.monotonic() - started)
    app.emit("run", told["payload"], told["text"])
    return EXIT_OK if told["measured"] else EXIT_INCONCLUSIVE


def _refuse_with_adaptive(**given: Any) -> None:
    from nbbench.errors import UsageError

    for name, value in given.items():
        if value:
            raise UsageError(f"--{'commits' if name == 'named' else name} has no meaning with --adaptive")


def _adaptive(
    app: App, span: str | None, bench: tuple[str, ...], budget: str | None, limit: int | None
) -> int:
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
    from nbbench.history.adaptive import Search, search
    from nbbench.measure.lock import measuring
    from nbbench.record.branch import save_commits
    from nbbench.record.refresh import open_store
    from nbbench.report.adaptive import adaptive_payload, adaptive_text
    from nbbench.subject.repository import open_subject
    from nbbench.subject.selection import select

    commits = select(open_subject(app.settings), span)
    if not commits:
        raise UsageError(f"no commit in {span or 'the branch'} changed {app.settings.measured_path}")
    asked = Search(tuple(commits), bench, seconds(budget) or float("inf"), limit or len(commits))
    with measuring(app.settings.state_dir), open_store(app.settings) as store:
        save_commits(app.settings)
        found = search(
            app.settings,
            store,
            asked,
            show=app.say,
            detail=app.say if app.verbose else lambda line: None,
        )
    payload = adaptive_payload(found.commits, found.plan, found.timed, found.broken, found.stopped)
    app.emit("run-adaptive", payload, adaptive_text(payload))
    return EXIT_OK if found.timed and not found.open else EXIT_INCONCLUSIVE


def _chosen(app: App, span: str | None, named: str | None, limit: int | None, *, again: bool) -> list[Any]:
    from nbbench.errors import UsageError
    from nbbench.subject.repository import describe, open_subject
    from nbbench.subject.selection import select, spread

    subject = open_subject(app.settings)
    if named is not None:
        if span is not None:
            raise UsageError("give a RANGE or --commits, not both")
        found = [describe(subject, name.strip()) for name in named.split(",") if name.strip()]
        if not found:
            raise UsageError("--commits names no commit")
        placed = {c.hash: c for c in select(subject, None)}
        return list(dict.fromkeys(placed.get(c.hash, c) for c in found))[:limit]
    commits = select(subject, span)
    if not commits:
        raise UsageError(f"no commit in {span or 'the branch'} changed {app.settings.measured_path}")
    # the same N when it is repeated, in another order
    kept = {c.hash for c in spread(commits)[:limit]}
    commits, lots = [c for c in commits if c.hash in kept], Random()  # noqa: S311 -- no secret
    # spread, a machine that is slow at first would meet the same commits in both collections
    return lots.sample(commits, len(commits)) if again else spread(commits, lots)


def _report(store: Any, hashes: list[str], commits: list[Any], elapsed_s: float) -> dict[str, Any]:
    """What became of the asked commits: figures, failures with their reasons, disturbances."""
    from nbbench.cli.terminal import terminal
    from nbbench.model import Status
    from nbbench.report.run import disturbances, failures, run_blocks
    from nbbench.report.text import as_text

    results = [r for h in hashes for r in store.results(commit=h)]
    records = [r for h in hashes for r in store.process_records(commit=h)]
    payload = {
        "commits": [{"hash": c.hash, "position": c.position, **_counts(results, c.hash)} for c in commits],
        "failures": [
            {"commit": commit, "what": what, "error": error}
            for commit, what, error in failures(results, records)
        ],
        "disturbances": disturbances(records),
        "elapsed_s": elapsed_s,
    }
    measured = sum(r.status is Status.OK for r in results)
    return {
        "payload": payload,
        "text": as_text(run_blocks(results, records=records, commits=commits), terminal()),
        "measured": measured,
    }


def _counts(results: list[Any], commit: str) -> dict[str, int]:
    mine = [r.status for r in results if r.commit == commit]
    return {status: mine.count(status) for status in ("ok", "failed", "skipped")}
