"""What the kernel says of processes and of the machine; warm servers import it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil

from nbbench.probe.resources import run_delay

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def machine_times() -> tuple[float, float]:
    """Seconds of CPU time that the whole machine was busy, and that was stolen from it.

    Guest time is part of user time already.
    """
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq, times.steal


def watch_started() -> Callable[[], float]:
    """From now on, each process that `subprocess` starts here is looked at when it has ended, before it is
    reaped; gives what says how many seconds those that ended so far were ready but waited for a core."""
    waited = [0.0]

    class Watched(subprocess.Popen[Any]):
        def wait(self, timeout: float | None = None) -> int:
            if timeout is None and self.returncode is None:
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
                    waited[0] += run_delay(self.pid)
            return super().wait(timeout)

    subprocess.Popen = Watched  # type: ignore[misc]
    return lambda: waited[0]


def is_stopped(pid: int) -> bool:
    """Whether somebody stopped the process (SIGSTOP), so that it answers nobody."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def wake(pid: int) -> bool:
    """Let a process go on that somebody stopped, and say whether one did: waiting for it would never end."""
    if not is_stopped(pid):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    return True


@contextlib.contextmanager
def kept_awake(pid: int, every_s: float = 1.0) -> Iterator[None]:
    """Look at a process every second, and let it go on where somebody stopped it."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(every_s):
            wake(pid)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def children() -> list[int]:
    """Processes whose parent is this one; none where the kernel does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
            return [int(pid) for pid in stream.read().split()]
    except OSError:
        return []


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent (the thread that started it) ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, whatever session it began."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_children(keep: frozenset[int] = frozenset(), *, limit_s: float = 2.0) -> None:
    """Kill and reap all children but `keep`, and whatever they leave to an adopter, for `limit_s` at most.

    A process that the kernel holds (waiting for a device) is left behind then.
    """
    end = time.monotonic() + limit_s
    while (left := [pid for pid in children() if pid not in keep]) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.001)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value)
