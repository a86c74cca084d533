"""`nbbench view DIR|URL`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError

if TYPE_CHECKING:
    from nbbench.record.store import Store

_STAMP = "view.txt"


@click.command()
@click.argument("source", metavar="DIR|URL")
@click.option(
    "--repo", metavar="PATH|URL", help="The project's repository: order, titles and links of commits."
)
@click.option("--out", metavar="DIR", help="Where the site goes (default: the user's cache folder).")
@click.option("--open", "opened", is_flag=True, help="Open the site in a browser.")
@click.pass_obj
def view(app: App, source: str, repo: str | None, out: str | None, opened: bool) -> None:
    """Look at any project's asv results: import, detect, write the site, name it.

    DIR is a results folder, or a folder that holds one; a URL is that of a git repository that does, which is
    cloned shallow. Nothing is written there and nothing of it runs. The database is kept in the user's cache
    folder, so a second call takes only what is new.

    Without --repo commits stand by their dates, and have no titles. A repository that was given once is
    remembered; give it again to take its new commits.
    """
    from dataclasses import asdict

    from nbbench.cli.import_ import check_import, import_text
    from nbbench.history.history import every_flag, up_to_date
    from nbbench.record.refresh import import_all, open_store
    from nbbench.record.viewed import view_settings
    from nbbench.report.events import headline

    settings = view_settings(source, repo, app.overrides.get("db"))
    html = _folder(settings, out)
    app.say(f"results of {settings.results_dir.resolve()}")
    with open_store(settings) as store:
        store.keeps_rows = False  # they take as long as all the rest, and SQL asks one's own database
        report = import_all(settings, store)
        text = import_text(report)
        check_import(app, report, text, settings.results_dir.resolve())
        _check_placed(settings, store, given=repo is not None)
        app.say(text)
        # the page reads the flags again: two of each are 20 MB of a large record
        said = headline(every_flag(store, up_to_date(settings, store), settings.plan), store.not_judged())
        _write(app, settings, store, html)
    page = html / "index.html"
    payload = {"site": str(page), "project": settings.project, "headline": said, "import": asdict(report)}
    app.emit("view", payload, f"{said}\n{page}")
    if opened:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _folder(settings: Settings, out: str | None) -> Path:
    """Where the site goes. Raises UsageError for a place that is somebody else's."""
    from nbbench.cli.publish import FILES, PAGE

    if out is None:
        return settings.html_dir
    html, results = Path(out).expanduser(), settings.results_dir.resolve()
    if html.resolve().is_relative_to(results):
        raise UsageError("--out lies in the results, where nothing is written", hint="choose another folder")
    if html.exists() and not html.is_dir():
        raise UsageError(f"--out {out} is not a folder", hint="choose another one")
    if (html / PAGE).exists() and not (html / FILES).is_dir():
        raise UsageError(f"--out {out} holds another {PAGE}", hint="choose an empty folder")
    return html


def _check_placed(settings: Settings, store: "Store", *, given: bool) -> None:
    """Raises InconclusiveError where a repository is known, and no commit with results is of its branch. One
    that was given by mistake is not remembered."""
    from nbbench.record.viewed import forget_repository
    from nbbench.words import plural

    placed = {commit.hash for commit in store.commits()}
    measured = store.measured_commits()
    if settings.branch and not any(commit.hash in placed for commit in measured):
        if given:
            forget_repository(settings)
        raise InconclusiveError(
            f"none of the {plural(len(measured), 'commit')} with results is of the branch {settings.branch}",
            hint="is --repo the repository of these results, with all of its history?",
        )


def _write(app: App, settings: Settings, store: "Store", html: Path) -> None:
    """Write the site, unless the one that is there shows the same."""
    from nbbench import __version__
    from nbbench.cli.publish import FILES, PAGE, write_site
    from nbbench.record.atomic import write_text

    shown = f"{__version__} {store.run_info().get('detected_at')} {len(store.decisions())} {store.placed()}"
    stamp = html / FILES / _STAMP
    if (html / PAGE).is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == shown:
        app.say("nothing is new: the site is as it was")
        return
    app.say("writing the site …")
    write_site(settings, html, commands=False)
    write_text(stamp, shown)
