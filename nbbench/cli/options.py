"""Values that several commands take."""

from __future__ import annotations

import errno
import os
import re
import shlex
from pathlib import Path
from typing import Any

import click

from nbbench.errors import UsageError


def pattern(text: str, option: str = "--bench") -> re.Pattern[str]:
    """A regular expression given by the user. Raises UsageError for a malformed one."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} is not a regular expression: {text!r} ({error})") from error


def seconds(text: str | None) -> float | None:
    """A time given as 90s, 5m or 1h in seconds; UsageError when it is none."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--budget takes a time such as 90s or 5m, got {text!r}")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


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


def exactly(label: str) -> str:
    """A pattern that matches this series alone, quoted so that it can be pasted into a shell."""
    return shlex.quote(re.escape(label))
