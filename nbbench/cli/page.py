"""The offline page of regressions, for `asv publish` and `nbbench publish` alike."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from nbbench.config import Settings
from nbbench.history.history import current_flags, up_to_date
from nbbench.record.branch import subject_or_none
from nbbench.record.refresh import open_store
from nbbench.report.site import render_site

PAGE = "nbbench-regressions.html"


def page_text(settings: Settings) -> str:
    """The page's HTML, the database brought up to date first.

    Raises InconclusiveError when there is nothing to show.
    """
    with open_store(settings) as store:
        flags = current_flags(store, up_to_date(settings, store), settings.plan)
        series = store.series(samples=False)
        commits = store.commits()
    subject = subject_or_none(settings)
    source = f"branch {settings.branch}" + (f" of {_name(Path(subject.source))}" if subject else "")
    return render_site(
        flags,
        series,
        commits,
        title=f"Regressions of {settings.branch} for {settings.plan}",
        source=source,
        generated_at=datetime.now(UTC),
    )


def _name(git_dir: Path) -> str:
    """The clone's folder, whether its git directory is inside or it is bare."""
    return git_dir.parent.name if git_dir.name == ".git" else git_dir.name.removesuffix(".git")
