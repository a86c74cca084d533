"""The scorecard as Markdown: a summary of F1, then every figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from tabulate import tabulate

from tests.bench.scorecard.evaluate import Entry, Result

OURS = "nbbench"


def markdown(results: Sequence[Result]) -> str:
    """Goals and who reached them, tables by group, the rows where a peer is ahead, and all figures."""
    parts = [_goals(results), _summary(results), _behind(results), "## Every figure\n"]
    parts += [_details(result) for result in results if result.entries]
    return "\n".join(parts)


def measure(entry: Entry, result: Result) -> float:
    """What a row is ranked by: F1, or minus the alarms where there is nothing to find."""
    return entry.score.f1 if result.changes else -entry.score.alarms_per_thousand


def ahead(result: Result, mine: Entry) -> list[Entry]:
    """Peers that beat ``mine`` in a row, the best first."""
    peers = [e for e in result.entries if not e.method.startswith(OURS) and not e.why_not]
    better = [e for e in peers if _number(measure(e, result)) > _number(measure(mine, result)) + 5e-4]
    return sorted(better, key=lambda e: -_number(measure(e, result)))


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def reached(entry: Entry, result: Result) -> bool:
    """Whether a method reached the goal of a row, `F1 ≥ 0.9` or `alarms ≤ 1`."""
    limit = float(result.goal.split()[-1])
    found = _number(measure(entry, result))
    return found >= (limit if result.changes else -limit)


def _goals(results: Sequence[Result]) -> str:
    """In how many rows of each group its goal was reached, by nbbench and by every peer."""
    asked = [result for result in results if result.goal and result.entries]
    if not asked:
        return ""
    peers = list(dict.fromkeys(e.method for r in asked for e in r.entries if not e.method.startswith(OURS)))
    lines = []
    by_goal: dict[tuple[str, str], list[Result]] = {}
    for result in asked:
        by_goal.setdefault((result.group, result.goal), []).append(result)
    for (group, goal), rows in by_goal.items():

        def counted(method: str, rows: list[Result] = rows) -> int:
            return sum(reached(e, r) for r in rows for e in r.entries if e.method == method)

        mine = [sum(reached(_ours(r)[which], r) for r in rows) for which in (0, -1)]
        cells = [group, goal, str(len(rows)), *map(str, (*mine, *map(counted, peers)))]
        lines.append(cells)
    head = ["group", "goal", "rows", "nbbench, series alone", "nbbench, all that it sees", *peers]
    return "## Goals: rows that reach them\n\n" + tabulate(lines, head, tablefmt="github") + "\n"


def _summary(results: Sequence[Result]) -> str:
    lines = []
    for group, rows in groupby(results, key=lambda r: r.group):
        lines.append(f"## {group}\n")
        some = list(rows)
        if not any(r.entries for r in some):
            lines.append("Not given: name its folder by NBBENCH_ASV_DATA or NBBENCH_TCPD.\n")
            continue
        methods: list[str] = []
        for result in some:
            methods += [e.method for e in result.entries if e.method not in methods]
        methods.sort(key=lambda method: not method.startswith(OURS))
        table = []
        for result in some:
            by_method = {e.method: e for e in result.entries}
            cells = [_cell(by_method.get(m), result) for m in methods]
            table.append([result.name, *cells, result.goal])
        head = ["F1 (alarms per 1,000 points)", *methods, "goal"]
        lines.append(tabulate(table, head, tablefmt="github", disable_numparse=True) + "\n")
    return "\n".join(lines)


def _cell(entry: Entry | None, result: Result) -> str:
    if entry is None:
        return "–"
    if entry.why_not:
        return entry.why_not
    alarms = f"({entry.score.alarms_per_thousand:.1f})"
    return f"{entry.score.f1:.3f} {alarms}" if result.changes else alarms


def _behind(results: Sequence[Result]) -> str:
    """The rows where a peer is ahead of nbbench with everything that it sees in them, and of the series
    alone."""
    told = [result for result in results if result.entries]
    whole = [_compared(result, _ours(result)[-1]) for result in told]
    alone = [_compared(result, _ours(result)[0]) for result in told if len(_ours(result)) > 1]
    parts = ["## Where a peer is ahead\n", *(list(filter(None, whole)) or ["In no row."]), ""]
    parts += ["## Where a peer is ahead of nbbench without canaries, telemetry and ledger\n"]
    return "\n".join([*parts, *(list(filter(None, alone)) or ["In no row."]), ""])


def _ours(result: Result) -> list[Entry]:
    """What nbbench makes of a row: by the series alone first, by all that it sees last."""
    return [entry for entry in result.entries if entry.method.startswith(OURS)]


def _compared(result: Result, mine: Entry) -> str:
    better = ahead(result, mine)
    if not better:
        return ""
    who = ", ".join(f"{e.method} {_figure(e, result)}" for e in better)
    setting = better[0].setting
    picked = f" (its best setting, picked afterwards: {setting})" if setting else ""
    against = f"against {mine.method} {_figure(mine, result)}{picked}. {_why(better[0], mine)}"
    return f"* {result.group}: {result.name}: {who}, {against}"


def _figure(entry: Entry, result: Result) -> str:
    return f"F1 {entry.score.f1:.3f}" if result.changes else f"{entry.score.alarms_per_thousand:.1f} alarms"


def _why(peer: Entry, mine: Entry) -> str:
    """The difference in the counts that F1 is made of."""
    hits = peer.score.hits - mine.score.hits
    alarms = peer.score.alarms - mine.score.alarms
    return f"It finds {hits:+d} changes and raises {alarms:+d} false alarms in comparison."


def _details(result: Result) -> str:
    head = ["", "precision", "recall", "F1", "location error", "exact place", "alarms per 1,000", "setting"]
    rows = []
    for entry in result.entries:
        if entry.why_not:
            rows.append([entry.method, entry.why_not, *[""] * 6])
            continue
        score = entry.score
        rows.append(
            [
                entry.method,
                *(_two(x) for x in (score.precision, score.recall, score.f1)),
                "–" if math.isnan(score.location_error) else f"{score.location_error:g}",
                "–" if math.isnan(score.exact) else f"{score.exact:.0%}",
                f"{score.alarms_per_thousand:.2f}",
                entry.setting,
            ]
        )
    title = f"### {result.group}: {result.name}\n\n{result.series} series, {result.changes} changes.\n"
    return title + "\n" + tabulate(rows, head, tablefmt="github", disable_numparse=True) + "\n"


def _two(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
