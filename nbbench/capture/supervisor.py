"""A small process above one command: it ends everything that the command started, whatever happens.

`nbbench capture` starts it as `python -I -S supervisor.py SPEC`, in a session of its own, with two pipes. It
needs the standard library alone and stays small (docs/architecture.md).

The control pipe takes `i` (interrupt), `t` (terminate) and `k` (kill); when it closes, because
nbbench ended or was killed, everything is terminated, then killed. The report pipe gets one JSON line at the
end; this process then stays until the control pipe closes, and removes nbbench's scratch folder. The
supervisor adopts orphans (a subreaper), so that a daemon does not escape; if it is itself killed, the kernel
kills the command (parent-death signal).
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.02
_LONG_S = 3600.0
# Until now the command has ended; what it left behind gets this long before it is killed.
_LEFTOVER_GRACE_S = 0.5


def members(session: int) -> list[int]:
    """Process ids of the supervisor's session, and of those below it that left the session."""
    parents: dict[int, int] = {}
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        pid = int(folder.name)
        if fields[0] in (b"Z", b"X"):
            continue
        parents[pid] = int(fields[1])
        if int(fields[3]) == session:
            found.append(pid)
    known = {session, *found}
    while True:
        below = {pid for pid, parent in parents.items() if parent in known} - known
        if not below:
            return sorted(known - {session})
        known |= below


def send(session: int, number: int, spare: int = 0) -> int:
    """Signal every member but `spare`; returns how many there were."""
    reached = 0
    for pid in members(session):
        if pid != spare:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
                reached += 1
    return reached


class _Command:
    """One command from its start to the last of its processes."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.pid = os.getpid()
        self.control, self.grace_s = spec["control_fd"], spec["grace_s"]
        self.deadline = time.monotonic() + spec["timeout_s"]
        self.kill_at = float("inf")
        self.timed_out = self.orphaned = False
        # A process group of its own: `kill 0` in the command must not reach this process.
        self.child = subprocess.Popen(
            spec["command"], stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent, process_group=0
        )
        self.ended = os.pidfd_open(self.child.pid)  # readable when it has ended: waiting costs no time
        # GNU time must outlive the command that it reports on.
        self.spare = self.child.pid if spec["wrapped"] else 0

    def wait(self) -> tuple[int, Any]:
        """The command's wait status and resource use."""
        while True:
            pid, status, usage = os.wait4(self.child.pid, os.WNOHANG)
            if pid:
                return status, usage
            self._listen()
            now = time.monotonic()
            if now >= self.deadline and not self.timed_out:
                self.timed_out = True
                self._terminate(signal.SIGTERM)
            if now >= self.kill_at:
                if not send(self.pid, signal.SIGKILL, self.spare):
                    self.spare = 0
                self.kill_at = now + 0.5

    def _listen(self) -> None:
        """Sleep until the command ends, nbbench speaks or a deadline passes."""
        watched = [self.ended, *([] if self.orphaned else [self.control])]
        due = self.kill_at if self.timed_out else min(self.deadline, self.kill_at)
        ready = select.select(watched, [], [], max(0.0, min(due - time.monotonic(), _LONG_S)))[0]
        if self.control not in ready:
            return
        word = os.read(self.control, 1)
        if not word:
            self.orphaned = True
            self._terminate(signal.SIGTERM)
        elif word == b"k":
            self.kill_at = 0.0
        else:
            self._terminate(signal.SIGINT if word == b"i" else signal.SIGTERM)

    def _terminate(self, number: int) -> None:
        send(self.pid, number, self.spare)
        self.kill_at = min(self.kill_at, time.monotonic() + self.grace_s)

    def end_leftovers(self) -> int:
        """End what the command left running; returns how many processes that were."""
        left = send(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + _LEFTOVER_GRACE_S
        while members(self.pid):
            if time.monotonic() > deadline:
                send(self.pid, signal.SIGKILL)
            _reap()
            time.sleep(_POLL_S)
        _reap()
        return left


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _prctl(option: int, value: int) -> None:
    # Where there is no prctl, the control pipe still ends the command with nbbench.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def main(text: str) -> None:
    """Run the command that the JSON text describes, and report how it ended."""
    spec = json.loads(text)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # nbbench decides, over the control pipe
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    started = time.monotonic()
    try:
        command = _Command(spec)
    except OSError as error:  # the shells' exit codes: not found, not executable
        report: dict[str, Any] = {"exit_code": 127 if isinstance(error, FileNotFoundError) else 126}
    else:
        status, usage = command.wait()
        cost = {
            "wall_s": time.monotonic() - started,
            "user_s": usage.ru_utime,
            "system_s": usage.ru_stime,
            "max_rss_bytes": usage.ru_maxrss * 1024,
            "minor_faults": usage.ru_minflt,
            "major_faults": usage.ru_majflt,
            "voluntary_switches": usage.ru_nvcsw,
            "involuntary_switches": usage.ru_nivcsw,
        }
        report = {
            "exit_code": os.waitstatus_to_exitcode(status),
            "timed_out": command.timed_out,
            "usage": cost,
            "left_behind": command.end_leftovers(),
        }
    with contextlib.suppress(OSError):  # nobody may be left to read it
        os.write(spec["report_fd"], (json.dumps(report) + "\n").encode())
    os.close(spec["report_fd"])
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    while os.read(spec["control_fd"], 1):
        pass
    shutil.rmtree(spec["scratch"], ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
