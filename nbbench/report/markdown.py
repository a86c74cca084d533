"""Blocks as Markdown for pull requests and step summaries, below GitHub's 64 KB."""

from collections.abc import Sequence

from nbbench.report.blocks import Block, Bullets, Head, Item, Table, Title
from nbbench.words import for_markdown as escape
from nbbench.words import markdown_code as code
from nbbench.words import plural, truncate

# GitHub cuts step summaries and comments at 65,536 bytes; what is left is for the caller's own words.
LIMIT_BYTES = 63_000
_CELL = 300  # longer cells make a table unreadable, and one could otherwise eat the whole page
_LINE = 1_000
_RESERVE = 100  # for the note about what was left out


def as_markdown(blocks: Sequence[Block], *, limit: int | None = None) -> str:
    """The blocks as GitHub's Markdown, everything from outside escaped.

    Within `limit` bytes; lines that do not fit are counted, and the end says how many there were.
    """
    room = limit - _RESERVE if limit else 10**12
    parts = [part for block in blocks for part in _parts(block, _LINE if limit else 10**9)]
    shown: dict[int, str] = {}
    left = 0
    # What is folded away gets the room that the others leave.
    for place in sorted(range(len(parts)), key=lambda i: bool(parts[i][2])):
        opening, lines, closing = parts[place]
        spare = room - sum(_size(text) for text in (opening, closing) if text) - 1
        kept = []
        for line in lines:
            if _size(line) <= spare:
                kept.append(line)
                spare -= _size(line)
        left += len(lines) - len(kept)
        if spare < 0 or (lines and not kept):
            left += not lines
            continue
        room = spare
        shown[place] = "\n".join(text for text in (opening, *kept, closing) if text)
    done = [shown[place] for place in sorted(shown)]
    if left:
        done.append(
            f"*{plural(left, 'line')} left out to stay below GitHub's 64 KB; `--json` has everything.*"
        )
    return "\n\n".join(done) + "\n"


Part = tuple[str, list[str], str]
"""What opens a block, its lines, what closes it."""


def _parts(block: Block, most: int) -> list[Part]:
    if isinstance(block, Head):
        return [(f"## {block.mark} {escape(truncate(block.text, most))}".replace("  ", " ", 1), [], "")]
    if isinstance(block, Title):
        return [(f"**{escape(truncate(block.text, most))}**", [], "")]
    if isinstance(block, Bullets):
        title = escape(truncate(block.title, most))
        opening = f"**{code(block.code)}** {title}\n" if block.code else f"**{title}**\n" if title else ""
        return [(opening, [f"- {_item(item, most)}" for item in block.items], "")]
    if isinstance(block, str):
        lines = [escape(truncate(line, most)) for line in block.split("\n")]
        return [("", lines if len(lines) == 1 else [f"- {line}" for line in lines], "")]
    return _table(block, _CELL if most == _LINE else most)


def _item(item: Item | str, most: int) -> str:
    if isinstance(item, str):
        return escape(truncate(item, most))
    words = ": ".join(filter(None, [code(item.about), escape(truncate(item.text, most))]))
    command = code(item.command)
    return f"{words} (again: {command})" if words and command else words or command


def _table(block: Table, most: int) -> list[Part]:
    shown = [code if i in block.codes else escape for i in range(len(block.headers))]
    cells = [
        [show(truncate(cell, most)) for show, cell in zip(shown, row, strict=True)] for row in block.rows
    ]
    for number, (_, mark) in block.tones.items():
        cells[number][block.toned] = f"{mark} {cells[number][block.toned]}".strip()
    ruler = ["---:" if i in block.right else "---" for i in range(len(block.headers))]
    names, align, *rows = [f"| {' | '.join(row)} |" for row in (block.headers, ruler, *cells)]
    head = f"{names}\n{align}"
    quiet = len(rows) if block.quiet is None else block.quiet
    parts: list[Part] = [(head, rows[:quiet], "")] if rows[:quiet] else []
    if rows[quiet:]:
        opening = f"<details><summary>{escape(block.quiet_as)}</summary>\n\n{head}"
        parts.append((opening, rows[quiet:], "\n</details>"))
    return parts


def _size(text: str) -> int:
    return len(text.encode("utf-8", errors="replace")) + 1
