"""Reports as Markdown for pull requests and step summaries, below GitHub's 64 KB."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from nbbench.model import Outcome
from nbbench.report.run_view import RunView
from nbbench.report.view import CommitRow, FlagRow, GateView, RegressionsView, VerdictRow
from nbbench.words import clean, plural, truncate

# GitHub cuts step summaries and comments at 65,536 bytes; what is left is for the caller's own words.
LIMIT_BYTES = 63_000
_CELL = 300  # longer cells make a table unreadable, and one could otherwise eat the whole page
_LINE = 1_000
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
# What opens a list or a rule at a line's start: `- x`, `---`, `+ x`, `1. x`, `1) x`.
_OPENING = re.compile(r"^(\d{0,9})((?<=\d)[.)](?=\s|$)|(?<!\d)[-+](?=[-\s]|$))")
_MARK = {
    Outcome.REGRESSED: "❌",
    Outcome.NOT_COMPARABLE: "❓",
    Outcome.INCONCLUSIVE: "❔",
    Outcome.ACKNOWLEDGED: "☑️",
    Outcome.IMPROVED: "🚀",
    Outcome.UNCHANGED: "✅",
}


def escape(text: str) -> str:
    """`text` on one line so that Markdown and HTML show it as it is, in tables and lists too."""
    text = _SPECIAL.sub(r"\\\1", clean(text))
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return _OPENING.sub(r"\1\\\2", "&gt;" + text[1:] if text.startswith(">") else text)


def code(text: str) -> str:
    """`text` on one line as a code span, whatever backticks and pipes it holds."""
    text = clean(text)
    if not text:
        return ""
    if "\\|" in text or text.endswith("\\"):
        # Table parsers disagree about a backslash before a pipe inside a span; entities are safe.
        return f"<code>{''.join(f'&#{ord(c)};' if not c.isalnum() and c != ' ' else c for c in text)}</code>"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text.replace('|', chr(92) + '|')}{pad}{fence}"


def gate_markdown(view: GateView, *, limit: int = LIMIT_BYTES) -> str:
    """Verdict, counts and the series that moved; what did not move is folded away."""
    page = _Page(limit)
    page.line(f"## {_MARK[view.outcome]} {escape(truncate(view.headline, _LINE))}")
    page.line("")
    page.line(f"{code(view.base)} → {code(view.head)} · {escape(view.counts_line)} · {view.elapsed}")
    moved = [row for row in view.rows if row.outcome is not Outcome.UNCHANGED]
    still = [row for row in view.rows if row.outcome is Outcome.UNCHANGED]
    page.table(_GATE_HEAD, (_gate_cells(row) for row in moved))
    page.bullets((_reason(row) for row in moved if row.outcome is not Outcome.IMPROVED), title="**Why**")
    page.table([escape(c) for c in view.ledger_columns], _escaped(view.ledger), title="**Ledger**")
    page.bullets(escape(truncate(note, _LINE)) for note in view.notes)
    page.folded(f"{len(still)} unchanged", _GATE_HEAD, [_gate_cells(row) for row in still])
    return page.text()


def regressions_markdown(view: RegressionsView, *, limit: int = LIMIT_BYTES) -> str:
    """The headline, losses with their evidence, then gains folded away."""
    page = _Page(limit)
    page.line(f"## {'❌' if view.open_count else '✅'} {escape(view.headline)}")
    page.table(_FLAG_HEAD, (_flag_cells(row) for row in view.regressions))
    for row in view.regressions:
        page.bullets(_evidence(row), title=f"**{code(row.event_id)}** {escape(truncate(row.subject, _CELL))}")
    gains = [_flag_cells(row) for row in view.improvements]
    page.folded(plural(len(gains), "improvement"), _FLAG_HEAD, gains)
    return page.text()


def commits_markdown(rows: Sequence[CommitRow], *, limit: int = LIMIT_BYTES) -> str:
    """A table of commits."""
    page = _Page(limit)
    page.line(f"## {plural(len(rows), 'commit')}")
    head = ("#", "commit", "date", "tree", "measured", "subject")
    page.table(
        head,
        (
            (r.position, code(r.commit), r.date, code(r.tree), *_escaped_row((r.measured, r.subject)))
            for r in rows
        ),
    )
    return page.text()


def run_markdown(view: RunView, *, limit: int = LIMIT_BYTES) -> str:
    """One run: the headline, failures, disturbances, then a row for each commit."""
    page = _Page(limit)
    page.line(f"## {escape(view.headline)}")
    failures = [
        (code(row.commit), code(row.what), escape(truncate(row.error, _CELL))) for row in view.failures
    ]
    page.bullets((f"{commit} {what}: {error}" for commit, what, error in failures), title="**Failures**")
    page.bullets(escape(line) for line in (*view.disturbances, *view.notes))
    head = ("commit", "date", "ok", "failed", "skipped", "time", "subject")
    page.table(
        head,
        (
            (code(r.commit), r.date, str(r.ok), str(r.failed), str(r.skipped), r.duration, escape(r.subject))
            for r in view.rows
        ),
    )
    return page.text()


_GATE_HEAD = ("series", "verdict", "base", "head", "change", "interval", "floor", "rounds", "cause")
_FLAG_HEAD = ("event", "commit", "date", "change", "cause", "plan", "state", "series", "subject")


def _gate_cells(row: VerdictRow) -> tuple[str, ...]:
    return (
        code(truncate(row.series, _CELL)),
        f"{_MARK[row.outcome]} {row.outcome}",
        *_escaped_row((row.base, row.head, row.change, row.interval, row.floor, str(row.rounds), row.cause)),
    )


def _flag_cells(row: FlagRow) -> tuple[str, ...]:
    rest = (row.date, row.change, row.cause, row.plan, row.state, str(row.series_count), row.subject)
    return (code(row.event_id), code(row.commits), *_escaped_row(rest))


def _reason(row: VerdictRow) -> str:
    text = f"{code(truncate(row.series, _CELL))}: {escape(truncate(row.sentence, _LINE))}"
    return f"{text} (reproduce: {code(truncate(row.reproduce, _LINE))})" if row.reproduce else text


def _evidence(row: FlagRow) -> list[str]:
    lines = [escape(truncate(line, _LINE)) for line in (*row.evidence, *row.decisions)]
    lines += [f"recovered by {code(row.recovered_by)}"] if row.recovered_by else []
    return lines + [code(truncate(command, _LINE)) for command in row.reproduce]


def _escaped(rows: Iterable[Sequence[str]]) -> Iterable[tuple[str, ...]]:
    return (_escaped_row(row) for row in rows)


def _escaped_row(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(escape(truncate(cell, _CELL)) for cell in cells)


class _Page:
    """Lines up to a limit in bytes; what does not fit is counted and named at the end."""

    # Room for the closing tag and for the note about what was left out.
    _RESERVE = 300

    def __init__(self, limit: int) -> None:
        self._lines: list[str] = []
        self._room = limit - self._RESERVE
        self._left_out = 0

    def line(self, line: str) -> bool:
        """Add one line; False, and counted, when it does not fit."""
        size = len(line.encode("utf-8", errors="replace")) + 1
        if size > self._room:
            self._left_out += 1
            return False
        self._room -= size
        self._lines.append(line)
        return True

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
        """Add a table; nothing at all when it has no rows."""
        body = list(rows)
        if not body:
            return
        opening = [*([title, ""] if title else []), _row(head), _row(["---"] * len(head))]
        if not self.line("\n" + "\n".join(opening)):
            self._left_out += len(body) - 1
            return
        for cells in body:
            self.line(_row(cells))

    def bullets(self, items: Iterable[str], *, title: str = "") -> None:
        """Add a bullet list; nothing at all when it is empty."""
        body = [f"- {item}" for item in items]
        if not body:
            return
        if not self.line(f"\n{title}\n" if title else ""):
            self._left_out += len(body) - 1
            return
        for item in body:
            self.line(item)

    def folded(self, summary: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table inside a `<details>` block, which is closed in any case."""
        if not rows:
            return
        if self.line(f"\n<details><summary>{summary}</summary>"):
            self.table(head, rows)
            self._lines.append("\n</details>")
        else:
            self._left_out += len(rows) - 1

    def text(self) -> str:
        """The page, with a note about the lines that were left out."""
        if self._left_out:
            left = plural(self._left_out, "line")
            self._lines.append(f"\n*{left} left out to stay below GitHub's 64 KB; `--json` has everything.*")
        return "\n".join(self._lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
