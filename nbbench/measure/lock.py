"""One measuring process at a time: two would spoil each other's figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nbbench.errors import HostError

LOCK_HELD = "NBBENCH_MEASURING"
"""Set to 1 for an asv that a holder of the lock started."""


@contextmanager
def measuring(state_dir: Path) -> Iterator[None]:
    """Hold the project's measuring lock. Raises HostError when another process holds it."""
    state_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state_dir / "measuring.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HostError(
            "another nbbench is measuring in this project",
            hint="wait for it: two measurements at once spoil each other",
        ) from error
    try:
        yield
    finally:
        lock.release()
