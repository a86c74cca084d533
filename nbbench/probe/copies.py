"""Copies of a process that the subject forks and does not end. Needs the standard library only."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import TypeVar

_Answer = TypeVar("_Answer")

_MOST_COPIES = 256  # what the processes may fork that a child forked
_WORD = 8
_leave = os._exit


def alone(call: Callable[[], _Answer]) -> _Answer:
    """What a call of the subject returns; a process that it forked and did not end stops here.

    Such a copy would go on in the loop that it came from, and be doubled by each further run.
    """
    pid = os.getpid()
    try:
        return call()
    finally:
        if os.getpid() != pid:
            _leave(0)


def limit_copies() -> None:
    """From now on what this process forks may fork 256 times in all; beyond that, a child ends at once.

    A pool of processes needs no more. A program that forks in a loop and ends nothing would fill the machine.
    """
    _COPIES.begin()


class _Copies:
    """Counts what the children of this process fork."""

    def __init__(self) -> None:
        self._depth = 0
        self._forks: mmap.mmap | None = None

    def begin(self) -> None:
        if self._forks is None:
            os.register_at_fork(after_in_child=self._forked)
        self._depth, self._forks = 0, mmap.mmap(-1, _WORD)  # all that are forked share it

    def _forked(self) -> None:
        self._depth += 1
        if self._depth > 1 and self._forks is not None:
            forks = int.from_bytes(self._forks[:_WORD], "little") + 1
            self._forks[:_WORD] = forks.to_bytes(_WORD, "little")
            if forks > _MOST_COPIES:
                _leave(0)


_COPIES = _Copies()
