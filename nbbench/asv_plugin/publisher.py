"""Adds nbbench's offline page of flagged regressions to `asv publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asv.console import log
from asv.publishing import OutputPublisher

from nbbench.config import load_settings
from nbbench.errors import NbbenchError

_MARK = "<!-- nbbench -->"


class RegressionsPage(OutputPublisher):  # type: ignore[misc]
    """Writes the page below html_dir and links to it from asv's index."""

    name = "nbbench"
    button_label = "Flagged regressions"
    description = "Regressions with causes, flagged by nbbench"
    order = 1000  # after everything that asv writes

    @classmethod
    def publish(cls, conf: Any, repo: Any, benchmarks: Any, graphs: Any, revisions: Any) -> None:
        """Write the page; trouble with the database must not spoil asv's own pages."""
        from nbbench.cli.page import PAGE, page_text

        html = Path(conf.html_dir).resolve()
        try:
            text = page_text(load_settings(Path.cwd()))
        except NbbenchError as error:
            log.warning(f"nbbench: no page of regressions: {error}")
            return
        (html / PAGE).write_text(text, encoding="utf-8")
        link_from_index(html / "index.html", PAGE)


def link_from_index(index: Path, page: str) -> None:
    """Put a link to `page` into asv's index.html, whose own navigation is fixed in its JavaScript."""
    if not index.is_file():
        return
    text = index.read_text(encoding="utf-8")
    if _MARK in text:
        return
    link = (
        f'{_MARK}<a href="{page}" style="position:fixed;right:1em;bottom:1em;z-index:1000;padding:.4em .8em;'
        'background:#a33;color:#fff;border-radius:4px;text-decoration:none">flagged regressions</a>'
    )
    index.write_text(text.replace("</body>", f"{link}</body>", 1), encoding="utf-8")
