"""Blocks as the page of the site, which opens from disk: tables and sentences without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nbbench import __version__
from nbbench.report.blocks import Block, Title
from nbbench.words import clean_lines, for_html

# Plotly's JavaScript, which whoever writes a page puts beside it.
PLOTLY = "plotly.min.js"


def as_html(blocks: Sequence[Block], *, title: str, eyebrow: str) -> str:
    """The blocks as the site's page, in sections. Every text passes `words.for_html`."""
    sections: list[tuple[Title | None, list[tuple[str, Block]]]] = [(None, [])]
    for block in blocks:
        if isinstance(block, Title):
            sections.append((block, []))
        else:
            sections[-1][1].append((type(block).__name__, block))
    return _environment().get_template("site.html.j2").render(title=title, eyebrow=eyebrow, sections=sections)


@cache
def _environment() -> Environment:
    def shown(value: Any) -> Any:
        return Markup(for_html(value)) if isinstance(value, str) and not hasattr(value, "__html__") else value  # noqa: S704

    made = Environment(
        loader=PackageLoader("nbbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    made.globals["version"] = __version__
    made.filters["lines"] = lambda text: clean_lines(text).split("\n")
    return made
