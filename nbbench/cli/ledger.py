"""`nbbench ledger COMMIT|RANGE`."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.cli.options import pattern

if TYPE_CHECKING:
    from nbbench.model import Commit, Ledger


@click.command()
@click.argument("span", metavar="[COMMIT|RANGE]", required=False)
@click.option(
    "--bench",
    metavar="REGEX",
    default="bandwidth-512-float(32|64)",
    show_default=True,
    help="Workloads to record.",
)
@click.option(
    "--by",
    type=click.Choice(["line", "function", "op", "dtype"]),
    default="line",
    show_default=True,
    help="What a row stands for.",
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows shown.")
@click.option("--markdown", is_flag=True, help="The table of steps as Markdown.")
@click.pass_obj
def ledger(app: App, span: str | None, bench: str, by: str, top: int, markdown: bool) -> int:
    """Record the exact work of commits, which needs one small run a tree and no quiet machine.

    For a single COMMIT: where its bytes go. For a RANGE (A..B, or positions 21-245): the table
    of commits at which bytes per pixel or operations changed.
    """
    from nbbench.pipeline.branch import read_commits, subject_or_none
    from nbbench.subject.repository import describe, open_subject
    from nbbench.subject.selection import by_position, is_positions, select

    if span and ".." not in span and not is_positions(span):
        return _one(app, describe(open_subject(app.settings), span), bench, by, top)
    if (span is None or is_positions(span)) and subject_or_none(app.settings) is None:
        # A fresh clone: the committed list of commits and the committed ledgers are enough.
        return _range(app, by_position(read_commits(app.settings), span), bench, markdown)
    return _range(app, select(open_subject(app.settings), span), bench, markdown)


def _one(app: App, commit: Commit, bench: str, by: str, top: int) -> int:
    from nbbench.collect.ledgers import workload_ledgers
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
    from nbbench.model import to_plain
    from nbbench.report.text import table

    found = workload_ledgers(app.settings, commit, pattern(bench), say=app.say)
    blocks = []
    for name, one in found.items():
        if one.error:
            blocks.append(f"{name}: {one.error}")
            continue
        rows = _grouped(one, by)[:top]
        head = [by, "calls", "B/pixel", "share"]
        cells = [
            [what, f"{count:,}", f"{size / one.pixels:,.2f}", f"{size / one.bytes:.1%}"]
            for what, count, size in rows
        ]
        blocks.append(
            f"{name} at {commit.short}: {one.bytes_per_pixel:,.2f} B/pixel, {one.ops:,} operations "
            f"({one.dispatched:,} dispatched), peak live {one.peak_live_bytes / 2**20:,.1f} MiB, "
            f"{one.upcast_bytes / one.pixels:,.2f} B/pixel upcast\n{table(head, cells, right=(1, 2, 3))}"
        )
    app.emit(
        "ledger", {"commit": to_plain(commit), "ledgers": to_plain(list(found.values()))}, "\n\n".join(blocks)
    )
    return EXIT_OK if any(not one.error for one in found.values()) else EXIT_INCONCLUSIVE


def _grouped(one: Ledger, by: str) -> list[tuple[str, int, int]]:
    """(what, calls, bytes), largest first."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in one.lines:
        place = f"{line.path}:{line.line} {line.function}" if line.path else "(benchmark)"
        key = {"line": place, "function": line.function or "(benchmark)", "op": line.op, "dtype": line.dtype}[
            by
        ]
        sums[key][0] += line.count
        sums[key][1] += line.bytes
    return sorted(((k, c, b) for k, (c, b) in sums.items()), key=lambda row: (-row[2], row[0]))


