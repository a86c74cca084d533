"""Terminal tables: width, colour, pipes."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
import report_samples as samples
from rich.cells import cell_len

from nbbench.report.events import regressions_blocks
from nbbench.report.gate import gate_blocks
from nbbench.report.run_view import commits_blocks, run_blocks
from nbbench.report.text import Terminal, as_text, terminal_for


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        ({"TERM": "xterm"}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colour_follows_the_terminal_and_no_color(environ: dict[str, str], colour: bool) -> None:
    assert terminal_for(Tty(), environ).colour is colour


def test_a_pipe_gets_neither_colour_nor_width() -> None:
    assert terminal_for(io.StringIO(), {"TERM": "xterm"}) == Terminal()
    closed = io.StringIO()
    closed.close()
    assert terminal_for(closed, {}) == Terminal()


@pytest.mark.parametrize("width", [40, 80, 100, 132, 200])
def test_tables_keep_to_the_width(width: int) -> None:
    term = Terminal(width=width)
    tables = [
        as_text(regressions_blocks(samples.FLAGS)[:3], term),
        as_text(commits_blocks(samples.COMMITS), term),
    ]
    for text in tables:
        widest = max(cell_len(line) for line in text.splitlines())
        assert widest <= max(width, 62), text  # three short columns are the least that says anything


def test_colour_changes_nothing_but_colour() -> None:
    for shown in (
        lambda term: as_text(regressions_blocks(samples.FLAGS), term),
        lambda term: as_text(gate_blocks(samples.GATE), term),
        lambda term: as_text(run_blocks(samples.RESULTS, samples.COMMITS, records=samples.RECORDS), term),
    ):
        plain, painted = shown(Terminal(width=160)), shown(Terminal(width=160, colour=True))
        assert plain != painted
        assert re.sub(r"\x1b\[\d+m", "", painted) == plain


def test_a_pipe_never_cuts_a_series_name() -> None:
    key = replace(samples.key(), params=(("name", "x" * 300),))
    verdict = replace(samples.GATE.verdicts[0], series=key.label)
    text = as_text(gate_blocks(replace(samples.GATE, verdicts=(verdict,))))
    assert key.label in text


def test_the_verdict_is_the_first_line() -> None:
    assert as_text(gate_blocks(samples.GATE)).startswith("REGRESSED: 1 of 5 series is worse")


def test_wide_characters_do_not_push_a_table_over_the_edge() -> None:
    commits = [replace(samples.COMMITS[0], subject="性能" * 60)]
    text = as_text(commits_blocks(commits), Terminal(width=90))
    assert max(cell_len(line) for line in text.splitlines()) <= 90


def test_no_commits_is_said() -> None:
    assert as_text(commits_blocks(())) == "No commits."
