"""Signals that ask a command to end: one rule for all commands.

SIGINT, SIGTERM and SIGHUP are raised where the command is at work, so that it cleans up on its way out: it
lets go of locks, ends its processes, imports what is finished. The exit code is 128 and the signal's number.
Whoever is impatient sends another SIGINT, or SIGKILL, which nothing catches and which leaves no process
behind either.
"""

import contextlib
import signal
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A polite signal other than SIGINT; it passes wherever an interrupt of the keyboard does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def end_politely() -> None:
    """Raise SIGTERM and SIGHUP in the main thread from now on; ignored ones (nohup) stay ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # not the main thread
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _raise)


def interrupt_code(error: BaseException) -> int:
    """The code of a command that an interrupt ended; click wraps it into its own."""
    found = error if isinstance(error, Interrupted) else error.__cause__
    return 128 + (found.number if isinstance(found, Interrupted) else signal.SIGINT)


def _raise(number: int, frame: FrameType | None) -> None:
    # The same signal again must not break the cleaning up. No SIG_IGN: children would inherit it.
    signal.signal(number, lambda *_: None)
    raise Interrupted(number)
