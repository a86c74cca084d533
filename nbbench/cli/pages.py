"""Reports made of blocks: printed as text or Markdown, or written to a Markdown file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.cli.options import in_a_folder

if TYPE_CHECKING:
    from nbbench.report.blocks import Block

markdown_option = click.option(
    "--markdown",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    callback=in_a_folder,
    help="The report as Markdown, instead of the text or into FILE. Put it last.",
)


def emit_blocks(
    app: App,
    kind: str,
    payload: object,
    blocks: list[Block],
    markdown: str | None = None,
    *,
    version: int = 1,
    for_github: bool = False,
) -> None:
    """Print the report (as Markdown for `-`), and write it to a file where one was named.

    `version` is that of the JSON document; `for_github` keeps Markdown below the size that GitHub takes.
    """
    from nbbench.cli.streams import terminal
    from nbbench.record.atomic import write_text
    from nbbench.report.markdown import LIMIT_BYTES, as_markdown
    from nbbench.report.text import as_text

    limit = LIMIT_BYTES if for_github else None
    if markdown not in (None, "-"):
        write_text(Path(str(markdown)), as_markdown(blocks, limit=limit))
        app.say(f"wrote {markdown}")
    printed = as_markdown(blocks, limit=limit) if markdown == "-" else as_text(blocks, terminal())
    app.emit(kind, payload, printed, version=version)
