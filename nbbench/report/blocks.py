"""A report as a list of paragraphs and tables, written as plain text or as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from nbbench.report.markdown import code, escape
from nbbench.report.text import table
from nbbench.words import clean, clean_lines

_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under headers; columns in `right` are figures, in `codes` names of code and commands."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()
    codes: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Title:
    """The head of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that keep their indent: a terminal's table whose rows take several lines."""

    lines: Sequence[str]


Block = str | Title | Table | Lines


def as_text(blocks: Sequence[Block]) -> str:
    """For terminals: paragraphs wrapped, tables aligned."""
    return "\n\n".join(_text(block) for block in blocks)


def _text(block: Block) -> str:
    if isinstance(block, Table):
        rows = [[clean(cell) for cell in row] for row in block.rows]
        return table(block.headers, rows, right=block.right)
    if isinstance(block, Lines):
        return clean_lines("\n".join(block.lines))
    text = block.text if isinstance(block, Title) else block
    lines = [textwrap.wrap(clean(line), _WIDTH, subsequent_indent="  ") for line in text.split("\n")]
    return "\n".join("\n".join(wrapped) for wrapped in lines)


def as_markdown(blocks: Sequence[Block]) -> str:
    """For pages and comments: GitHub's Markdown, everything from outside escaped."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Title):
        return f"**{escape(block.text)}**"
    if isinstance(block, Lines):
        return "\n".join(f"    {line}" for line in clean_lines("\n".join(block.lines)).split("\n"))
    if isinstance(block, str):
        told = [escape(line) for line in block.split("\n")]
        return told[0] if len(told) == 1 else "\n".join(f"- {line}" for line in told)
    align = ["---:" if i in block.right else "---" for i in range(len(block.headers))]
    lines = [block.headers, align, *([_cell(block, i, c) for i, c in enumerate(row)] for row in block.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(block: Table, column: int, text: str) -> str:
    return code(text) if column in block.codes and text else escape(text)
