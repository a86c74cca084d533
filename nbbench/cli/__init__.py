"""The `nbbench` command. Each command is one small file, imported only when it is called."""

import gc
import sys


def main() -> None:
    """Entry point of the console script: run, and turn every error into one sentence and a code."""
    gc.set_threshold(50_000)  # loading modules drops nothing: looking for it was a sixth of a short command
    from nbbench.cli.signals import end_politely, interrupt_code

    try:
        end_politely()
        from nbbench.cli.app import run
        from nbbench.cli.streams import prepare_streams

        prepare_streams()
        code = run(sys.argv[1:])
    except KeyboardInterrupt as error:  # before there is a command that could clean up, or after it has
        code = interrupt_code(error)
    sys.exit(code)
