"""The warm server: benchmark processes forked from one that has torch and the suite imported.

It runs in a fresh interpreter, so that neither asv nor what measuring does not need is imported. It speaks
over an inherited pipe. Level one imports torch and the modules on its command line; each request to it forks
a level-two server that imports one commit's source tree and the benchmark suite; each request to that one
forks the process that measures (warm_job.py). No thread may run before a fork, and none of the servers ever
computes, so a job starts in the state of a fresh process, minus the imports.

A server ends, and kills the job it waits for, when its client closes the pipe. The first one removes the
client's scratch folder then, so that a killed client leaves none.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any, TypeAlias

from nbbench.measure import kernel
from nbbench.measure.warm_job import run_job

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
