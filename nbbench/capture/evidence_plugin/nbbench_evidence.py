"""A pytest plugin that writes down what pytest throws away: one JSON line an event, as it happens.

It is loaded through the environment (`PYTHONPATH` with this folder, `PYTEST_PLUGINS=nbbench_evidence`),
so that PYTEST_ADDOPTS stays as it was guarded, in whatever interpreter the subject uses: Python 3.8
and pytest are all that it needs. The lines go to the file that NBBENCH_EVIDENCE_RECORD names; each is
one append, so that a killed run leaves what it had and workers of xdist can share the file.

With NB_PROFILER_OUT the first test's call runs under `torch.profiler` and its trace is written there.
Assertions that hold are written down with their figures, which pytest gives to a hook
(`pytest_assertion_pass`); test modules are compiled anew for that, and no cache of theirs is touched.

No outcome is ever changed: an exception in here is swallowed and noted in the file.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_SCHEMA = 1
# A section of captured output keeps this much: tests of performance print a page at most.
MAX_SECTION = 128 * 1024
MAX_MESSAGE = 16 * 1024
# Above this the file takes no more: a suite that prints for ever must not fill the disk.
MAX_RECORD = 64 * 1024 * 1024
_ASSERTIONS_KEPT = 100
_TRACE_PATH = "NB_PROFILER_OUT"
_COUNTED = {
    "user_s": "ru_utime",
    "system_s": "ru_stime",
    "minor_faults": "ru_minflt",
    "major_faults": "ru_majflt",
    "voluntary_switches": "ru_nvcsw",
    "involuntary_switches": "ru_nivcsw",
}
# `path` is empty where nothing is recorded, or the file could not be written; `test` is the running one.
_state: dict[str, Any] = {"path": "", "written": 0, "traced": False, "config": None, "test": {}}


def _write(kind: str, **content: Any) -> None:
    """One JSON object as one line, by a single append."""
    data = json.dumps(dict(content, schema=_SCHEMA, kind=kind), separators=(",", ":"), default=str)
    if not _state["path"] or _state["written"] + len(data) > MAX_RECORD:
        return
    handle = os.open(_state["path"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _state["written"] += os.write(handle, data.encode("ascii") + b"\n")
    finally:
        os.close(handle)


def _problem(where: str, error: BaseException) -> None:
    """Note what went wrong in the plugin itself; a file that cannot be written ends the writing."""
    try:
        _write("problem", text=_bounded(f"{where}: {type(error).__name__}: {error}", 500))
    except Exception:
        _state["path"] = ""


def _harmless(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with every exception of its own swallowed and noted."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            _problem(function.__name__, error)
            return None

    return guarded


def _bounded(text: str, limit: int) -> str:
    """`text` within `limit` characters: a quarter from its start, the rest from its end."""
    if len(text) <= limit:
        return text
    head = limit // 4
    note = f"\n[... {len(text) - limit:,} of {len(text):,} characters left out ...]\n"
    return text[:head] + note + text[len(text) - (limit - head) :]


def _core_times() -> tuple[float, float]:
    """Seconds that the cores which this process may use were busy, and that the hypervisor took from them.

    Work on the machine's other cores is none of the test's business.
    """
    busy = stolen = 0
    try:
        usable = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            name, *counts = line.split()
            if name in usable:
                user, nice, system, _, _, irq, softirq, steal = map(int, counts[:8])
                busy += user + nice + system + irq + softirq
                stolen += steal
        hertz = os.sysconf("SC_CLK_TCK")
        return busy / hertz, stolen / hertz
    except (OSError, ValueError, AttributeError):
        return 0.0, 0.0


def _run_delay() -> float | None:
    """Seconds that this process's threads were ready and waited for a core; None where nobody counts."""
    waited = 0
    try:
        for task in Path("/proc/self/task").iterdir():
            waited += int((task / "schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return waited / 1e9


@_harmless
def _counters() -> Any:
    """What this process, the children that it waited for, and its cores have counted so far."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    found: dict[str, Any] = {n: getattr(own, f) + getattr(children, f) for n, f in _COUNTED.items()}
    busy, steal = _core_times()
    found.update(busy_s=busy, steal_s=steal, max_rss_bytes=own.ru_maxrss * 1024)
    delay = _run_delay()
    if delay is not None:
        found["run_delay_s"] = delay
    found["wall_s"] = time.perf_counter()
    return found


def _cost_since(before: dict[str, Any]) -> dict[str, Any]:
    """What was spent since; threads that ended took their waiting along."""
    after = _counters()
    cost = {name: max(0, after[name] - before[name]) for name in after if name in before}
    cost["max_rss_bytes"] = after["max_rss_bytes"]
    cost["others_cpu_s"] = max(0.0, cost.pop("busy_s") - cost["user_s"] - cost["system_s"])
    return cost


def _torch_facts() -> dict[str, Any]:
    """Version, threads and Dynamo's graphs of torch, where something has imported it.

    Graphs are those of the process so far: a later test may run an earlier one's.
    """
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return {}
    try:
        graphs = int(sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"])
    except (KeyError, AttributeError, TypeError, ValueError):
        graphs = 0
    threads = int(torch.get_num_threads())
    return {"torch": str(torch.__version__), "torch_threads": threads, "compiled_graphs": graphs}


def _failure(call: Any, report: Any) -> dict[str, str]:
    """Why a phase did not pass: the message, and pytest's own account of it."""
    found: dict[str, str] = {}
    if isinstance(report.longrepr, tuple):  # a skip: (path, line, reason)
        found["message"] = _bounded(str(report.longrepr[2]), MAX_MESSAGE)
    elif report.longrepr is not None:
        found["longrepr"] = _bounded(str(report.longrepr), 2 * MAX_MESSAGE)
    if call.excinfo is not None:
        message = f"{call.excinfo.type.__name__}: {call.excinfo.value}"
        found.setdefault("message", _bounded(message, MAX_MESSAGE))
    return found


def _word(before: str, report: Any) -> str:
    """The test's outcome after one more phase: the worst counts, and what is expected has its own words."""
    if before in ("failed", "error"):
        return before
    if report.outcome == "failed":
        return "failed" if report.when == "call" else "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.outcome == "skipped" else "xpassed"
    return "skipped" if report.outcome == "skipped" else before


def pytest_configure(config: Any) -> None:
    """Open the record (its first line says who writes)."""
    _state["path"] = os.environ.get("NBBENCH_EVIDENCE_RECORD", "")
    if _state["path"]:
        _state["config"] = config
        _begin(config)


@_harmless
def _begin(config: Any) -> None:
    _write(
        "session_start",
        python=sys.version.split()[0],
        executable=sys.executable,
        packages=_packages(),
        pytest=pytest.__version__,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        capture_off=getattr(config.option, "capture", "") == "no",
    )
    _explain_assertions(config)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)  # a ValueError outside of the main thread is noted


def _packages() -> dict[str, str]:
    """What is installed now, by name: it is compared before and after. A folder without a name is none."""
    named = ((found.metadata["Name"], found.version) for found in importlib.metadata.distributions())
    return {str(name): str(version) for name, version in named if name}


@_harmless
def _explain_assertions(config: Any) -> None:
    """Have pytest explain assertions that hold; where its inside is another one, they are simply not told."""
    from _pytest.assertion import rewrite

    if hasattr(rewrite, "_read_pyc") and hasattr(rewrite, "_write_pyc"):
        config._inicache["enable_assertion_pass_hook"] = True
        rewrite._read_pyc = lambda *args, **kwargs: None
        rewrite._write_pyc = lambda *args, **kwargs: False


def _terminated(number: int, frame: Any) -> None:
    """The outer timeout's signal: keep what the running test has printed, then end as one would have."""
    try:
        manager = _state["config"].pluginmanager.getplugin("capturemanager")
        printed = manager.read_global_capture() if manager is not None else ("", "")
        if _state["test"]:
            for stream, text in zip(("stdout", "stderr"), printed):  # noqa: B905 -- Python 3.8
                _state["test"][stream] = _bounded(text, MAX_SECTION)
            _end_test("interrupted")
    except Exception as error:
        _problem("_terminated", error)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@_harmless
def pytest_collectreport(report: Any) -> None:
    """A file that cannot be collected."""
    if report.failed:
        _write("collect_error", nodeid=report.nodeid)


@_harmless
def pytest_runtest_logstart(nodeid: str, location: Any) -> None:
    """A test begins: the last one of a killed run is the one that was running."""
    _state["test"] = {"nodeid": nodeid, "outcome": "passed", "duration_s": 0.0, "held": {}, "usage": None}
    _write("start", nodeid=nodeid)


@_harmless
def _end_test(outcome: str) -> None:
    test = dict(_state["test"], outcome=outcome)
    test["held"] = list(test["held"].items())
    _state["test"] = {}
    _write("test", **test)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: Any) -> Iterator[None]:
    """Measure the call and, where asked for, profile it."""
    wanted = _state["path"] and os.environ.get(_TRACE_PATH) and not _state["traced"]
    profiler = _start_trace() if wanted else None
    before = _counters() if _state["path"] else None
    yield
    if before is not None:
        _stop_meter(before)
    if profiler is not None:
        _stop_trace(profiler)


