"""Recording host work: one phase of a program at a time, every count on the subject's source line.

docs/host_work.md is the definition. Needs the standard library only.
"""

import functools
import io
import os
import sys
import tempfile
import threading
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import Any, TextIO, TypeAlias

from nbbench.host import MEMORY_UNIT, HostCount, HostKind, HostPhase
from nbbench.model import Phase
from nbbench.probe.host_events import Code, Codes, event_source
from nbbench.probe.resources import collector_off

# Threads count on the same counters: one is to finish what it books before another goes on.
_SWITCH_S = 0.1
_WAITS = frozenset(
    {
        *("time.sleep", "select.select", "posix.waitpid", "subprocess.Popen.wait", "queue.Queue.get"),
        *("threading.Thread.join", "threading.Event.wait", "threading.Condition.wait"),
    }
)
_LOOKS, _JUST_NOW = 200_000, 1000
_NOWHERE: tuple[Code | None, int] = (None, 0)
_STREAMS = {"stdout": 1, "stderr": 2}


Program: TypeAlias = Callable[[Callable[[Phase], AbstractContextManager[None]]], object]
"""Runs phases, each inside the block that it is given for it."""


class HostRecorder:
    """Records phases of one process: `with recorder.phase(Phase.WARM): …`; the result is `phases`.

    `source_root` is the folder of the subject's source. Following memory makes each of the recorder's own
    steps cost several times as much. Where `peaks` tells what `memory_peaks` found in each phase, it is
    followed where it is large enough, and no longer than the first `_LOOKS` lines; what the peak is above
    that then is booked on the line that raised it last, if that was just now.
    """

    def __init__(
        self, source_root: str, *, peaks: Mapping[str, int] | None = None, source: Any = event_source
    ) -> None:
        self.phases: list[HostPhase] = []
        self._root = source_root.rstrip("/") + "/"
        self._peaks = peaks
        self._source = source

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Record what runs inside the block. A phase that raises is not kept."""
        peak = (self._peaks or {}).get(phase, 0)
        memory = self._peaks is None or peak >= MEMORY_UNIT // 2
        watch = _Watch(self._root, memory=memory, peak=peak)
        source = self._source(watch.codes)
        with collector_off(), watch.around(), ExitStack() as stack:
            if memory:
                tracemalloc.start()
                stack.callback(tracemalloc.stop)
                stack.callback(watch.look_at_peak)
            source.start()
            stack.callback(source.stop)
            yield
        self.phases.append(watch.phase(phase))


def memory_peaks(program: Program) -> dict[str, int]:
    """The most bytes from Python's allocators that were alive at once in each phase of a program."""
    found: dict[str, int] = {}

    @contextmanager
    def phase(phase: Phase) -> Iterator[None]:
        with collector_off():  # when cycles are collected would decide how much memory is alive
            tracemalloc.start()
            try:
                yield
                found[phase] = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    program(phase)
    return found


