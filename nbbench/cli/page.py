"""The page of regressions from the database: used by `asv publish` and `nbbench publish` alike."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from nbbench.cli.app import App
from nbbench.cli.session import current_flags, open_store, subject_or_none, up_to_date
from nbbench.errors import InconclusiveError
from nbbench.report.site import render_site


def page_text(root: Path, db: str | None = None) -> str:
    """The offline HTML page for the project at `root`, its database brought up to date first.

    Raises InconclusiveError when there is nothing to show.
    """
    app = App(root=str(root), overrides={"db": db} if db else {}, quiet=True)
    with open_store(app) as store:
        flags = current_flags(store, up_to_date(app, store), app.settings.plan)
        series = store.series(samples=False)
        commits = store.commits()
    if not series:
        raise InconclusiveError("there are no results to show", hint="run `nbbench run` first")
    subject = subject_or_none(app)
    source = f"branch {app.settings.branch}" + (f" of {Path(subject.source).name}" if subject else "")
    return render_site(
        flags,
        series,
        commits,
        title=f"Regressions of {app.settings.branch} for {app.settings.plan}",
        source=source,
        generated_at=datetime.now(UTC),
    )
