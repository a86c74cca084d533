"""Recording host work: one phase of a program at a time, every count on the subject's source line.

docs/host_work.md is the definition. Needs the standard library only.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, TextIO

from nbbench.host import MEMORY_UNIT, HostCount, HostKind, HostPhase
from nbbench.model import Phase
from nbbench.probe.host_events import Code, Codes, event_source
from nbbench.probe.resources import collector_off

_STREAMS = {"stdout": 1, "stderr": 2}


class HostRecorder:
    """Records phases of one process: `with recorder.phase(Phase.WARM): …`; the result is `phases`.

    `source_root` is the folder of the subject's source. Following memory makes each of the recorder's own
    steps cost several times as much: `memory_peak` tells whether it is worth it.
    """

    def __init__(self, source_root: str, *, memory: bool = True, source: Any = event_source) -> None:
        self.phases: list[HostPhase] = []
        self._root = source_root.rstrip("/") + "/"
        self._memory = memory
        self._source = source

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Record what runs inside the block. A phase that raises is not kept."""
        watch = _Watch(self._root, memory=self._memory)
        source = self._source(watch.codes)
        with collector_off(), watch.around(), ExitStack() as stack:
            if self._memory:
                tracemalloc.start()
                stack.callback(tracemalloc.stop)
                stack.callback(watch.look_at_peak)
            source.start()
            stack.callback(source.stop)
            yield
        self.phases.append(watch.phase(phase))


def memory_peak(function: Callable[[], object]) -> int:
    """The most bytes from Python's allocators that were alive at once in a run of `function`."""
    with collector_off():  # when cycles are collected would decide how much memory is alive
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


class _Watch:
    """One phase under way: what its lines did besides calls and lines."""

    def __init__(self, root: str, *, memory: bool) -> None:
        self.codes = Codes(root, self._at_line if memory else None)
        self._root = root
        self._counts: Counter[tuple[HostKind, str, int, str, str]] = Counter()
        self._modules: list[tuple[str, Code | None, int]] = []
        self._peak = 0
        self._rises: Counter[tuple[Code | None, int]] = Counter()
        self._last: tuple[Code | None, int] = (None, 0)

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
            _FILES.watch = self
            stack.callback(setattr, _FILES, "watch", None)
            _FILES.install()
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
        return HostPhase(phase, tuple(sorted(HostCount(*key, n) for key, n in counts.items())))

    def book(self, kind: HostKind, frame: FrameType | None, name: str, count: int = 1) -> None:
        """Count something on the innermost line of the subject."""
        self._counts[_place(kind, *self.codes.innermost(frame), name)] += count

    def look_at_peak(self) -> None:
        """Book what the peak of memory rose by on the line that ran last."""
        rise = tracemalloc.get_traced_memory()[1] - self._peak
        if rise > 0:
            self._peak += rise
            self._rises[self._last] += rise

    def _at_line(self, code: Code, line: int) -> None:
        self.look_at_peak()
        self._last = code, line

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


class _Files:
    """Opened files, told by an audit hook: hooks stay, so there is one, and it looks only while asked."""

    def __init__(self) -> None:
        self.watch: _Watch | None = None
        self._installed = False

    def install(self) -> None:
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self.watch is not None:
            self.watch.opened(sys._getframe(1), *arguments)


_FILES = _Files()
