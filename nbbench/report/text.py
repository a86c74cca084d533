"""Blocks for terminals: tables by `tabulate`, plain text when colour is not wanted."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len
from tabulate import tabulate

from nbbench.report.blocks import Block, Bullets, Head, Item, Table, Title
from nbbench.words import clean, truncate, truncate_middle

_CODES = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_WIDTH = 110  # of a paragraph
# A last column shorter than this says nothing; names of series (which differ at both ends) need more.
_LEAST = 16
_LEAST_NAME = 30
_PIPE_COLUMN = 72  # git's own advice for a subject line


@dataclass(frozen=True, slots=True)
class Terminal:
    """How to print: `width` None means that nothing limits a line (a pipe, a file)."""

    width: int | None = None
    colour: bool = False

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour, or as it is when colour is off."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and text and colour else text


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


def as_text(blocks: Sequence[Block], term: Terminal = PIPE) -> str:
    """The blocks with a blank line between them: paragraphs wrapped, tables aligned and fitted."""
    return "\n\n".join(_text(block, term) for block in blocks)


def _text(block: str | Head | Title | Bullets | Table, term: Terminal) -> str:
    if isinstance(block, Table):
        return _table(block, term)
    if isinstance(block, Head):
        return term.paint(clean(block.text), block.tone)
    if isinstance(block, Bullets):
        lines = [line for item in block.items for line in _item(item)]
        title = "  ".join(clean(part) for part in (block.code, block.title) if part)
        title = title if term.width is None else truncate(title, term.width)
        return "\n".join([*([term.paint(title, "bold")] if title else []), *lines])
    text = block.text if isinstance(block, Title) else block
    lines = [textwrap.fill(clean(line), _WIDTH, subsequent_indent="  ") for line in text.split("\n")]
    return "\n".join(lines)


def _item(item: Item | str) -> list[str]:
    if isinstance(item, str):
        return [f"  - {clean(item)}"]
    words = ": ".join(clean(part) for part in (item.about, item.text) if part)
    return [f"  - {words}"] * bool(words) + [f"  $ {clean(item.command)}"] * bool(item.command)


def _table(block: Table, term: Terminal) -> str:
    """The table in the terminal's width: without spare columns where they do not fit, the last one cut.

    A pipe gets every column, and whole names of series: they are keys that programs read.
    """
    last, limit = len(block.headers) - 1, term.width or 10**6
    named = last in block.codes
    rows = [[clean(cell) for cell in row] for row in block.rows]
    # tabulate puts two blanks beside a header
    heads = [f"{name}  " for name in block.headers]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    least = min(_LEAST_NAME if named else _LEAST, widths[last] if rows else 0)
    spare, shown = list(block.spare), list(range(last + 1))

    def room() -> int:
        """The columns of the terminal that are left for the last one, each with two blanks in front."""
        return limit - sum(widths[i] + 2 for i in shown if i != last)

    while spare and room() < (least if last in shown else -2):
        shown.remove(spare.pop(0))
    if term.width is not None and last in shown and last != block.toned:
        cut, most = truncate_middle if named else truncate, max(room(), least)
        rows = [[*row[:-1], cut(row[-1], most)] for row in rows]
    elif not named and block.spare:
        rows = [[*row[:-1], truncate(row[-1], _PIPE_COLUMN)] for row in rows]
    for number, (tone, _) in block.tones.items():
        rows[number][block.toned] = term.paint(rows[number][block.toned], tone)
    names, cells = [block.headers[i] for i in shown], [[row[i] for i in shown] for row in rows]
    align = ["right" if column in block.right else "left" for column in shown]
    text = tabulate(cells, headers=names, tablefmt="simple", disable_numparse=True, colalign=align)
    return "\n".join(line.rstrip() for line in str(text).splitlines())
