"""The streams of results and progress: UTF-8, always open, and not missed when their reader leaves."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.words import for_terminal

if TYPE_CHECKING:
    from nbbench.report.text import Terminal


def prepare_streams() -> None:
    """Make the standard streams safe to write to, for this process and those that it starts.

    Text and JSON are UTF-8 whatever the locale, as git's are: a locale that lacks an arrow must not
    end a measurement. A closed standard descriptor is opened on /dev/null, since the next file
    opened would take its number and get what is meant for people.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def put(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print on stdout or stderr, without anything that could repaint a terminal.

    When the reader has gone (`| head`), what follows is dropped: the command ends its work, and its
    exit code is that of the work. So is progress that cannot be written (a full disk); a result that cannot
    be is an error.
    """
    with suppressed(err=err):
        click.echo(for_terminal(text), nl=nl, err=err)


@contextlib.contextmanager
def suppressed(*, err: bool) -> Iterator[None]:
    """Let what is written to stderr never fail, and what is written to stdout only for more than a reader
    who left."""
    try:
        yield
    except BrokenPipeError:
        drop(err=err)
    except OSError:
        if not err:
            raise
        drop(err=True)


def drop(*, err: bool) -> None:
    """Send what is still written to stdout or stderr nowhere."""
    stream = sys.stderr if err else sys.stdout
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor, or closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def terminal() -> "Terminal":
    """The terminal behind stdout, or a plain pipe."""
    from nbbench.report.text import terminal_for

    return terminal_for(sys.stdout, os.environ)
