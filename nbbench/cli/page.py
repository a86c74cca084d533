"""The offline page of regressions, for `asv publish` and `nbbench publish` alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from nbbench.config import Settings
from nbbench.history.history import current_flags, nothing_judged, up_to_date
from nbbench.model import EventDirection, Flag, FlagState
from nbbench.plan.plans import plans
from nbbench.record.branch import subject_or_none
from nbbench.record.projects import own_project
from nbbench.record.refresh import open_store
from nbbench.report.site import render_site

PAGE = "nbbench-regressions.html"


def page_text(settings: Settings) -> str:
    """The page's HTML, the database brought up to date first.

    It is titled by the branch and the plan item where this project has one, else by the project. Raises
    InconclusiveError when there is nothing to show.
    """
    with open_store(settings) as store:
        events = up_to_date(settings, store)
        flags = current_flags(store, events, settings.plan)
        series, commits, not_judged = store.series(samples=False), store.commits(), store.not_judged()
        project, nothing = store.project, nothing_judged(store)
    source = f"project {project}"
    planned = project == own_project(settings) and settings.plan in plans(settings)
    if project == own_project(settings) and (subject := subject_or_none(settings)) is not None:
        source = f"branch {settings.branch} of {_name(Path(subject.source))}"
    undirected = (event for event in events if event.direction is EventDirection.CHANGE)
    flags = [flag if planned else replace(flag, plan="") for flag in flags]
    return render_site(
        [*flags, *(Flag(event, "", FlagState.DETECTED) for event in undirected)],
        series,
        commits,
        not_judged=not_judged,
        nothing=nothing,
        title=f"Regressions of {settings.branch} for {settings.plan}" if planned else f"Changes of {project}",
        source=source,
        generated_at=datetime.now(UTC),
    )


def _name(git_dir: Path) -> str:
    """The clone's folder, whether its git directory is inside or it is bare."""
    return git_dir.parent.name if git_dir.name == ".git" else git_dir.name.removesuffix(".git")
