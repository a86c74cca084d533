"""`nbbench db info|rebuild|folders`."""

from __future__ import annotations

from pathlib import Path

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
    from nbbench.report.text import table

    with open_store(app.settings, create=False) as store:
        counts = store.counts()
        ran = store.run_info()
        places = store.places()
    url = redact_text(app.settings.database_url)
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in counts.items()]
    held = [
        [project, place.partition(":")[2] or "the results beside the database"] for project, place in places
    ]
    text = f"{url}\n\n{table(['table', 'rows'], rows, right=(1,))}"
    text += f"\n\n{table(['project', 'imported from'], held)}" if held else ""
    payload = {"url": url, "counts": counts, "detect": ran, "places": [list(place) for place in places]}
    app.emit("db", payload, text)


@db.command()
@click.pass_obj
def rebuild(app: App) -> None:
    """Make the database anew from this project's results; nothing of the old one is trusted.

    What was imported from elsewhere is named, to be imported again. A damaged file, and one that a newer
    nbbench wrote, is moved aside and kept.
    """
    from nbbench.cli.import_ import summary
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
    lines += ["all tables made anew", summary(done.report)]
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
@click.option("--figures", "pattern_text", metavar="REGEX", help="Show the figures whose names match, too.")
@click.option(
    "--scan", metavar="DIR", type=click.Path(path_type=Path), help="Register the folders below DIR first."
)
@click.option("--forget", metavar="PATH", help="Forget a folder (as listed); its files stay.")
@click.pass_obj
def folders(app: App, pattern_text: str | None, scan: Path | None, forget: str | None) -> int:
    """List the registered evidence folders, and whether their files are still what they were.

    A folder is whole, changed (its files no longer match sha256.txt, or sha256.txt is another)
    or missing. Exit code 4 when one is not whole. What lies below the reports roots that were
    used here is registered first, with --scan what came from elsewhere too.
    """
    from nbbench.cli.options import pattern
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
    from nbbench.evidence import FolderState
    from nbbench.model import to_plain
    from nbbench.record.folders import folder_state, register_all
    from nbbench.record.refresh import open_store
    from nbbench.report.folders import folders_text
    from nbbench.words import plural

    wanted = pattern(pattern_text, "--figures") if pattern_text else None
    if scan is not None and not scan.is_dir():
        raise UsageError(f"{scan} is not a folder")
    with open_store(app.settings, create=scan is not None) as store:
        if scan is not None:
            app.say(f"{plural(register_all(app.settings, store, scan), 'evidence folder')} registered")
        if forget is None:
            register_all(app.settings, store)  # a database made anew knows none yet
        if forget is not None and not store.forget_folder(forget):
            raise UsageError(f"no folder {forget} is registered", hint="`nbbench db folders` lists the paths")
        found = [(folder, *folder_state(app.settings, folder)) for folder in store.folders()]
    payload = [{**to_plain(folder), "state": str(state), "problems": told} for folder, state, told in found]
    app.emit("folders", payload, folders_text(found, wanted))
    damaged = any(state is not FolderState.WHOLE for _, state, _ in found)
    return EXIT_INCONCLUSIVE if damaged else EXIT_OK
