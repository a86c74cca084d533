"""A pytest plugin that writes down what pytest throws away: one JSON line an event, as it happens.

It is loaded through the environment (`PYTHONPATH` with this folder, `PYTEST_PLUGINS=nbbench_evidence`),
so that PYTEST_ADDOPTS stays as it was guarded, in whatever interpreter the subject uses: Python 3.8
and pytest are all that it needs. The lines go to the file that NBBENCH_EVIDENCE_RECORD names; each is
one append, so that a killed run leaves what it had and workers of xdist can share the file.

With NB_PROFILER_OUT each test's call runs under `torch.profiler` and its trace is written there (a second
test's as `…-2`). Assertions that hold are written down with their figures, which pytest gives to a hook
(`pytest_assertion_pass`); test modules are compiled anew for that, and no cache of theirs is touched.

No outcome is ever changed: an exception in here is swallowed and noted in the file.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_SCHEMA = 1
# A section of captured output keeps this much: tests of performance print a page at most.
MAX_SECTION = 128 * 1024
MAX_MESSAGE = 16 * 1024
# Above this the file takes outcomes only: a suite that prints for ever must not fill the disk.
MAX_RECORD = 64 * 1024 * 1024
_ASSERTIONS_KEPT = 100
_OPERATORS_KEPT = 40
_TRACE_PATH = "NB_PROFILER_OUT"


class _Record:
    """The file: one JSON object a line, each by a single append."""

    def __init__(self, path: str, worker: str) -> None:
        self.path = path
        self.worker = worker
        self.written = 0
        self.failed = False

    def write(self, kind: str, **content: Any) -> None:
        line = {"schema": _SCHEMA, "kind": kind, "time": time.time(), "worker": self.worker}
        line.update(content)
        data = json.dumps(line, separators=(",", ":"), default=str).encode("ascii") + b"\n"
        if self.written + len(data) > MAX_RECORD:
            for name in ("stdout", "stderr", "longrepr"):
                line.pop(name, None)
            line["dropped"] = "output left out: the record is full"
            data = json.dumps(line, separators=(",", ":"), default=str).encode("ascii") + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)
        self.written += len(data)


_state: dict[str, Any] = {"record": None, "traces": 0, "config": None}


def _write(kind: str, **content: Any) -> None:
    record = _state["record"]
    if record is not None and not record.failed:
        record.write(kind, **content)


def _problem(where: str, error: BaseException) -> None:
    """Note what went wrong in the plugin itself; a file that cannot be written ends the writing."""
    record = _state["record"]
    if record is None or record.failed:
        return
    try:
        record.write("problem", where=where, message=_bounded(f"{type(error).__name__}: {error}", 500))
    except Exception:
        record.failed = True


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


# --- what a process costs ---------------------------------------------------------------------


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


class _Meter:
    """Resource use of this process (and of children that it waited for) between two moments."""

    def __init__(self) -> None:
        self._busy, self._steal = _core_times()
        self._delay = _run_delay()
        self._usage = _usages()
        self._start = time.perf_counter()

    def read(self) -> dict[str, Any]:
        wall, after = time.perf_counter() - self._start, _usages()
        busy, steal = _core_times()

        def delta(name: str) -> Any:
            return sum(getattr(b, name) - getattr(a, name) for a, b in zip(self._usage, after))  # noqa: B905 -- Python 3.8

        user, system = delta("ru_utime"), delta("ru_stime")
        found = {
            "wall_s": wall,
            "user_s": user,
            "system_s": system,
            "minor_faults": delta("ru_minflt"),
            "major_faults": delta("ru_majflt"),
            "voluntary_switches": delta("ru_nvcsw"),
            "involuntary_switches": delta("ru_nivcsw"),
            "max_rss_bytes": after[0].ru_maxrss * 1024,
            "max_rss_growth_bytes": (after[0].ru_maxrss - self._usage[0].ru_maxrss) * 1024,
            "others_cpu_s": max(0.0, busy - self._busy - user - system),
            "steal_s": max(0.0, steal - self._steal),
        }
        delay = _run_delay()
        if delay is not None and self._delay is not None:
            found["run_delay_s"] = max(0.0, delay - self._delay)  # threads that ended took theirs along
        return found


def _usages() -> list[Any]:
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def _torch_facts() -> dict[str, Any]:
    """Version, threads, default dtype and Dynamo's graphs of torch, where something has imported it."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return {}
    return {
        "torch": str(torch.__version__),
        "torch_threads": int(torch.get_num_threads()),
        "compiled_graphs": _compiled_graphs(),
    }