class _Watch:
    """One phase under way: what its lines did besides calls and lines."""

    def __init__(self, root: str, *, memory: bool, peak: int) -> None:
        self.codes = Codes(root, self._at_line if memory else None)
        self._root = root
        self._counts: Counter[tuple[HostKind, str, int, str, str]] = Counter()
        self._modules: list[tuple[str, Code | None, int]] = []
        self._peak = self._looks = self._rose = 0
        self._known_peak = peak
        self._rises: Counter[tuple[Code | None, int]] = Counter()
        self._last = self._riser = _NOWHERE

    @contextmanager
    def around(self) -> Iterator[None]:
        """Streams, imports, files and warnings are watched inside the block."""
        with ExitStack() as stack:
            for name, number in _STREAMS.items():
                stack.enter_context(self._stream(name, number))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always")
            warnings.showwarning = self._warned
            sys.meta_path.insert(0, self)
            stack.callback(sys.meta_path.remove, self)
            _AUDIT.watch = self
            stack.callback(setattr, _AUDIT, "watch", None)
            _AUDIT.install()
            stack.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(_SWITCH_S)
            stack.callback(self.changed, _settings())
            for name in ("_start_new_thread", "_start_joinable_thread"):  # of Python 3.13 the second
                if start := getattr(threading, name, None):
                    stack.callback(setattr, threading, name, start)
                    setattr(threading, name, functools.partial(self._thread, start))
            yield

    def phase(self, phase: Phase) -> HostPhase:
        """Everything that was counted."""
        counts = Counter(self._counts)
        for name, code, line in self._modules:
            if name in sys.modules:
                counts[_place(HostKind.MODULE, code, line, name)] += 1
        for place, rise in self._rises.items():
            if units := (rise + MEMORY_UNIT // 2) // MEMORY_UNIT:
                counts[_place(HostKind.MEMORY, *place, "")] += units * MEMORY_UNIT
        for one in self.codes.all():
            if one.calls:
                counts[HostKind.CALL, one.path, one.first, one.function, ""] += one.calls
            for line, count in one.lines.items():
                counts[HostKind.LINE, one.path, line, one.function, ""] += count
            for (line, name), count in one.outside.items():
                counts[HostKind.OUTSIDE, one.path, line, one.function, name] += count
                if name in _WAITS:
                    counts[HostKind.WAIT, one.path, line, one.function, name] += count
        return HostPhase(phase, tuple(sorted(HostCount(*key, n) for key, n in counts.items())))

    def _thread(self, start: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        self.book(HostKind.LAUNCH, sys._getframe(1), "thread")
        return start(*arguments, **more)

    def changed(self, before: Mapping[str, str]) -> None:
        """Book the settings of torch that are not as before, on the line that called what sets them last."""
        for name, value in _settings().items():
            if before.get(name, value) != value:
                setters = _SETTINGS[name][1]
                calls = ((one, line, said) for one in self.codes.all() for line, said in one.outside)
                found = [(one, line) for one, line, said in calls if said.rpartition(".")[2] in setters]
                code, line = found[-1] if found else _NOWHERE
                self._counts[_place(HostKind.SETTING, code, line, f"{name} {value}")] += 1

    def book(self, kind: HostKind, frame: FrameType | None, name: str, count: int = 1) -> None:
        """Count something on the innermost line of the subject."""
        self._counts[_place(kind, *self.codes.innermost(frame), name)] += count

    def look_at_peak(self) -> None:
        """Book what the peak of memory rose by on the line that ran last."""
        self._rise(tracemalloc.get_traced_memory()[1], self._last)

    def _rise(self, peak: int, place: tuple[Code | None, int]) -> None:
        if peak > self._peak:
            self._rises[place] += peak - self._peak
            self._peak, self._rose, self._riser = peak, self._looks, place

    def _at_line(self, code: Code, line: int) -> None:
        if line == self._last[1] and code is self._last[0]:
            return
        self.look_at_peak()
        self._last = code, line
        self._looks += 1
        if self._looks >= _LOOKS and self._known_peak:
            self.codes.at_line = None
            tracemalloc.stop()
            self._rise(self._known_peak, self._riser if self._looks - self._rose < _JUST_NOW else _NOWHERE)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Take note of a module that is looked for, as the first of the finders; never find it."""
        self._modules.append((name, *self.codes.innermost(sys._getframe(1))))

    def _warned(self, message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        self.book(HostKind.WARNING, sys._getframe(1), category.__name__)

    def opened(self, frame: FrameType | None, path: Any, mode: Any, flags: int) -> None:
        """Book a file that is opened, unless it is a module that is imported."""
        inner = frame
        while inner is not None and self.codes.subject(inner.f_code) is None:
            if inner.f_code.co_filename.startswith("<frozen importlib"):
                return
            inner = inner.f_back
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else flags & os.O_ACCMODE
        said = os.fsdecode(path) if isinstance(path, str | bytes) else ""
        inside = said[len(self._root) :] if said.startswith(self._root) else "(elsewhere)"
        self.book(HostKind.FILE, frame, f"{'write' if writes else 'read'} {inside}")

    @contextmanager
    def _stream(self, name: str, number: int) -> Iterator[None]:
        """Count what goes to a standard stream: by line through `sys`, the rest by its descriptor."""
        before: TextIO = getattr(sys, name)
        with tempfile.TemporaryFile() as scratch:
            before.flush()
            kept = os.dup(number)
            os.dup2(scratch.fileno(), number)
            counted: Any = _Counted(self, name)
            setattr(sys, name, io.TextIOWrapper(counted, "utf-8", "replace", write_through=True))
            try:
                yield
            finally:
                setattr(sys, name, before)
                before.flush()
                os.dup2(kept, number)
                os.close(kept)
                if size := os.fstat(scratch.fileno()).st_size:
                    self.book(HostKind.OUTPUT, None, name, size)


def _place(kind: HostKind, code: Code | None, line: int, name: str) -> tuple[HostKind, str, int, str, str]:
    return (kind, code.path, line, code.function, name) if code else (kind, "", 0, "", name)


class _Counted(io.RawIOBase):
    """The bytes of a standard stream: counted, and dropped."""

    def __init__(self, watch: _Watch, name: str) -> None:
        self._watch, self._name = watch, name

    def write(self, data: Any, /) -> int:
        """Count the bytes."""
        self._watch.book(HostKind.OUTPUT, sys._getframe(1), self._name, len(memoryview(data).cast("B")))
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STREAMS[self._name]


class _Audit:
    """What Python tells its audit hooks: hooks stay, so there is one, and it looks only while asked."""

    def __init__(self) -> None:
        self.watch: _Watch | None = None
        self._installed = False

    def install(self) -> None:
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if (watch := self.watch) is None:
            return
        if event == "open":
            watch.opened(sys._getframe(1), *arguments)
        elif event == "exec":
            watch.codes.compiled(arguments[0], sys._getframe(1))
        elif (kind := _AUDITED.get(event)) is not None:
            watch.book(kind, sys._getframe(1), event.rpartition(".")[2])


_AUDITED = {
    "socket.connect": HostKind.WAIT,
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.fork", "os.forkpty"), HostKind.LAUNCH),
    **dict.fromkeys(("os.posix_spawn", "os.exec"), HostKind.LAUNCH),
}
_AUDIT = _Audit()

_SETTINGS = {
    "default dtype": ("get_default_dtype", ("set_default_dtype", "set_default_tensor_type")),
    "threads": ("get_num_threads", ("set_num_threads",)),
    "gradients": ("is_grad_enabled", ("set_grad_enabled",)),
    "deterministic algorithms": ("are_deterministic_algorithms_enabled", ("use_deterministic_algorithms",)),
    "matmul precision": ("get_float32_matmul_precision", ("set_float32_matmul_precision",)),
}
"""What torch keeps for the whole process, how it is asked for and what sets it."""


def _settings() -> dict[str, str]:
    torch: Any = sys.modules.get("torch")
    return {name: str(getattr(torch, get)()) for name, (get, _) in _SETTINGS.items() if hasattr(torch, get)}
