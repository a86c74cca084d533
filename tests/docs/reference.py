"""`python -m tests.docs.reference`: docs/cli.md, written from the commands' own help."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import click

from nbbench.cli.app import EXIT_CODES, cli, common_options

_INTRO = """\
# Command line

<!-- Written by `python -m tests.docs.reference > docs/cli.md` (`make docs`); a test keeps it up to date. -->
"""
_SIGNALS = """\
Every command ends by one rule when a signal asks it to. It lets go of its locks, ends the processes that it
started, and keeps what is finished. The code is 128 and the signal's number. `nohup` keeps SIGHUP ignored.
"""
_COMMON = """\
## Common options

Every command takes them. Results go to stdout, progress and errors to stderr. An error is one
sentence with a hint below it; with `--json` it is a JSON document on stdout as well. The documents have
[schemas](schemas/README.md).
"""


def reference() -> str:
    """The whole reference as Markdown."""
    root = click.Context(cli, info_name="nbbench", **cli.context_settings)
    blocks = [
        _INTRO,
        *_head(cli, root),
        _exit_codes(),
        _COMMON,
        _list("Options", _records(common_options(), root)),
    ]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        blocks += _command(command, click.Context(command, parent=root, info_name=name), level=2)
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    yield from _head(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, parent=context, info_name=name), level + 1)


def _head(command: click.Command, context: click.Context) -> Iterator[str]:
    """Usage, help text, arguments, and the options that not every command has."""
    yield f"```\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```"
    yield _prose(command.help or "")
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    rows = [
        (" ".join(p.get_usage_pieces(context)), "required" if p.required else "optional") for p in arguments
    ]
    yield _list("Arguments", rows)
    common = {name for option in common_options() for name in option.opts}
    own = [p for p in command.get_params(context) if isinstance(p, click.Option) and not common & set(p.opts)]
    yield _list(
        "Options", _records([p for p in own if "--help" not in p.opts or context.parent is None], context)
    )


def _prose(text: str) -> str:
    """A help text without click's marks."""
    lines = [line for line in inspect.cleandoc(text).splitlines() if line.strip() != "\b"]
    return "\n".join(line.replace("<", "&lt;") if "`" not in line else line for line in lines)


def _exit_codes() -> str:
    """The codes that `nbbench --help` lists, as a list."""
    return "\n\n".join(
        [
            "## Exit codes and signals",
            _list("Codes", [(str(c), text) for c, text in EXIT_CODES.items()]),
            _SIGNALS,
        ]
    )


def _records(options: Iterable[click.Option], context: click.Context) -> list[tuple[str, str]]:
    found = [option.get_help_record(context) for option in options]
    return [(names, " ".join(text.split())) for names, text in filter(None, found)]


def _list(head: str, rows: Sequence[tuple[str, str]]) -> str:
    """What each argument, option or code means, one an item; nothing without rows."""
    items = [f"- `{name}`: {text}" for name, text in rows]
    wrapped = [
        textwrap.fill(one, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for one in items
    ]
    return "\n".join([f"{head}:\n", *wrapped]) if rows else ""


if __name__ == "__main__":
    click.echo(reference(), nl=False)
