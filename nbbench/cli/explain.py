"""`nbbench explain BASE HEAD`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nbbench.cli.app import App
from nbbench.cli.options import pattern

if TYPE_CHECKING:
    from nbbench.analyse.ledger_diff import LedgerDiff


@click.command()
@click.argument("base", metavar="BASE|EVENT")
@click.argument("head", required=False)
@click.option(
    "--bench",
    metavar="REGEX",
    default="bandwidth-512-float32|bandwidth-1024-float32",
    show_default=True,
    help="Workloads to explain.",
)
@click.option(
    "--lines", type=click.IntRange(min=0), default=15, show_default=True, help="Lines shown a workload."
)
@click.pass_obj
def explain(app: App, base: str, head: str | None, bench: str, lines: int) -> int:
    """Show the exact difference of work between two commits (or of an event), line by line.

    Ledgers that are not there yet are recorded, which needs one small run a tree.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
    from nbbench.model import to_plain

    first, second = _ends(app, base, head)
    diffs, problems = _diffs(app, first, second, bench)
    text = "\n\n".join([_headline(first, second, diffs), *(_text(d, lines) for d in diffs), *problems])
    payload = {
        "base": to_plain(first),
        "head": to_plain(second),
        "diffs": to_plain(diffs),
        "problems": problems,
    }
    app.emit("explain", payload, text)
    return EXIT_OK if diffs else EXIT_INCONCLUSIVE


def _ends(app: App, base: str, head: str | None) -> tuple[Any, Any]:
    from nbbench.errors import UsageError
    from nbbench.pipeline.history import open_store, up_to_date
    from nbbench.subject.repository import describe, list_commits, open_subject

    subject = open_subject(app.settings)
    if head is not None:
        return describe(subject, base), describe(subject, head)
    with open_store(app.settings) as store:
        event = next((e for e in up_to_date(app.settings, store) if e.id == base), None)
    if event is None:
        raise UsageError(f"no event {base!r}", hint="give two commits, or an id of `nbbench regressions`")
    commits = list_commits(subject)
    place = next(i for i, c in enumerate(commits) if c.hash == event.lo_commit)
    return commits[max(place - 1, 0)], describe(subject, event.hi_commit)


def _diffs(app: App, base: Any, head: Any, bench: str) -> tuple[list[LedgerDiff], list[str]]:
    from nbbench.analyse.ledger_diff import diff_ledgers
    from nbbench.collect.ledgers import workload_ledgers

    wanted = pattern(bench)
    found = [workload_ledgers(app.settings, commit, wanted, say=app.say) for commit in (base, head)]
    diffs, problems = [], []
    for name in sorted(found[0].keys() & found[1].keys()):
        broken = next((f"{name}: {side[name].error}" for side in found if side[name].error), None)
        if broken:
            problems.append(broken)
        else:
            diffs.append(diff_ledgers(found[0][name], found[1][name]))
    return diffs, problems


def _headline(base: Any, head: Any, diffs: list[LedgerDiff]) -> str:
    from nbbench.units import format_change

    if not diffs:
        return f"{base.short} → {head.short}: nothing could be compared"
    most = max(diffs, key=lambda d: abs(d.effect))
    if all(d.equal for d in diffs):
        what = "the work is the same, to the byte"
    else:
        what = (
            f"{most.bytes_before:,.1f} → {most.bytes_after:,.1f} B/pixel ({format_change(most.effect)}) "
            f"and {most.ops_before:,} → {most.ops_after:,} operations in {most.workload}"
        )
    image = " The image changed: not like for like." if any(d.image == "changed" for d in diffs) else ""
    return f"{base.short} → {head.short}: {what}.{image}"


def _text(diff: LedgerDiff, limit: int) -> str:
    from nbbench.report.text import table

    lines = [
        f"{diff.workload}: {diff.bytes_before:,.2f} → {diff.bytes_after:,.2f} B/pixel, "
        f"{diff.ops_before:,} → {diff.ops_after:,} operations, peak live "
        f"{diff.peak_before / 2**20:,.1f} → {diff.peak_after / 2**20:,.1f} MiB, image: {diff.image}"
    ]
    rows = [
        [
            c.where,
            c.function,
            c.op,
            c.dtype,
            f"{c.count_before}→{c.count_after}",
            f"{c.before:,.1f}",
            f"{c.after:,.1f}",
            f"{c.delta:+,.1f}",
        ]
        for c in diff.lines[:limit]
    ]
    if rows:
        head = ["line", "function", "operation", "dtype", "calls", "before", "after", "B/pixel"]
        lines.append(table(head, rows, right=(4, 5, 6, 7)))
    if len(diff.lines) > limit:
        rest = sum(c.delta for c in diff.lines[limit:])
        lines.append(f"… and {len(diff.lines) - limit} more lines ({rest:+,.1f} B/pixel)")
    return "\n".join(lines)
