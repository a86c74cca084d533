"""Reports for terminals: tables by `tabulate`, plain text when colour is not wanted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from tabulate import tabulate

from nbbench.model import Outcome
from nbbench.report.run_view import RunView
from nbbench.report.view import CommitRow, FlagRow, GateView, RegressionsView
from nbbench.words import display_width, plural, truncate, truncate_middle

_CODES = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_OUTCOME_COLOUR = {
    Outcome.REGRESSED: "red",
    Outcome.IMPROVED: "green",
    Outcome.UNCHANGED: "dim",
    Outcome.NOT_COMPARABLE: "yellow",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.ACKNOWLEDGED: "yellow",
}
_EXPLAINED = (Outcome.REGRESSED, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE, Outcome.ACKNOWLEDGED)
# A subject line shorter than this says nothing; it is then left to the evidence lines.
_MIN_SUBJECT = 16
_PIPE_SUBJECT = 72  # git's own advice for a subject line
_MIN_SERIES = 30
_NUMBER = re.compile(r"[-+]?[\d.]*(e[-+]\d+)?(×| %)?")


@dataclass(frozen=True, slots=True)
class Terminal:
    """How to print: `width` None means that nothing limits a line (a pipe, a file)."""

    width: int | None = None
    colour: bool = False

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour, or as it is when colour is off."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and text else text


PIPE = Terminal()


def terminal_for(stream: TextIO, environ: Mapping[str, str]) -> Terminal:
    """The terminal behind `stream`: no colour under NO_COLOR, TERM=dumb or outside a terminal."""
    try:
        is_terminal = stream.isatty()
    except ValueError:  # a closed stream
        is_terminal = False
    if not is_terminal:
        return Terminal()
    plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return Terminal(width=max(40, shutil.get_terminal_size().columns), colour=not plain)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[int] = ()) -> str:
    """A plain table; columns in `right` are aligned to the right; figures stay as they are written."""
    align = tuple("right" if index in right else "left" for index in range(len(headers)))
    text = tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=align)
    return "\n".join(line.rstrip() for line in str(text).splitlines())


def regressions_text(view: RegressionsView, term: Terminal = PIPE, *, evidence: bool = True) -> str:
    """The headline, a table of flags, then the evidence of each event."""
    blocks = [term.paint(view.headline, "red" if view.open_count else "bold")]
    if view.rows:
        blocks.append(_flag_table(view.rows, term))
    if evidence:
        blocks += [_evidence(row, term) for row in view.rows]
    if view.not_judged:
        blocks.append("\n".join(["Not judged", *(_cut(f"  - {line}", term) for line in view.not_judged)]))
    return _joined(blocks)


def gate_text(view: GateView, term: Terminal = PIPE) -> str:
    """The verdict first, then counts, then the series, regressions on top."""
    blocks = [
        term.paint(view.headline, _OUTCOME_COLOUR[view.outcome])
        + f"\n{view.base} -> {view.head}: {view.counts_line}; {view.elapsed}, seed {view.seed}"
    ]
    if view.rows:
        blocks.append(_gate_table(view, term))
    for row in view.rows:
        if row.outcome in _EXPLAINED and (row.sentence or row.reproduce):
            lines = [f"{row.series}: {row.sentence}"] + ([f"  $ {row.reproduce}"] if row.reproduce else [])
            blocks.append("\n".join(lines))
    if view.ledger:
        columns = [[row[index] for row in view.ledger] for index in range(len(view.ledger_columns))]
        right = [index for index, cells in enumerate(columns) if all(map(_NUMBER.fullmatch, cells))]
        blocks.append("Ledger\n" + table(view.ledger_columns, view.ledger, right=right))
    if view.notes:
        blocks.append("\n".join(f"note: {note}" for note in view.notes))
    return _joined(blocks)


def commits_text(rows: Sequence[CommitRow], term: Terminal = PIPE) -> str:
    """A table of commits; the measured column appears when something is known of a commit."""
    if not rows:
        return "No commits.\n"
    headers = ["#", "commit", "date", "tree", "measured", "subject"]
    body = [[r.position, r.commit, r.date, r.tree, r.measured, r.subject] for r in rows]
    if not any(row.measured for row in rows):
        headers.pop(4)
        for cells in body:
            cells.pop(4)
    return _joined([_fit_last(headers, body, term, right=(0,)), plural(len(rows), "commit")])


def run_text(view: RunView, term: Terminal = PIPE) -> str:
    """The headline, a row for each commit, then failures and disturbances."""
    blocks = [term.paint(view.headline, "bold")]
    if view.rows:
        headers = ["commit", "date", "ok", "failed", "skipped", "time", "subject"]
        body = [[r.commit, r.date, r.ok, r.failed, r.skipped, r.duration, r.subject] for r in view.rows]
        blocks.append(_fit_last(headers, body, term, right=(2, 3, 4, 5)))
    if view.failures:
        lines = [f"  {row.commit}  {row.what}: {row.error}" for row in view.failures]
        blocks.append("\n".join([term.paint("Failures", "red"), *(_cut(line, term) for line in lines)]))
    extra = [term.paint(f"disturbed: {line}", "yellow") for line in view.disturbances]
    extra += [f"note: {note}" for note in view.notes]
    if extra:
        blocks.append("\n".join(extra))
    return _joined(blocks)


def _flag_table(rows: Sequence[FlagRow], term: Terminal) -> str:
    headers = ["event", "commit", "date", "change", "cause", "plan", "state", "series", "subject"]
    body = [
        [
            row.event_id,
            row.commits,
            row.date,
            term.paint(row.change, "red" if row.worse else "green"),
            row.cause,
            row.plan,
            row.state,
            str(row.series_count),
            row.subject,
        ]
        for row in rows
    ]
    fitted = _fit_last(headers, body, term, right=(7,))
    if term.width is None or _widest(fitted) <= term.width:
        return fitted
    return "\n".join(_stacked(row, term) for row in rows)


def _stacked(row: FlagRow, term: Terminal) -> str:
    """One flag over three lines, for terminals too narrow for the table."""
    change = term.paint(row.change, "red" if row.worse else "green")
    return "\n".join(
        [
            term.paint(f"{row.event_id}  {row.state}", "bold") + f"  {row.plan}",
            _cut(f"  {row.commits}  {row.date}  {row.subject}", term),
            f"  {change}  cause: {row.cause}  {plural(row.series_count, 'series', 'series')}",
        ]
    )


def _evidence(row: FlagRow, term: Terminal) -> str:
    title = f"{row.event_id}  {row.commits}  {row.subject}"
    lines = [term.paint(_cut(title, term), "bold")]
    lines += [f"  - {line}" for line in row.evidence or ("no evidence was recorded",)]
    if row.recovered_by:
        lines.append(f"  - recovered by {row.recovered_by}")
    lines += [f"  - {line}" for line in row.decisions]
    lines += [f"  $ {command}" for command in row.reproduce]
    return "\n".join(lines)


def _gate_table(view: GateView, term: Terminal) -> str:
    """Narrow terminals lose the floor, the rounds, the cause, then the figures before the series."""
    headers = ["verdict", "change", "interval", "base", "head", "cause", "rounds", "floor", "series"]
    body = [
        [
            term.paint(str(row.outcome), _OUTCOME_COLOUR[row.outcome]),
            row.change,
            row.interval,
            row.base,
            row.head,
            row.cause,
            str(row.rounds),
            row.floor,
            row.series,
        ]
        for row in view.rows
    ]
    while True:
        right = [i for i, name in enumerate(headers) if name in ("base", "head", "change", "rounds", "floor")]
        fitted = _fit_last(headers, body, term, right=right, least=_MIN_SERIES)
        if term.width is None or _widest(fitted) <= term.width or len(headers) <= 4:
            return fitted
        headers.pop(-2)
        for cells in body:
            cells.pop(-2)


def _fit_last(
    headers: Sequence[str],
    body: Sequence[Sequence[Any]],
    term: Terminal,
    *,
    right: Sequence[int] = (),
    least: int = _MIN_SUBJECT,
) -> str:
    """The table with its last column cut to the width that is left, but never below `least`."""
    bare = _widest(table([*headers[:-1], ""], [[*row[:-1], ""] for row in body], right=right))
    room = _PIPE_SUBJECT if term.width is None else term.width - bare - 2
    if term.width is None and headers[-1] == "series":
        room = 10**6  # a series' name is a key that programs read: never cut in a pipe
    shorten = truncate_middle if headers[-1] == "series" else truncate
    cut = [[*row[:-1], shorten(str(row[-1]), max(room, least))] for row in body]
    return table(headers, cut, right=right)


def _widest(text: str) -> int:
    return max((display_width(_bare(line)) for line in text.splitlines()), default=0)


def _bare(line: str) -> str:
    for code in _CODES.values():
        line = line.replace(f"\x1b[{code}m", "")
    return line.replace("\x1b[0m", "")


def _cut(line: str, term: Terminal) -> str:
    return line if term.width is None else truncate(line, term.width)


def _joined(blocks: Sequence[str]) -> str:
    return "\n\n".join(blocks) + "\n"
