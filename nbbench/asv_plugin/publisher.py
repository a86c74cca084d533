"""Puts nbbench's site in front of asv's own pages in `asv publish`, and tells asv what growth means."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asv.console import log
from asv.publishing import OutputPublisher

from nbbench.config import load_settings
from nbbench.errors import NbbenchError
from nbbench.metrics import Better, metric_of
from nbbench.model import SeriesKey


class OwnSite(OutputPublisher):  # type: ignore[misc]
    """Writes the site below html_dir; asv's own index moves aside, where the site leads to it.

    It comes before asv's list of regressions, for which every growth is one: series in which it is not
    (rates, ceilings, what nobody declared) are left out of that list and of its feed.
    """

    name = "nbbench"
    button_label = "Verdicts"
    description = "What changed and why, by nbbench"
    order = 2  # asv's list has 3

    @classmethod
    def publish(cls, conf: Any, repo: Any, benchmarks: Any, graphs: Any, revisions: Any) -> None:
        """Write the site; trouble with the database must not spoil asv's own pages."""
        from nbbench.cli.publish import ASV_PAGE, PAGE, write_site

        html = Path(conf.html_dir).resolve()
        try:
            settings = load_settings(Path.cwd())
            leave_out(conf, benchmarks, settings.directions)
            write_site(settings, html)
        except (NbbenchError, OSError) as error:
            log.warning(f"nbbench: no site: {error}")
            return
        link_from_index(html / ASV_PAGE, PAGE)
        land_from_error(html / "error.html", PAGE)


def leave_out(conf: Any, benchmarks: Any, declared: Mapping[str, Better]) -> None:
    """Keep series whose growth is no regression out of asv's list, by asv's own setting for that."""
    first_commits = dict(conf.regressions_first_commits)
    for name, one in benchmarks.items():
        key = SeriesKey(name, "", (), "", "")
        if metric_of(key, one.get("unit", ""), one.get("type", ""), declared).better is not Better.LOWER:
            first_commits[rf"{re.escape(name)}(\(|@|$)"] = None  # asv: never look for regressions
    conf.regressions_first_commits = first_commits


def link_from_index(index: Path, page: str) -> None:
    """Put a link to `page` into asv's own page, whose navigation is fixed in its JavaScript."""
    if not index.is_file():
        return
    text = index.read_text(encoding="utf-8")
    link = (
        f'<a href="{page}" style="position:fixed;right:1em;bottom:1em;z-index:1000;padding:.4em .8em;'
        'background:#a33;color:#fff;border-radius:4px;text-decoration:none">verdicts, all offline</a>'
    )
    index.write_text(text.replace("</body>", f"{link}</body>", 1), encoding="utf-8")


def land_from_error(error_page: Path, page: str) -> None:
    """Lead from asv's error page, where its own pages go without a network, to `page` with a word why."""
    lead = f'<meta http-equiv="refresh" content="0; url={page}#asv-offline">'
    said = "<title>asv's graphs need a network</title>asv's graphs load their libraries from the network."
    error_page.write_text(f'<!doctype html><meta charset="utf-8">{lead}{said}\n', encoding="utf-8")
