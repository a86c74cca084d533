"""`nbbench completion SHELL`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nbbench.cli.app import App
from nbbench.cli.streams import put


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(app: App, shell: str) -> None:
    """Print the completion script: add `eval "$(nbbench completion bash)"` to ~/.bashrc."""
    from nbbench.cli.app import cli

    found = get_completion_class(shell)
    assert found is not None
    put(found(cli, {}, "nbbench", "_NBBENCH_COMPLETE").source())
