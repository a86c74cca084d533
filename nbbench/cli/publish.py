"""`nbbench publish`, and the offline page of regressions for `asv publish` alike."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.cli.options import project_option
from nbbench.errors import InconclusiveError

if TYPE_CHECKING:
    from nbbench.config import Settings

PAGE = "nbbench-regressions.html"


@click.command()
@project_option
@click.option("--page-only", is_flag=True, help="Only the offline page of regressions, without asv's graphs.")
@click.pass_obj
def publish(app: App, page_only: bool) -> None:
    """Write asv's HTML below html/ and, with it, the offline page of flagged regressions.

    asv's own pages load their libraries from the network; the page of regressions opens from
    disk, and without JavaScript lacks nothing but its figures.
    """
    from nbbench.measure.asv_run import run_asv

    html = app.settings.html_dir
    if page_only or app.settings.project:  # asv knows this project's results only
        html.mkdir(parents=True, exist_ok=True)
        write_page(html / PAGE, page_text(app.settings))
    else:
        if not any(path.is_file() for path in app.settings.results_dir.glob("*/*-*.json")):
            raise InconclusiveError(
                "there are no results to publish", hint="measure with `nbbench run` first"
            )
        app.say("asv publish …")
        run_asv(app.settings, ["publish"])
    paths = [html / name for name in ("index.html", PAGE)]
    wrote = [str(path.relative_to(app.settings.root)) for path in paths if path.is_file()]
    app.emit("publish", {"wrote": wrote}, "\n".join(f"wrote {name}" for name in wrote))


def write_page(path: Path, text: str) -> None:
    """Write a page, and Plotly's JavaScript beside it, which its figures need."""
    from nbbench.record.atomic import write_text
    from nbbench.report.html import PLOTLY

    write_text(path, text)
    found = importlib.util.find_spec("plotly")  # its Python code is not loaded
    assert found is not None and found.submodule_search_locations
    source = Path(found.submodule_search_locations[0]) / "package_data" / PLOTLY
    target = path.parent / PLOTLY
    if not target.is_file() or target.stat().st_size != source.stat().st_size:
        shutil.copyfile(source, target)


def page_text(settings: Settings) -> str:
    """The page's HTML, the database brought up to date first.

    It is titled by the branch and the plan item where this project has one, else by the project. Raises
    InconclusiveError when there is nothing to show.
    """
    from nbbench.history.history import current_flags, nothing_judged, up_to_date
    from nbbench.model import EventDirection, Flag, FlagState
    from nbbench.plan.plans import plans
    from nbbench.record.branch import subject_or_none
    from nbbench.record.projects import own_project
    from nbbench.record.refresh import open_store
    from nbbench.report.site import render_site

    with open_store(settings) as store:
        events = up_to_date(settings, store)
        flags = current_flags(store, events, settings.plan)
        series, commits, not_judged = store.series(samples=False), store.commits(), store.not_judged()
        project, nothing = store.project, nothing_judged(store)
    own, name = project == own_project(settings), project
    planned = own and settings.plan in plans(settings)
    if own and (subject := subject_or_none(settings)) is not None:
        clone = Path(subject.source)
        name = clone.parent.name if clone.name == ".git" else clone.name.removesuffix(".git")
    undirected = (event for event in events if event.direction is EventDirection.CHANGE)
    flags = [flag if planned else replace(flag, plan="") for flag in flags]
    return render_site(
        [*flags, *(Flag(event, "", FlagState.DETECTED) for event in undirected)],
        series,
        commits,
        not_judged=not_judged,
        nothing=nothing,
        title=f"Regressions for {settings.plan}" if planned else f"Changes of {project}",
        source=f"branch {settings.branch} of {name}" if own else f"project {project}",
        generated_at=datetime.now(UTC),
        trees={commit.hash for commit in commits if commit.tree},
    )
