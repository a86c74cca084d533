"""`nbbench db info|rebuild|folders`."""

from __future__ import annotations

import click

from nbbench.cli import options
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
    from nbbench.report.records import database_blocks

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
    from nbbench.record.folders import register_all
    from nbbench.record.refresh import open_store
    from nbbench.record.refresh import rebuild as make_anew
    from nbbench.words import escaped, plural

    done = make_anew(app.settings)
    with open_store(app.settings) as store:
        folders = register_all(app.settings, store)
        events = detect_events(app.settings, store)
    lines = [f"{done.reason}; it is now {done.moved}"] if done.moved else []
    lines += ["all tables made anew", import_text(done.report)]
    lines += [
        f"`nbbench import {escaped(place)}` brings back what came from there" for place in done.left_out
    ]
    lines.append(f"{plural(len(events), 'event')}, {plural(folders, 'evidence folder')} registered")
    payload = {
        "files": done.report.files_new,
        "events": len(events),
        "folders": folders,
        "left_out": list(done.left_out),
        "moved": str(done.moved) if done.moved else None,
    }
    app.emit("rebuild", payload, "\n".join(lines))


@db.command()
@click.option("--scan", metavar="DIR", help="Register the folders below DIR first.")
@click.option("--forget", metavar="PATH", help="Forget a folder (as listed); its files stay.")
@click.pass_obj
def folders(app: App, scan: str | None, forget: str | None) -> int:
    """List the registered evidence folders, and whether their files are still what they were.

    A folder is whole, changed (its files no longer match sha256.txt, or sha256.txt is another)
    or missing. Exit code 4 when one is not whole. What lies below the reports roots that were
    used here is registered first, with --scan what came from elsewhere too.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
    from nbbench.evidence import FolderState
    from nbbench.model import to_plain
    from nbbench.record.folders import folder_state, register_all
    from nbbench.record.refresh import open_store
    from nbbench.report.records import folders_blocks
    from nbbench.words import plural

    place = options.folder(scan, "give a folder that holds evidence") if scan is not None else None
    with open_store(app.settings, create=place is not None) as store:
        if place is not None:
            app.say(f"{plural(register_all(app.settings, store, place), 'evidence folder')} registered")
        if forget is None:
            register_all(app.settings, store)  # a database made anew knows none yet
        elif not store.forget_folder(forget):
            raise UsageError(f"no folder {forget} is registered", hint="`nbbench db folders` lists the paths")
        found = [(one, *folder_state(app.settings, one)) for one in store.folders()]
    payload = [{**to_plain(one), "state": str(state), "problems": told} for one, state, told in found]
    app.report("folders", payload, folders_blocks(found))
    damaged = any(state is not FolderState.WHOLE for _, state, _ in found)
    return EXIT_INCONCLUSIVE if damaged else EXIT_OK
