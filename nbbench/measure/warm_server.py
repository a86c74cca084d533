"""The warm server: benchmark processes forked from one that has torch and the suite imported.

It runs in a fresh interpreter, so that neither asv nor what measuring does not need is imported. It speaks
length-prefixed JSON on an inherited socket. Level one imports torch and the modules on its command line;
each `suite` request forks a level-two server that imports one commit's source tree and the benchmark suite;
each `job` request forks the process that measures (warm_job.py). No thread may run before a fork, and none of
the servers ever computes, so a job starts in the state of a fresh process, minus the imports.

A server ends, and kills the job it waits for, when its client closes the socket. The first one removes the
client's scratch folder then, so that a killed client leaves none.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from nbbench.measure import kernel
from nbbench.measure.warm_job import KILL_GRACE_S, run_job
from nbbench.measure.wire import receive_message, send_message

FOLDER_VARIABLE = "NBBENCH_WARM_FOLDER"  # where the client names its scratch folder
_suites: set[int] = set()


def serve_requests(sock: socket.socket) -> None:
    """Answer requests until the client closes the socket."""
    while (request := receive_message(sock)) is not None:
        _reap_suites(request.get("ended", ()))
        kernel.kill_children(frozenset(_suites))  # what a killed suite server left to this one
        if request["op"] == "suite":
            _fork_suite(sock, request)
        else:
            run_job(sock, request)


def _reap_suites(ended: Sequence[int]) -> None:
    """Take note of suite servers that are gone. Those that the client saw `ended` may still be on their way
    out: what they leave behind comes to this process only when they are gone."""
    for pid in _suites.intersection(ended):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _suites.discard(pid)
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            _suites.discard(pid)


def _fork_suite(sock: socket.socket, request: dict[str, Any]) -> None:
    """Fork a level-two server and pass its socket to the client."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            _suites.clear()
            sock.close()
            ours.close()
            kernel.adopt_orphans()
            _become_suite(theirs, request)
            serve_requests(theirs)
        except (BrokenPipeError, ConnectionResetError):  # the client was killed meanwhile
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    _suites.add(pid)
    theirs.close()
    send_message(sock, {"pid": pid})
    socket.send_fds(sock, [b"s"], [ours.fileno()])
    ours.close()


def _become_suite(sock: socket.socket, request: dict[str, Any]) -> None:
    """Import the source tree and the suite; what goes wrong is met again, and told, by each job."""
    from asv_runner._aux import posix_redirect_output, update_sys_path
    from asv_runner.discovery import disc_benchmarks

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
    _announce(sock)


def _announce(sock: socket.socket) -> None:
    """Say that this server is ready, and with how many threads: with several it must not fork."""
    gc.collect()
    gc.freeze()
    send_message(sock, {"threads": len(os.listdir("/proc/self/task"))})


def _end_suites() -> None:
    """Wait for the suite servers, which lost their client as well; kill those that are stuck."""
    deadline = time.monotonic() + KILL_GRACE_S
    kernel.kill_children(frozenset(_suites))
    with contextlib.suppress(ChildProcessError):  # none is left
        while time.monotonic() < deadline:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.01)
    kernel.kill_children()


def main() -> None:
    """Serve until the client is gone, and leave nothing of it behind."""
    folder = os.environ.pop(FOLDER_VARIABLE, "")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client decides what an interrupt means
    kernel.adopt_orphans()
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
    _announce(sock)
    serve_requests(sock)
