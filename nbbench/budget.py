"""A budget of time that holds whatever is under way when it ends: a start, a recording, a confirmation."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

BUDGET_GRACE_S = 4.0
"""Seconds that what is under way may take beyond the budget. Ending its processes takes five more at most, so
that a command ends within ten seconds of its budget."""


class BudgetSpentError(Exception):
    """The budget ended while something was under way.

    It is no error of nbbench's own kind, which say what went wrong and are caught on the way: whoever holds a
    budget catches it and reports what was found out until then.
    """


@dataclass(frozen=True, slots=True)
class Budget:
    """So many seconds from now on, by a clock that tests replace."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _started: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_started", self.clock())

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self.clock() - self._started

    @property
    def left_s(self) -> float:
        """Seconds that are left, never below zero."""
        return max(self.seconds - self.elapsed_s, 0.0)

    @property
    def spent(self) -> bool:
        """Whether nothing more may begin."""
        return self.left_s <= 0.0

    def share(self, part: float) -> "Budget":
        """A budget of this part of what is left, which ends before this one."""
        return Budget(self.left_s * part, self.clock)


@contextmanager
def held(budget: Budget, grace_s: float = BUDGET_GRACE_S) -> Iterator[None]:
    """Raise BudgetSpentError in what the block is doing when the budget and `grace_s` are over.

    Works by a signal, so in the main thread alone; elsewhere the block has to look at the budget itself. An
    alarm that was set before comes at its own time.
    """
    if threading.current_thread() is not threading.main_thread() or math.isinf(budget.seconds):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise BudgetSpentError(f"the budget of {budget.seconds:.0f} s ended while this was under way")

    before = signal.signal(signal.SIGALRM, ring)
    started = time.monotonic()
    earlier_s, _ = signal.setitimer(signal.ITIMER_REAL, budget.left_s + grace_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if earlier_s:
            signal.setitimer(signal.ITIMER_REAL, max(earlier_s - (time.monotonic() - started), 0.001))
