"""`nbbench subject demo|use|show`."""

from __future__ import annotations

from pathlib import Path

import click

from nbbench.cli.app import App


@click.group()
def subject() -> None:
    """Register the repository that is measured; one at a time."""


@subject.command()
@click.pass_obj
def demo(app: App) -> None:
    """Write the embedded subject (a small real git history) and register it."""
    from nbbench.subject.subjects.nanobragg.demo import write_demo

    _check_branch(app)
    path = app.settings.state_dir / "demo-subject"
    write_demo(path)
    _register(app, path)


@subject.command()
@click.argument("source", metavar="PATH|URL")
@click.pass_obj
def use(app: App, source: str) -> None:
    """Register a clone of nanoBragg (used in place, never written to), or clone a URL."""
    from nbbench.subject.repository import clone

    path = Path(source).expanduser()
    if not path.exists() and (":" in source or source.endswith(".git")):
        app.say(f"cloning {source} …")
        path = clone(app.settings, source)
    _register(app, path)


@subject.command()
@click.pass_obj
def show(app: App) -> None:
    """Say what is registered."""
    from nbbench.subject.repository import open_subject

    _describe(app, open_subject(app.settings))


def _check_branch(app: App) -> None:
    from nbbench.errors import ConfigError
    from nbbench.subject.subjects.nanobragg.demo import BRANCH

    if app.settings.branch != BRANCH:
        raise ConfigError(f"the embedded subject has branch {BRANCH}, the settings say {app.settings.branch}")


def _register(app: App, path: Path) -> None:
    from nbbench.errors import UsageError
    from nbbench.subject.repository import register

    if not path.exists():
        raise UsageError(f"{path} does not exist", hint="give the path of a clone, or its URL")
    _describe(app, register(app.settings, path.resolve()))


def _describe(app: App, registered: object) -> None:
    from nbbench.subject.repository import Subject, list_commits

    assert isinstance(registered, Subject)
    commits = list_commits(registered)
    payload = {
        "source": registered.source,
        "branch": registered.branch,
        "measured_path": registered.measured_path,
        "commits": len(commits),
        "tip": commits[-1].hash if commits else None,
    }
    text = (
        f"subject   {registered.source}\nbranch    {registered.branch}\n"
        f"measured  {registered.measured_path}: {len(commits)} commits differ"
        + (f", newest {commits[-1].short} ({commits[-1].subject[:60]})" if commits else "")
    )
    app.emit("subject", payload, text)
