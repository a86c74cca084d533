"""The warm server: benchmark processes forked from one that has torch and the suite imported.

Run as a script (by path, so that neither asv nor the rest of nbbench is imported). It speaks
length-prefixed JSON on an inherited socket. Level one imports torch and the modules named on
its command line; each `suite` request forks a level-two server that imports one commit's source
tree and the benchmark suite; each `job` request forks the process that measures. No thread may
run before a fork, and none of the servers ever computes, so a job starts in the state of a fresh
process, minus the imports.

A server ends, and kills the job it waits for, when its client closes the socket. The first one removes
the client's scratch folder then, so that a killed client leaves none.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any

_GRACE_S = 2.0
_MAX_OUTPUT_BYTES = 32 * 2**20
_TIMEOUT_CODE = -256  # asv.util.TIMEOUT_RETCODE
FOLDER_VARIABLE = "NBBENCH_WARM_FOLDER"  # where the client names its scratch folder
_HERTZ = os.sysconf("SC_CLK_TCK")


def receive(sock: socket.socket) -> dict[str, Any] | None:
    """One message, or None when the other side closed the socket."""
    header = _exactly(sock, 8)
    if header is None:
        return None
    body = _exactly(sock, struct.unpack("<Q", header)[0])
    return None if body is None else json.loads(body)


def send(sock: socket.socket, message: dict[str, Any]) -> None:
    """Send one message."""
    body = json.dumps(message).encode()
    sock.sendall(struct.pack("<Q", len(body)) + body)


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def machine_times() -> tuple[float, float]:
    """Seconds of CPU time that the whole machine was busy, and that was stolen from it."""
    try:
        with open("/proc/stat", encoding="ascii") as stream:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stream.readline().split()[1:9])
    except (OSError, ValueError):
        return 0.0, 0.0
    return (user + nice + system + irq + softirq) / _HERTZ, steal / _HERTZ


def serve(sock: socket.socket) -> None:
    """Answer requests until the client closes the socket."""
    while (request := receive(sock)) is not None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if request["op"] == "suite":
            _fork_suite(sock, request)
        else:
            _fork_job(sock, request)


def _fork_suite(sock: socket.socket, request: dict[str, Any]) -> None:
    """Fork a level-two server and pass its socket to the client."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            sock.close()
            ours.close()
            _become_suite(theirs, request)
            serve(theirs)
        except (BrokenPipeError, ConnectionResetError):  # the client was killed meanwhile
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    send(sock, {"pid": pid})
    socket.send_fds(sock, [b"s"], [ours.fileno()])
    ours.close()


def _become_suite(sock: socket.socket, request: dict[str, Any]) -> None:
    """Import the source tree and the suite; what goes wrong is met again, and told, by each job."""
    from asv_runner._aux import posix_redirect_output, update_sys_path
    from asv_runner.discovery import disc_benchmarks

    _adopt(request["env"])
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
    gc.collect()
    gc.freeze()
    send(sock, {"threads": len(os.listdir("/proc/self/task"))})


def _adopt(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _fork_job(sock: socket.socket, request: dict[str, Any]) -> None:
    busy, steal = machine_times()
    load = os.getloadavg()[0]
    with open(request["output"], "wb"):  # the output limit is watched from the first moment
        pass
    started, start = time.time(), time.perf_counter()
    told, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _run_job(sock, request, telling)
    os.close(telling)
    with contextlib.suppress(OSError):  # here as well: a signal may be due before the job has run
        os.setpgid(pid, pid)
    verdict = _wait(sock, pid, request)
    wall = time.perf_counter() - start
    delay = _run_delay(pid)
    _, status, usage = os.wait4(pid, 0)
    # Whatever the job left behind must not run beside the next one.
    _signal(pid, signal.SIGKILL)
    busy_after, steal_after = machine_times()
    code = os.waitstatus_to_exitcode(status)
    if verdict == "gone":
        os._exit(0)
    send(
        sock,
        {
            "exit_code": _TIMEOUT_CODE if verdict == "timeout" else code,
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
            "canary": _told(told),
        },
    )


def _run_delay(pid: int) -> float:
    """Seconds that the job's main thread was ready but waited for a core; read before reaping."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as stream:
            return int(stream.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _told(pipe: int) -> dict[str, list[float]]:
    """What the job told of its canaries; empty when it sang none or ended before."""
    os.set_blocking(pipe, False)  # the job is over, but what it left behind may hold the other end
    try:
        sung: dict[str, list[float]] = json.loads(os.read(pipe, 4096))
        return sung
    except (BlockingIOError, ValueError):
        return {}
    finally:
        os.close(pipe)


def _wait(sock: socket.socket, pid: int, request: dict[str, Any]) -> str:
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
            if killed_at and now > killed_at + _GRACE_S:
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


def _run_job(sock: socket.socket, request: dict[str, Any], telling: int) -> None:
    """The forked process: redirect, change folder, run asv's command, leave without cleanup."""
    code = 1
    try:
        os.setpgid(0, 0)
        sock.close()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        out = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        _adopt(request["env"])
        os.chdir(request["cwd"])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if _is_timed(request["argv"]):
            _command_between_canaries(request["argv"], telling)
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


def _end_suites() -> None:
    """Wait for the suite servers, which lost their client as well; kill those that are stuck."""
    deadline = time.monotonic() + _GRACE_S
    with contextlib.suppress(OSError):  # no child is left, or the kernel lists none
        while time.monotonic() < deadline:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.01)
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
            for pid in stream.read().split():
                os.kill(int(pid), signal.SIGKILL)


def main() -> None:
    """Serve until the client is gone, and leave nothing of it behind."""
    del sys.path[0]  # this script's folder
    folder = os.environ.pop(FOLDER_VARIABLE, "")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client decides what an interrupt means
    try:
        _import_and_serve(socket.socket(fileno=int(sys.argv[1])))
    except (BrokenPipeError, ConnectionResetError):  # the client was killed meanwhile
        pass
    finally:
        _end_suites()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _import_and_serve(sock: socket.socket) -> None:
    """Import what every benchmark process needs, report readiness, serve."""
    import asv_runner.check
    import asv_runner.discovery
    import asv_runner.run
    import asv_runner.setup_cache  # noqa: F401
    import numpy  # noqa: F401
    import torch  # noqa: F401

    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    send(sock, {"threads": len(os.listdir("/proc/self/task"))})
    serve(sock)


if __name__ == "__main__":
    main()
