"""The `nbbench` command. Each command is one small file, imported only when it is called."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Entry point of the console script: run, and turn every error into one sentence and a code."""
    from nbbench.cli.app import run
    from nbbench.cli.streams import prepare

    prepare()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's choice stays
            signal.signal(number, _interrupt)
    sys.exit(run(sys.argv[1:]))


def _interrupt(number: int, frame: object) -> None:
    """A polite kill ends a command as an interrupt does: tidied up, exit 130."""
    raise KeyboardInterrupt
