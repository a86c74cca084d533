"""One job of a warm server: the forked process that measures, and the watch over it.

The watch is in the server: time limit, output limit, the kernel's figures. When the job ends, all that it
left behind is killed, whatever group or session that moved to: the server adopts what loses its parent.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from typing import Any

from nbbench.measure import kernel
from nbbench.measure.wire import send_message

KILL_GRACE_S = 2.0
TIMEOUT_CODE = -256  # asv.util.TIMEOUT_RETCODE
_MAX_OUTPUT_BYTES = 32 * 2**20


def run_job(sock: socket.socket, request: dict[str, Any]) -> None:
    """Fork the job, watch it to its end, and send what became of it."""
    busy, steal = kernel.machine_times()
    load = os.getloadavg()[0]
    with open(request["output"], "wb"):  # the output limit is watched from the first moment
        pass
    started, start = time.time(), time.perf_counter()
    answer, answering = os.pipe()
    server, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(answer)
        _become_job(sock, request, answering, server)
    os.close(answering)
    with contextlib.suppress(OSError):  # here as well: a signal may be due before the job has run
        os.setpgid(pid, pid)
    verdict = _watch(sock, pid, request)
    wall = time.perf_counter() - start
    delay = kernel.run_delay(pid)
    _, status, usage = os.wait4(pid, 0)
    # Whatever the job left behind must not run beside the next one.
    _signal(pid, signal.SIGKILL)
    kernel.kill_children()
    busy_after, steal_after = kernel.machine_times()
    code = os.waitstatus_to_exitcode(status)
    if verdict == "gone":
        os._exit(0)
    send_message(
        sock,
        {
            "exit_code": TIMEOUT_CODE if verdict == "timeout" else code,
            "verdict": verdict,
            "started": started,
            "wall_s": wall,
            "user_s": usage.ru_utime,
            "system_s": usage.ru_stime,
            "minor_faults": usage.ru_minflt,
            "major_faults": usage.ru_majflt,
            "voluntary_switches": usage.ru_nvcsw,
            "involuntary_switches": usage.ru_nivcsw,
            "max_rss_bytes": usage.ru_maxrss * 1024,
            "others_cpu_s": max(0.0, busy_after - busy - usage.ru_utime - usage.ru_stime),
            "steal_s": max(0.0, steal_after - steal),
            "run_delay_s": delay,
            "load_before": load,
            "canary": _canary(answer),
        },
    )


def _canary(pipe: int) -> dict[str, list[float]]:
    """Times of the reference kernels that the job sent; empty when it ran none or ended before."""
    os.set_blocking(pipe, False)  # the job is over, but what it left behind may hold the other end
    try:
        times: dict[str, list[float]] = json.loads(os.read(pipe, 4096))
        return times
    except (BlockingIOError, ValueError):
        return {}
    finally:
        os.close(pipe)


def _watch(sock: socket.socket, pid: int, request: dict[str, Any]) -> str:
    """Wait until the job ends (without reaping it): ended, timeout, flood or gone."""
    deadline = time.monotonic() + request["timeout"]
    verdict, killed_at = "ended", 0.0
    fd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    poller.register(sock, select.POLLIN | select.POLLHUP)
    try:
        while True:
            ready = {number for number, _ in poller.poll(500)}
            if fd in ready:
                return verdict
            now = time.monotonic()
            if killed_at and now > killed_at + KILL_GRACE_S:
                _signal(pid, signal.SIGKILL)
            if sock.fileno() in ready and verdict != "gone":
                verdict, killed_at = "gone", now
                poller.unregister(sock)
                _signal(pid, signal.SIGKILL)
            elif not killed_at and now > deadline:
                verdict, killed_at = "timeout", now
                _signal(pid, signal.SIGTERM)
            elif not killed_at and os.path.getsize(request["output"]) > _MAX_OUTPUT_BYTES:
                verdict, killed_at = "flood", now
                _signal(pid, signal.SIGKILL)
    finally:
        os.close(fd)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _become_job(sock: socket.socket, request: dict[str, Any], answer: int, server: int) -> None:
    """The forked process: redirect, change folder, run asv's command, leave without cleanup."""
    code = 1
    try:
        kernel.end_with_parent()
        if os.getppid() != server:  # it was killed before this line
            os._exit(1)
        os.setpgid(0, 0)
        sock.close()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        out = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if _is_timed(request["argv"]):
            _command_between_canaries(request["argv"], answer)
        else:
            _command(request["argv"])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _is_timed(argv: list[str]) -> bool:
    """Whether this is `run` of a benchmark that asv times, without its profiler."""
    if argv[0] != "run" or argv[4] != "None" or os.environ.get("NBBENCH_CANARY") == "0":
        return False
    return argv[2].rpartition(".")[2].startswith(("time_", "timeraw_"))


def _command_between_canaries(argv: list[str], answer: int) -> None:
    """asv's command with the canary run before and after it, in this process that measures."""
    from nbbench.probe.canary import reference_times

    times = []
    with contextlib.suppress(Exception):  # without a canary the benchmark is as good
        times.append(reference_times())
    _command(argv)
    with contextlib.suppress(Exception):
        times.append(reference_times())
        os.write(answer, json.dumps({name: [each[name] for each in times] for name in times[0]}).encode())


def _command(argv: list[str]) -> None:
    from asv_runner.check import _check
    from asv_runner.discovery import _discover
    from asv_runner.run import _run
    from asv_runner.setup_cache import _setup_cache

    commands = {"run": _run, "setup_cache": _setup_cache, "discover": _discover, "check": _check}
    if argv[0] == "call":  # module:function of the suite, with JSON arguments; nbbench's own
        module, _, name = argv[1].partition(":")
        getattr(importlib.import_module(module), name)(**json.loads(argv[2]))
    else:
        commands[argv[0]](argv[1:])