def _compiled_graphs() -> int:
    """How many graphs Dynamo compiled in this process so far: a later test may run an earlier one's."""
    try:
        return int(sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"])
    except (KeyError, AttributeError, TypeError, ValueError):
        return 0


# --- what a test says -------------------------------------------------------------------------


def _sections(report: Any, seen: dict[str, str]) -> dict[str, str]:
    """Captured output that this phase added, by stream; `seen` is what earlier phases had."""
    found: dict[str, str] = {}
    for title, text in report.sections:
        if seen.get(title) == text:
            continue
        seen[title] = text
        for stream in ("stdout", "stderr"):
            if title.startswith("Captured " + stream):
                found[stream] = found.get(stream, "") + text
    return {stream: _bounded(text, MAX_SECTION) for stream, text in found.items()}


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


# --- pytest's hooks ---------------------------------------------------------------------------


def _is_controller(config: Any) -> bool:
    """Whether this process only hands tests to xdist's workers."""
    return not hasattr(config, "workerinput") and getattr(config.option, "dist", "no") != "no"


def pytest_configure(config: Any) -> None:
    """Open the record (its first line says who writes)."""
    path = os.environ.get("NBBENCH_EVIDENCE_RECORD", "")
    if path:
        _state["record"] = _Record(path, getattr(config, "workerinput", {}).get("workerid", ""))
        _state["config"] = config
        _begin(config)


@_harmless
def _begin(config: Any) -> None:
    _write(
        "session_start",
        pid=os.getpid(),
        python=sys.version.split()[0],
        executable=sys.executable,
        pytest=pytest.__version__,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        capture=str(getattr(config.option, "capture", "")),
    )
    _explain_assertions(config)
    untouched = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if untouched and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)


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
        out, err = manager.read_global_capture() if manager is not None else ("", "")
        _write(
            "terminated", signal=number, stdout=_bounded(out, MAX_SECTION), stderr=_bounded(err, MAX_SECTION)
        )
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
    if not _is_controller(_state["config"]):
        _write("start", nodeid=nodeid)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: Any) -> Iterator[None]:
    """Measure the call and, where asked for, profile it."""
    trace = _start_trace() if _state["record"] is not None else None
    meter = _start_meter()
    yield
    if meter is not None:
        _stop_meter(item, meter)
    if trace is not None:
        _stop_trace(item, trace)


@_harmless
def _start_meter() -> _Meter | None:
    return _Meter() if _state["record"] is not None else None


@_harmless
def _stop_meter(item: Any, meter: _Meter) -> None:
    item._nbbench_usage = dict(meter.read(), **_torch_facts())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    """Write one line a phase."""
    outcome = yield
    if _state["record"] is not None:
        _phase(item, call, outcome)


@_harmless
def _phase(item: Any, call: Any, outcome: Any) -> None:
    report = outcome.get_result()
    seen = item.__dict__.setdefault("_nbbench_seen", {})
    content: dict[str, Any] = {
        "nodeid": report.nodeid,
        "phase": report.when,
        "outcome": report.outcome,
        "duration_s": report.duration,
    }
    content.update(_sections(report, seen))
    if hasattr(report, "wasxfail"):
        content["xfail"] = str(report.wasxfail)
    if report.outcome != "passed":
        content.update(_failure(call, report))
    if report.when == "call":
        content["usage"] = getattr(item, "_nbbench_usage", {})
        content["held"] = list(item.__dict__.get("_nbbench_held", {}).items())
    _write("phase", **content)


@pytest.hookimpl(optionalhook=True)
@_harmless
def pytest_assertion_pass(item: Any, lineno: int, orig: str, expl: str) -> None:
    """A comparison that holds, as source and in figures: passing tests tell their thresholds nowhere else."""
    held = item.__dict__.setdefault("_nbbench_held", {})
    figures = expl.split("\n")[0]
    if _state["record"] is not None and len(held) < _ASSERTIONS_KEPT and ("<" in figures or ">" in figures):
        held[_bounded(" ".join(orig.split()), 500)] = _bounded(figures, 500)


@_harmless
def pytest_sessionfinish(session: Any, exitstatus: Any) -> None:
    """The end, as pytest sees it."""
    if _state["record"] is None:
        return
    _write("session_finish", exit_status=int(exitstatus), **_torch_facts())


# --- torch's profiler -------------------------------------------------------------------------


@_harmless
def _start_trace() -> Any:
    if not os.environ.get(_TRACE_PATH):
        return None
    import torch.profiler

    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=False)
    profiler.__enter__()
    return profiler


@_harmless
def _stop_trace(item: Any, profiler: Any) -> None:
    profiler.__exit__(None, None, None)
    _state["traces"] += 1
    table = sorted(profiler.key_averages(), key=lambda row: -row.self_cpu_time_total)
    operators = [
        {
            "operator": str(row.key)[:200],
            "calls": int(row.count),
            "self_s": row.self_cpu_time_total / 1e6,
            "total_s": row.cpu_time_total / 1e6,
        }
        for row in table
    ]
    _write("profile", nodeid=item.nodeid, operators=operators[:_OPERATORS_KEPT])
    worker, number = _state["record"].worker, _state["traces"]
    path = Path(os.environ[_TRACE_PATH])
    suffix = ("-" + worker if worker else "") + (f"-{number}" if number > 1 else "")
    target = path.with_name(path.stem + suffix + path.suffix)
    temporary = target.with_name("." + target.name + ".tmp.json")
    profiler.export_chrome_trace(str(temporary))
    temporary.replace(target)
