"""What a function returns in a forked child that runs the subject: data, or why there is none and where."""

import contextlib
import faulthandler
import json
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any, TextIO, TypeVar

import msgspec

_Answer = TypeVar("_Answer")

LIMIT_S, WAIT_S = 60, 240.0
"""Seconds of processor time, and by the clock, that a child may take: one that never ends loses its own
workload, and not those of the others."""
_MOST_BYTES = 2**28  # of a file that a child writes, its output included
_FRAME = re.compile(r'^ +File "(?P<path>.*)", line (?P<line>\d+) in (?P<name>.*)$', re.MULTILINE)


def forked(
    function: Callable[[], _Answer],
    kind: Any,
    *,
    root: str = "",
    reseed: bool = False,
) -> _Answer | str:
    """What a function returns in a forked child; where it failed, the text of its error.

    The child runs the subject, which may write into any file that is open: what comes back is data, checked
    by its type (`kind`), and never code. Where the process ends, the text names the line below the folder
    `root` that was under way, if that can be known. With `reseed`, numpy's random numbers are others than in
    the process that is forked, as Python's are by themselves.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as trace:
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            if reseed and (numpy := sys.modules.get("numpy")) is not None:
                numpy.random.seed()
            _become_child(function, writing, trace)
        os.close(writing)
        data = _read_until_end(reading, pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if data and not code:
            try:
                answer: _Answer | str = msgspec.convert(json.loads(data), kind | str)
            except (ValueError, RecursionError, msgspec.MsgspecError):
                return "the process wrote something else than its counts"
            return answer
        trace.seek(0)
        return _how_it_ended(code, trace.read(), root)


def _read_until_end(reading: int, pid: int) -> bytes:
    """All that the child writes; what it forked in turn may hold the pipe open for ever."""
    found, ended = list[bytes](), os.pidfd_open(pid)
    try:
        while reading in wait([reading, ended]) and (part := os.read(reading, 2**20)):
            found.append(part)
    finally:
        os.close(ended)
        os.close(reading)
    return b"".join(found)


def _how_it_ended(code: int, said: str, root: str) -> str:
    how = f"the process ended with {code}"
    if said.startswith("Timeout"):
        how = f"the process timed out after {WAIT_S:g} s"
    elif code == -signal.SIGXCPU:
        how = f"the process took more than {LIMIT_S} s of processor time"
    elif code == -signal.SIGKILL:
        how = "the process was killed (SIGKILL)"
    elif code < 0:
        how = f"the process ended by signal {-code} ({signal.Signals(-code).name})"
    folder = root.rstrip("/") + "/"
    frames = (one for one in _FRAME.finditer(said) if root and one["path"].startswith(folder))
    if (last := next(frames, None)) is None:
        return how
    return f"{how} at {last['path'].removeprefix(folder)}:{last['line']} {last['name']}"


def _become_child(function: Callable[[], Any], writing: int, trace: TextIO) -> None:
    code, leave, pid = 1, os._exit, os.getpid()

    def leaving(status: int) -> None:
        faulthandler.dump_traceback(trace, all_threads=False)
        leave(status)

    try:
        os._exit = leaving  # type: ignore[assignment]
        faulthandler.enable(trace, all_threads=False)
        faulthandler.dump_traceback_later(WAIT_S, exit=True, file=trace)
        faulthandler.register(signal.SIGXCPU, trace, all_threads=False, chain=True)
        for limit, most in ((resource.RLIMIT_FSIZE, _MOST_BYTES), (resource.RLIMIT_CPU, LIMIT_S)):
            with contextlib.suppress(ValueError):  # a lower one holds already
                resource.setrlimit(limit, (most, resource.getrlimit(limit)[1]))
        try:
            answer = function()
        except BaseException as error:  # a subject may raise KeyboardInterrupt itself
            answer = f"{type(error).__name__}: {error}".removesuffix(": ")
        if os.getpid() == pid:  # and not a process that the subject forked and did not end
            with os.fdopen(writing, "w", encoding="ascii") as stream:
                json.dump(msgspec.to_builtins(answer), stream)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        leave(code)
