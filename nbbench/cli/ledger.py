"""`nbbench ledger COMMIT|RANGE`."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App

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
    "--by", type=click.Choice(["line", "function", "op", "dtype"]), default="line", show_default=True
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows shown.")
@click.pass_obj
def ledger(app: App, span: str | None, bench: str, by: str, top: int) -> int:
    """Record the exact work of commits, which needs one small run a tree and no quiet machine.

    For a single COMMIT: where its bytes go. For a RANGE (A..B, or positions 21-245): the table
    of commits at which bytes per pixel or operations changed.
    """
    from nbbench.subject.repository import describe, open_subject
    from nbbench.subject.selection import select

    subject = open_subject(app.settings)
    if span and ".." not in span and not re.fullmatch(r"\d{1,5}-\d{1,5}", span):
        return _one(app, describe(subject, span), bench, by, top)
    return _range(app, select(subject, span), bench)


def _one(app: App, commit: Commit, bench: str, by: str, top: int) -> int:
    from nbbench.collect.ledgers import workload_ledgers
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
    from nbbench.model import to_plain
    from nbbench.report.text import table

    found = workload_ledgers(app.settings, commit, re.compile(bench), say=app.say)
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


def _range(app: App, commits: list[Commit], bench: str) -> int:
    """Record every tree of the range with one warm server, then print the steps."""
    from nbbench.collect.ledgers import workload_ledgers
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, NbbenchError
    from nbbench.probe.resources import PINNED_ENVIRONMENT
    from nbbench.warm import client

    pattern = re.compile(bench)
    server = client.start(sys.executable, {**os.environ, **PINNED_ENVIRONMENT})
    found: list[tuple[Commit, dict[str, Ledger]]] = []
    try:
        for number, commit in enumerate(commits, start=1):
            app.say(f"[{number}/{len(commits)}] {commit.short} {commit.date:%Y-%m-%d}")
            try:
                ledgers = workload_ledgers(
                    app.settings, commit, pattern, say=lambda text: None, server=server
                )
            except NbbenchError as error:
                app.say(f"  {error}")
                ledgers = {}
            found.append((commit, dict(ledgers)))
    finally:
        server.close()
    rows = _steps(found)
    app.emit("ledger-steps", {"commits": len(commits), "steps": rows}, _steps_text(len(commits), rows))
    return EXIT_OK if any(v for _, v in found) else EXIT_INCONCLUSIVE


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


def _steps_text(commits: int, rows: list[dict[str, object]]) -> str:
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
    return table(head, cells, right=(0, 4, 5, 6, 7, 8, 9))
