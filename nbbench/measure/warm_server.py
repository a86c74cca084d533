"""The warm server: benchmark processes forked from one that has torch and the suite imported.

Level one imports torch and the modules on its command line; each request to it forks a level-two server that
imports one commit's source tree and the benchmark suite; each request to that one forks the process that
measures: a job, which the server watches (docs/architecture.md). No thread may run before a fork, and none of
the servers ever computes, so a job starts in the state of a fresh process, minus the imports.

A server ends, and kills the job it waits for, when its client closes the pipe.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, TypeAlias

from nbbench.measure import kernel
from nbbench.probe.resources import run_delay

FOLDER_VARIABLE = "NBBENCH_WARM_FOLDER"  # where the client names its scratch folder

_CLIENT_GONE = (EOFError, BrokenPipeError, ConnectionResetError)

Handler: TypeAlias = Callable[["Connection[Any, Any]", dict[str, Any], int], None]


def serve_requests(line: Connection[Any, Any], handle: Handler) -> None:
    """Answer requests, each with a descriptor, until reading or writing tells that the client is gone."""
    while True:
        request = line.recv()
        handle(line, request, recv_handle(line))


def _fork_suite(line: Connection[Any, Any], request: dict[str, Any], descriptor: int) -> None:
    """Fork a level-two server that answers on `descriptor`."""
    # Suites that the client gave up, and what a killed one left to this process.
    kernel.kill_children(frozenset(request["live"]))
    if os.fork() == 0:
        try:
            line.close()
            _become_suite(Connection(descriptor), request)
        except _CLIENT_GONE:
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(descriptor)


def _become_suite(line: Connection[Any, Any], request: dict[str, Any]) -> None:
    """Import the source tree and the suite, then serve; each job meets again, and tells, what goes wrong."""
    from asv_runner._aux import posix_redirect_output, update_sys_path
    from asv_runner.discovery import disc_benchmarks

    line.send(os.getpid())
    kernel.end_with_parent(signal.SIGCONT)  # as in `main`
    kernel.adopt_orphans()
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[:0] = request["path"]
    update_sys_path(request["benchmark_dir"])
    with posix_redirect_output(request["output"], permanent=False):
        for _ in disc_benchmarks(request["benchmark_dir"], ignore_import_errors=True):
            pass
        for name in request["preload"]:
            try:
                __import__(name)
            except BaseException:
                traceback.print_exc()
    _announce(line)
    serve_requests(line, run_job)


def _announce(line: Connection[Any, Any]) -> None:
    """Say that this server is ready, and with how many threads: with several it must not fork."""
    gc.collect()
    gc.freeze()
    line.send(len(os.listdir("/proc/self/task")))


def main() -> None:
    """Import what every benchmark process needs, serve until the client is gone, leave nothing behind."""
    folder = os.environ.pop(FOLDER_VARIABLE, "")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client decides what an interrupt means
    # Nobody else would wake a stopped server whose client was killed: awake, it sees the closed line.
    kernel.end_with_parent(signal.SIGCONT)
    kernel.adopt_orphans()
    line = Connection(int(sys.argv[1]))
    shared = ["asv_runner.check", "asv_runner.discovery", "asv_runner.run", "asv_runner.setup_cache"]
    try:
        for name in [*shared, "numpy", "torch", *sys.argv[2:]]:
            importlib.import_module(name)
        with contextlib.suppress(*_CLIENT_GONE):
            _announce(line)
            serve_requests(line, _fork_suite)
    finally:
        kernel.kill_children()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


KILL_GRACE_S = 2.0
TIMEOUT_CODE = -256  # asv.util.TIMEOUT_RETCODE
_MAX_OUTPUT_BYTES = 32 * 2**20


def run_job(line: Connection[Any, Any], request: dict[str, Any], descriptor: int) -> None:
    """Fork the job, watch it to its end, and send what became of it; the job inherits the descriptor."""
    busy, steal = kernel.machine_times()
    load = os.getloadavg()[0]
    Path(request["output"]).write_bytes(b"")  # the output limit is watched from the first moment
    started, start = time.time(), time.perf_counter()
    beside, telling = Pipe(duplex=False)
    server, pid = os.getpid(), os.fork()
    if pid == 0:
        beside.close()
        line.close()
        _become_job(request, descriptor, telling, server)
    telling.close()
    os.close(descriptor)
    with contextlib.suppress(OSError):  # here as well: a signal may be due before the job has run
        os.setpgid(pid, pid)
    verdict = _watch(line, pid, request)
    wall = time.perf_counter() - start
    delay = run_delay(pid)
    _, status, usage = os.wait4(pid, 0)
    # Whatever the job left behind must not run beside the next one.
    _signal(pid, signal.SIGKILL)
    kernel.kill_children()
    busy_after, steal_after = kernel.machine_times()
    code = os.waitstatus_to_exitcode(status)
    seen = _received(beside)
    line.send(
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
            "run_delay_s": delay + seen.pop("started_delay_s", 0.0),
            "load_before": load,
            "canary": {},
            "gpu": {},
            **seen,
        }
    )


def _received(beside: Connection[Any, Any]) -> dict[str, Any]:
    """What the job saw before and after its benchmark: `canary`, times of the reference kernels, `gpu`, its
    state, and `started_delay_s`, what processes that it started waited for a core; empty when it looked at
    nothing or ended before."""
    with beside, contextlib.suppress(EOFError):
        if beside.poll():
            seen: dict[str, Any] = beside.recv()
            return seen
    return {}


def _watch(line: Connection[Any, Any], pid: int, request: dict[str, Any]) -> str:
    """Wait until the job ends (without reaping it): ended, timeout, flood or gone.

    A job that somebody stopped is killed: its figures would hold the pause.
    """
    deadline = time.monotonic() + request["timeout"]
    verdict, kill_at = "ended", math.inf
    fd = os.pidfd_open(pid)
    watched: list[Any] = [fd, line]
    try:
        while fd not in (ready := wait(watched, 0.5)):
            now = time.monotonic()
            if ready:  # the client is gone
                verdict, kill_at, watched = "gone", now, [fd]
            elif verdict == "ended" and os.path.getsize(request["output"]) > _MAX_OUTPUT_BYTES:
                verdict, kill_at = "flood", now
            elif verdict == "ended" and now > deadline:
                verdict, kill_at = "timeout", now + KILL_GRACE_S
                _signal(pid, signal.SIGTERM)
            if now >= kill_at or (verdict == "ended" and kernel.is_stopped(pid)):
                _signal(pid, signal.SIGKILL)
        return verdict
    finally:
        os.close(fd)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _become_job(request: dict[str, Any], descriptor: int, telling: Connection[Any, Any], server: int) -> None:
    """The forked process: redirect, change folder, run asv's command, leave without cleanup."""
    code = 1
    try:
        kernel.end_with_parent()
        if os.getppid() != server:  # it was killed before this line
            os._exit(1)
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        out = os.open(request["output"], os.O_WRONLY | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if watches := _watches(request["argv"]):
            _command_between(watches, request["argv"], telling)
        else:
            _command(request["argv"], descriptor)
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


def _watches(argv: list[str]) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is looked at before and after a command: the canary where asv times it, the GPU that it uses."""
    from nbbench.probe.device import on_cuda

    found: dict[str, Callable[[], dict[str, Any]]] = {}
    if argv[0] in ("run", "setup_cache") and on_cuda():
        from nbbench.probe.device import read_gpu

        found["gpu"] = read_gpu
    plain = argv[0] == "run" and argv[4] == "None"  # without asv's profiler
    timed = plain and argv[2].rpartition(".")[2].startswith(("time_", "timeraw_"))
    if timed and os.environ.get("NBBENCH_CANARY") != "0":
        from nbbench.probe.canary import reference_times

        found["canary"] = reference_times
    return found


def _command_between(
    watches: dict[str, Callable[[], dict[str, Any]]], argv: list[str], telling: Connection[Any, Any]
) -> None:
    """asv's command, and what is seen right before and after it in this process that measures."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in watches}
    is_raw = argv[2].rpartition(".")[2].startswith("timeraw_")  # asv starts a process for each sample
    waited = kernel.watch_started() if is_raw else None
    for turn in range(2):
        for name, look in watches.items():
            with contextlib.suppress(Exception):  # without a canary the benchmark is as good
                seen[name].append(look())
        if turn == 0:
            _command(argv)
    told: dict[str, Any] = {"started_delay_s": waited()} if waited else {}
    told |= {
        name: {key: [each.get(key) for each in states] for key in states[0]}
        for name, states in seen.items()
        if len(states) > 1
    }
    with contextlib.suppress(OSError):
        telling.send(told)


def _command(argv: list[str], descriptor: int = -1) -> None:
    """asv's command, or `call` with `module:function` and JSON arguments; one may ask for the descriptor."""
    if argv[0] == "call":
        module, _, name = argv[1].partition(":")
        arguments = json.loads(argv[2])
        if "descriptor" in arguments:
            arguments["descriptor"] = descriptor
        getattr(importlib.import_module(module), name)(**arguments)
        return
    from asv_runner.check import _check
    from asv_runner.discovery import _discover
    from asv_runner.run import _run
    from asv_runner.setup_cache import _setup_cache

    commands = {"run": _run, "setup_cache": _setup_cache, "discover": _discover, "check": _check}
    commands[argv[0]](argv[1:])