def _range(app: App, commits: list[Commit], bench: str, markdown: bool) -> int:
    """Record the trees whose ledgers are missing with one warm server, then print the steps."""
    from nbbench.collect.ledgers import known_ledgers, workload_names
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError

    if not commits:
        raise UsageError(f"no commit in the range changed {app.settings.measured_path}")
    wanted = workload_names(app.settings, pattern(bench))
    kept = {c.tree: known_ledgers(app.settings, c) for c in commits}
    missing = [c for c in commits if not all(name in kept[c.tree] for name in wanted)]
    if missing:
        kept |= _record(app, missing, wanted)
    found = [(c, {n: kept[c.tree][n] for n in wanted if n in kept[c.tree]}) for c in commits]
    rows = _steps(found)
    text = _steps_text(len(commits), rows, markdown)
    app.emit("ledger-steps", {"commits": len(commits), "steps": rows}, text)
    return EXIT_OK if any(ledgers for _, ledgers in found) else EXIT_INCONCLUSIVE


def _record(app: App, commits: list[Commit], wanted: list[str]) -> dict[str, Mapping[str, Ledger]]:
    from nbbench.collect.ledgers import record_ledgers
    from nbbench.errors import NbbenchError
    from nbbench.probe.resources import PINNED_ENVIRONMENT
    from nbbench.warm import client

    made: dict[str, Mapping[str, Ledger]] = {}
    server = client.start(sys.executable, {**os.environ, **PINNED_ENVIRONMENT})
    try:
        for number, commit in enumerate(commits, start=1):
            app.say(f"[{number}/{len(commits)}] {commit.short} {commit.date:%Y-%m-%d}")
            try:
                made[commit.tree] = record_ledgers(app.settings, server, commit, wanted)
            except NbbenchError as error:
                app.say(f"  {error}")
    finally:
        server.close()
    return made


def _steps(found: list[tuple[Commit, dict[str, Ledger]]]) -> list[dict[str, object]]:
    """One row for each commit and workload at which something exact changed."""
    from nbbench.analyse.ledger_diff import diff_ledgers

    last: dict[str, Ledger] = {}
    rows: list[dict[str, object]] = []
    for commit, ledgers in found:
        for name, one in ledgers.items():
            place = {"position": commit.position, "commit": commit.hash, "date": f"{commit.date:%Y-%m-%d}"}
            if one.error:
                rows.append({**place, "workload": name, "what": one.error.splitlines()[0]})
                continue
            if name in last:
                diff = diff_ledgers(last[name], one)
                if not diff.equal or diff.image == "changed":
                    rows.append({**place, "workload": name, **_figures(diff)})
            last[name] = one
    return rows


def _figures(diff: object) -> dict[str, object]:
    from nbbench.analyse.ledger_diff import LedgerDiff
    from nbbench.units import format_change

    assert isinstance(diff, LedgerDiff)
    lines = ", ".join(dict.fromkeys(f"{c.where} {c.function}" for c in diff.lines[:2]))
    return {
        "bytes_before": round(diff.bytes_before, 2),
        "bytes_after": round(diff.bytes_after, 2),
        "change": format_change(diff.effect),
        "ops_before": diff.ops_before,
        "ops_after": diff.ops_after,
        "upcast": round(diff.upcast_after, 2),
        "image": diff.image,
        "what": lines,
    }


def _steps_text(commits: int, rows: list[dict[str, object]], markdown: bool) -> str:
    from nbbench.report.markdown import escape
    from nbbench.report.text import table

    if not rows:
        return f"{commits} commits: the work never changed"
    keys = ["position", "commit", "date", "workload", "bytes_before", "bytes_after", "change"]
    keys += ["ops_before", "ops_after", "upcast", "image", "what"]
    cells = [[str(row.get(k, ""))[: 8 if k == "commit" else 200] for k in keys] for row in rows]
    head = [
        "#",
        "commit",
        "date",
        "workload",
        "B/px before",
        "after",
        "change",
        "ops",
        "after",
        "upcast",
        "image",
        "lines",
    ]
    if markdown:
        lines = [f"| {' | '.join(escape(cell) for cell in row)} |" for row in cells]
        return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])
    return table(head, cells, right=(0, 4, 5, 6, 7, 8, 9))
