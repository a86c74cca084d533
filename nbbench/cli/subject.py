"""`nbbench subject demo|use|show|c-reference`."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbbench.cli.app import App
from nbbench.config import Settings
from nbbench.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from nbbench.measure.reference import ReferenceProgram
    from nbbench.subject.repository import Subject


@click.group()
def subject() -> None:
    """Register the repository that is measured; one at a time."""


@subject.command()
@click.pass_obj
def demo(app: App) -> None:
    """Write the embedded subject (a small real git history) and register it."""
    from nbbench.record.branch import read_commits
    from nbbench.subject.repository import register

    history = demo_history(app.settings)
    if app.settings.branch != history.BRANCH:
        raise ConfigError(
            f"the embedded subject has branch {history.BRANCH}, the settings say {app.settings.branch}"
        )
    kept = {commit.hash for commit in read_commits(app.settings)}
    if kept and not kept & {event.hash for event in history.PLANTED}:
        raise UsageError(
            f"the results here are of another history ({len(kept)} commits in results/commits.jsonl)",
            hint="`nbbench demo` works in a folder of its own, and `--root demo` continues there",
        )
    path = app.settings.state_dir / "demo-subject"
    history.write_demo(path)
    _describe(app, register(app.settings, path.resolve()))


def demo_history(settings: Settings) -> Any:
    """The module of the profile's embedded history. Raises UsageError where the subject has none."""
    from nbbench.subject.profile import load_profile

    if name := load_profile(settings).demo:
        return importlib.import_module(name)
    raise UsageError(
        "this subject has no embedded history", hint="register a clone: nbbench subject use PATH"
    )


@subject.command()
@click.argument("source", metavar="PATH|URL")
@click.pass_obj
def use(app: App, source: str) -> None:
    """Register a clone of the subject (used in place, never written to), or clone a URL.

    Dependencies that the profile names by URL are cloned, or fetched, too.
    """
    from nbbench.subject.git import is_url
    from nbbench.subject.profile import dependencies
    from nbbench.subject.repository import register

    for one in dependencies(app.settings):
        if is_url(one.repository) and not (app.settings.root / one.repository).exists():
            clone_of(app, app.settings, one.repository)
    _describe(app, register(app.settings, clone_of(app, app.settings, source)))


def clone_of(app: App, settings: Settings, source: str) -> Path:
    """The repository at a path, or a clone of a URL below the state folder. Raises UsageError for neither."""
    from nbbench.subject.git import is_url, url_without_login
    from nbbench.subject.repository import clone
    from nbbench.words import escaped

    path = Path(source).expanduser()
    if not path.exists() and is_url(source):
        app.say(f"cloning {escaped(url_without_login(source))} …")
        path = clone(settings, source)
    if not path.exists():
        raise UsageError(
            f"{url_without_login(str(path))} does not exist", hint="give the path of a clone, or its URL"
        )
    return path.resolve()


@subject.command()
@click.pass_obj
def show(app: App) -> None:
    """Say what is registered."""
    from nbbench.subject.repository import open_subject

    _describe(app, open_subject(app.settings))


@subject.group("c-reference")
def c_reference() -> None:
    """The program that criteria compare with, such as a C original; runs find it by themselves."""


@c_reference.command()
@click.argument("commit", required=False)
@click.pass_obj
def build(app: App, commit: str | None) -> None:
    """Compile it from COMMIT's own source (default: the branch's newest) into the state folder."""
    from nbbench.measure.reference import build_reference

    _tell_reference(app, build_reference(app.settings, commit or ""))


@c_reference.command("use")
@click.argument("path", type=click.Path(path_type=Path))
@click.pass_obj
def use_program(app: App, path: Path) -> None:
    """Compare with the program at PATH, which was built elsewhere."""
    from nbbench.measure.reference import use_reference

    _tell_reference(app, use_reference(app.settings, path))


def _tell_reference(app: App, program: "ReferenceProgram") -> None:
    made = f"\nbuilt     {program.commit[:8]} by {program.compiler}, {' '.join(program.flags)}"
    text = f"program   {program.path}\nsha256    {program.sha256}{made if program.commit else ''}"
    app.emit("c-reference", program, text)


def _describe(app: App, registered: "Subject") -> None:
    from nbbench.subject.dependencies import count_pins
    from nbbench.subject.git import url_without_login
    from nbbench.subject.repository import list_commits
    from nbbench.words import escaped

    commits = list_commits(registered)
    payload: dict[str, Any] = {
        "source": registered.source,
        "branch": registered.branch,
        "measured_path": registered.measured_path,
        "commits": len(commits),
        "tip": commits[-1].hash if commits else None,
        "dependencies": [
            {
                "name": one.name,
                "repository": url_without_login(one.repository),
                "place": one.place,
                **count_pins(registered.git_dir, one, [commit.hash for commit in commits]),
            }
            for one in registered.dependencies
        ],
    }
    newest = f", newest {commits[-1].short} ({commits[-1].subject[:60]})" if commits else ""
    text = (
        f"subject   {registered.source}\nbranch    {registered.branch}\n"
        f"measured  {registered.measured_path}: {len(commits)} commits differ{newest}"
    )
    for told in payload["dependencies"]:
        text += "\n" + escaped(
            f"with      {told['name']} of {told['repository']} in {told['place']}: "
            f"{told['pinned']} commits pin {told['pins']}, of which {told['missing']} cannot be had"
        )
    app.emit("subject", payload, text)