@_harmless
def _stop_meter(before: dict[str, Any]) -> None:
    _state["test"]["usage"] = dict(_cost_since(before), **_torch_facts())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    """Take down one phase; the last one ends the test."""
    outcome = yield
    if _state["test"]:
        _phase(call, outcome)


@_harmless
def _phase(call: Any, outcome: Any) -> None:
    report, test = outcome.get_result(), _state["test"]
    test["outcome"] = _word(test["outcome"], report)
    test["duration_s"] += report.duration
    if report.outcome != "passed" and "message" not in test:
        test.update(_failure(call, report))
    if report.when == "teardown":
        for stream in ("stdout", "stderr"):
            printed = [text for title, text in report.sections if title.startswith("Captured " + stream)]
            test[stream] = _bounded("".join(printed), MAX_SECTION)
        _end_test(test["outcome"])


@pytest.hookimpl(optionalhook=True)
@_harmless
def pytest_assertion_pass(item: Any, lineno: int, orig: str, expl: str) -> None:
    """A comparison that holds, as source and in figures: passing tests tell their thresholds nowhere else."""
    held, figures = _state["test"].get("held", {}), expl.split("\n")[0]
    if len(held) < _ASSERTIONS_KEPT and ("<" in figures or ">" in figures):
        held[_bounded(" ".join(orig.split()), 500)] = _bounded(figures, 500)


@_harmless
def pytest_sessionfinish(session: Any, exitstatus: Any) -> None:
    """The end, as pytest sees it."""
    _write("session_finish", exit_status=int(exitstatus), packages_after=_packages(), **_torch_facts())


@_harmless
def _start_trace() -> Any:
    import torch.profiler

    _state["traced"] = True
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=False)
    profiler.__enter__()
    return profiler


@_harmless
def _stop_trace(profiler: Any) -> None:
    profiler.__exit__(None, None, None)
    path = Path(os.environ[_TRACE_PATH])
    temporary = path.with_name("." + path.name + ".tmp.json")
    profiler.export_chrome_trace(str(temporary))
    temporary.replace(path)
