"""`nbbench db info|rebuild|url`."""

from __future__ import annotations

import click

from nbbench.cli.app import App


@click.group()
def db() -> None:
    """Look after the regression database."""


@db.command()
@click.pass_obj
def info(app: App) -> None:
    """Say where the database is and what it holds."""
    from nbbench.collect.redact import redact_text
    from nbbench.pipeline.history import open_store
    from nbbench.report.text import table

    with open_store(app.settings, create=False) as store:
        counts = store.counts()
        ran = store.run_info()
    url = redact_text(app.settings.database_url)
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in counts.items()]
    text = f"{url}\n\n{table(['table', 'rows'], rows, right=(1,))}"
    app.emit("db", {"url": url, "counts": counts, "detect": ran}, text)


@db.command()
@click.pass_obj
def rebuild(app: App) -> None:
    """Import everything under results/ and detect again (a deleted database loses nothing)."""
    from nbbench.cli.import_ import summary
    from nbbench.pipeline.history import detect_events, import_all, open_store

    with open_store(app.settings) as store:
        report = import_all(app.settings, store)
        events = detect_events(app.settings, store)
    app.emit(
        "rebuild",
        {"files": report.files_new, "events": len(events)},
        f"{summary(report)}\n{len(events)} events",
    )
