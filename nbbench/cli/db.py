"""`nbbench db info|rebuild`."""

import click

from nbbench.cli.app import App


@click.group()
def db() -> None:
    """Look after the regression database."""


@db.command()
@click.pass_obj
def info(app: App) -> None:
    """Say where the database is and what it holds, of which projects and folders."""
    from nbbench.record.redact import redact_text
    from nbbench.record.refresh import open_store
    from nbbench.report.run_view import database_blocks

    url = redact_text(app.settings.database_url)
    with open_store(app.settings, create=False) as store:
        counts, ran, places = store.counts(), store.run_info(), store.places()
    payload = {"url": url, "counts": counts, "detect": ran, "places": [list(place) for place in places]}
    app.report("db", payload, database_blocks(url, counts, places))


@db.command()
@click.pass_obj
def rebuild(app: App) -> None:
    """Make the database anew from this project's results; nothing of the old one is trusted.

    What was imported from elsewhere is named, to be imported again. A damaged file, and one that a newer
    nbbench wrote, is moved aside and kept.
    """
    from nbbench.cli.import_ import import_text
    from nbbench.history.history import detect_events
    from nbbench.record.refresh import one_rebuild, open_store
    from nbbench.record.refresh import rebuild as make_anew
    from nbbench.words import escaped, plural

    with one_rebuild(app.settings):
        done = make_anew(app.settings)
        with open_store(app.settings) as store:
            events = detect_events(app.settings, store)
    lines = [f"{done.reason}; it is now {done.moved}"] if done.moved else []
    lines += ["all tables made anew", import_text(done.report)]
    lines += [
        f"`nbbench import {escaped(place)}` brings back what came from there" for place in done.left_out
    ]
    lines.append(plural(len(events), "event"))
    payload = {
        "files": done.report.files_new,
        "events": len(events),
        "left_out": list(done.left_out),
        "moved": str(done.moved) if done.moved else None,
    }
    app.emit("rebuild", payload, "\n".join(lines), version=2)
