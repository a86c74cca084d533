"""Options and values that several commands take."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import click

from nbbench.cli.app import App
from nbbench.errors import UsageError


def pattern(text: str, option: str = "--bench") -> re.Pattern[str]:
    """A regular expression given by the user. Raises UsageError for a malformed one."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} is not a regular expression: {text!r} ({error})") from error


def plan_item(app: App, name: str | None) -> str:
    """The plan item that a command works on. Raises UsageError for one that nobody knows."""
    if name is None or name == app.settings.plan:
        return app.settings.plan
    from nbbench.plan.plans import find_plan  # a tenth of a command that finds nothing new

    return find_plan(app.settings, name).id


def folder(text: str, hint: str) -> Path:
    """A folder that the user named. Raises UsageError where it is none."""
    path = Path(text)
    if not path.is_dir():
        raise UsageError(f"{text} is not a folder", hint=hint)
    return path


def in_a_folder(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """The file that an option names, refused before anything is measured where it cannot be written."""
    if value in (None, "-"):
        return value
    from nbbench.record.atomic import host_error

    path = Path(value)
    if not path.parent.is_dir():
        raise host_error(path, OSError(errno.ENOENT, ""))
    if not os.access(path.parent, os.W_OK):
        raise host_error(path, OSError(errno.EACCES, ""))
    return value


def _judged(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj.override(project=value)


project_option = click.option(
    "--project",
    metavar="NAME",
    expose_value=False,
    callback=_judged,
    help="Judge an imported project's results (default: this project's).",
)
machine_option = click.option(
    "--machine", metavar="NAME", help="Whose figures (default: this machine's, or the only ones)."
)
device_option = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    help="What computes (default: NBBENCH_DEVICE, else cpu). A GPU's results are of a machine of their own.",
)
plan_option = click.option("--plan", metavar="ITEM", help="Plan item (default: the setting plan).")
dask_option = click.option(
    "--dask",
    metavar="ADDRESS|local:N|slurm:N",
    help="Measure on the workers of a Dask cluster (docs/cluster.md).",
)
markdown_option = click.option(
    "--markdown",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    callback=in_a_folder,
    help="The report as Markdown, instead of the text or into FILE. Put it last.",
)
