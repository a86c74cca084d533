"""Calls, executed lines and calls to the outside, from the interpreter: two sources of the same counts.

`sys.monitoring` (Python 3.12 and later) and `sys.settrace` with `sys.setprofile` (before) tell the same
events, by the rules of docs/host_work.md. A line counts when it begins: control comes from another line, or
jumps back within the line. The outside is also what C functions call back. All threads are looked at that
begin while recording.
"""

import builtins
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
# The recorder's own frames are nobody's work; what an import statement calls is not told by every source.
_NOBODYS = __file__.rpartition("/")[0] + "/host_", "<frozen importlib"
_DESCRIPTOR = type(list.append)
_BUILTIN = type(len)


class Code:
    """What one code object of the subject did."""

    __slots__ = ("at", "calls", "code", "first", "function", "is_call", "lines", "outside", "path")

    def __init__(self, code: CodeType, path: str, at: int = 0) -> None:
        self.code, self.path, self.first, self.at = code, path, at or code.co_firstlineno, at
        self.is_call = code.co_name not in _COMPREHENSIONS
        self.function = code.co_qualname
        if not self.is_call:
            self.function = code.co_qualname.rpartition(".")[0].removesuffix(".<locals>") or "<module>"
        self.calls = 0
        self.lines: dict[int, int] = {}
        self.outside: dict[tuple[int, str], int] = {}

    def called_outside(self, line: int, name: str) -> None:
        """Book a call from one of its lines to the outside."""
        key = self.at or line, name
        self.outside[key] = self.outside.get(key, 0) + 1


class Codes:
    """The code objects that were met; those of the subject are kept with their counts.

    `at_line`, where it is given, is called with the code and the line that begins. `packages` are the names
    under which modules of the subject are imported.
    """

    def __init__(self, root: str, at_line: Callable[[Code, int], None] | None = None) -> None:
        self._root = root.rstrip("/") + "/"
        self._known: dict[int, tuple[CodeType, Code | None]] = {}
        self.at_line = at_line
        places = {root or "/", *(one for one in sys.path if root and one.startswith(self._root))}
        self.packages = frozenset(
            one.name.removesuffix(".py") for place in places for one in Path(place).glob("*")
        )

    def subject(self, code: CodeType) -> Code | None:
        """The counts of a code object of the subject; None for everybody else's."""
        if (found := self._known.get(id(code))) is None:
            name = code.co_filename
            mine = Code(code, name[len(self._root) :]) if name.startswith(self._root) else None
            found = self._known[id(code)] = code, mine  # the code is held, so that its id stays its own
        return found[1]

    def compiled(self, code: CodeType, frame: FrameType) -> None:
        """Take note of code that a frame executes: of a line of the subject, it counts on that line."""
        if (mine := self.subject(frame.f_code)) is not None and not code.co_filename.startswith(self._root):
            made = Code(code, mine.path, mine.at or frame.f_lineno or 0)
            made.function = mine.function
            self._known[id(code)] = code, made
            for part in code.co_consts:
                if isinstance(part, CodeType):
                    self.compiled(part, frame)

    def all(self) -> list[Code]:
        """The subject's code objects that ran."""
        return [mine for _, mine in self._known.values() if mine is not None]

    def innermost(self, frame: FrameType | None) -> tuple[Code | None, int]:
        """The innermost line of the subject that is under way."""
        while frame is not None:
            if (mine := self.subject(frame.f_code)) is not None:
                return mine, mine.at or frame.f_lineno or 0
            frame = frame.f_back
        return None, 0

    def entered(self, frame: FrameType) -> None:
        """Book a call of Python code: the subject's own, or another's from a line of the subject."""
        mine, around = self.subject(frame.f_code), frame.f_back
        if mine is not None:
            mine.calls += mine.is_call
        elif around is not None and (caller := self.subject(around.f_code)) is not None:
            code, module = frame.f_code, frame.f_globals.get("__name__", "")
            if not code.co_filename.startswith(_NOBODYS):
                caller.called_outside(around.f_lineno or 0, f"{module}.{code.co_qualname}")

    def line(self, mine: Code, line: int) -> None:
        """Book a line that begins."""
        line = mine.at or line
        mine.lines[line] = mine.lines.get(line, 0) + 1
        if self.at_line is not None:
            self.at_line(mine, line)


def c_name(function: Any, owner: Any) -> str:
    """`len`, `math.sqrt`, `list.append`: the name of a C function, or of a method and its object's type."""
    if owner is None or type(owner).__name__ == "module":
        module = getattr(function, "__module__", None)
        return str(function.__name__) if module in (None, "builtins") else f"{module}.{function.__name__}"
    kind = owner if isinstance(owner, type) else type(owner)
    return f"{kind.__qualname__}.{function.__name__}"


class TraceEvents:
    """`sys.settrace` for lines, `sys.setprofile` for calls.

    Neither listens while a package of others is imported: torch._dynamo makes a million calls, and each
    would cost four more, to the hook that sees files being opened.
    """

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._locals: dict[int, Callable[..., Any]] = {}
        self._before: tuple[Any, ...] = (None, None)
        self._import: Callable[..., Any] = builtins.__import__
        self._replaced = False

    def start(self) -> None:
        """Listen in this thread, and in those that begin."""
        self._before = sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()
        self._import, builtins.__import__ = builtins.__import__, self._quiet_import
        threading.settrace(self._trace)
        threading.setprofile(self._profile)
        sys.settrace(self._trace)
        sys.setprofile(self._profile)

    def stop(self) -> None:
        """Give the hooks back. Raises NotImplementedError where somebody else took them meanwhile."""
        replaced = self._replaced or (sys.gettrace(), sys.getprofile()) != (self._trace, self._profile)
        sys.setprofile(self._before[1])
        sys.settrace(self._before[0])
        threading.settrace(self._before[2])
        threading.setprofile(self._before[3])
        builtins.__import__ = self._import
        if replaced:
            raise NotImplementedError("it sets Python's trace or profile function, which count its host work")

    def _quiet_import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        """Import, and listen meanwhile only where the module is the subject's."""
        whose = (globals or {}).get("__package__") or "" if level else name
        mine = whose.partition(".")[0] in self._codes.packages
        wanted = (self._trace, self._profile) if mine else (None, None)
        hooks = sys.gettrace(), sys.getprofile()
        if hooks == wanted:
            return self._import(name, globals, locals, fromlist, level)
        if hooks not in ((None, None), (self._trace, self._profile)):
            self._replaced = True
        sys.settrace(wanted[0])
        sys.setprofile(wanted[1])
        try:
            return self._import(name, globals, locals, fromlist, level)
        finally:
            sys.setprofile(hooks[1])
            sys.settrace(hooks[0])

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        mine = self._codes.subject(frame.f_code)
        if mine is None:
            return None
        if (known := self._locals.get(id(mine))) is None:
            known = self._locals[id(mine)] = self._local(mine)
        return known

    def _local(self, mine: Code) -> Callable[..., Any]:
        book = self._codes.line

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "line":
                book(mine, frame.f_lineno)
            return local

        return local

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            self._codes.entered(frame)
        elif event == "c_call" and (mine := self._codes.subject(frame.f_code)) is not None:
            mine.called_outside(frame.f_lineno, c_name(arg, arg.__self__))


class MonitoringEvents:
    """`sys.monitoring`: lines and calls of the subject's code objects alone, starts of all functions."""

    _TOOL = 4  # none of those that sys.monitoring names

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._instrumented: set[int] = set()
        self._places: dict[int, dict[int, int]] = {}

    def start(self) -> None:
        """Listen in all threads."""
        tools, events = self._monitoring, self._monitoring.events
        tools.use_tool_id(self._TOOL, "nbbench")
        for event in (events.PY_START, events.PY_RESUME, events.PY_THROW):
            tools.register_callback(self._TOOL, event, self._start)
        tools.register_callback(self._TOOL, events.LINE, self._line)
        tools.register_callback(self._TOOL, events.JUMP, self._jump)
        tools.register_callback(self._TOOL, events.CALL, self._call)
        tools.set_events(self._TOOL, events.PY_START | events.PY_RESUME | events.PY_THROW)
        tools.restart_events()

    def stop(self) -> None:
        """Give the tool back."""
        tools = self._monitoring
        tools.set_events(self._TOOL, 0)
        for one in self._codes.all():
            if id(one.code) in self._instrumented:
                tools.set_local_events(self._TOOL, one.code, 0)
        self._instrumented.clear()
        tools.free_tool_id(self._TOOL)

    def _start(self, code: CodeType, *_: Any) -> None:
        events = self._monitoring.events
        if self._codes.subject(code) is not None and id(code) not in self._instrumented:
            self._instrumented.add(id(code))
            local = events.LINE | events.JUMP | events.CALL
            self._monitoring.set_local_events(self._TOOL, code, local)
        self._codes.entered(sys._getframe(1))

    def _line(self, code: CodeType, line: int) -> None:
        if (mine := self._codes.subject(code)) is not None:
            self._codes.line(mine, line)

    def _jump(self, code: CodeType, offset: int, target: int) -> Any:
        """A jump back within one line begins the line again; any other is told as a line."""
        lines = self._lines(code)
        if target > offset or lines.get(offset) != lines.get(target):
            return self._monitoring.DISABLE
        self._line(code, lines.get(target, 0))
        return None

    def _call(self, code: CodeType, offset: int, function: Any, first: Any) -> None:
        kind = type(function)
        if kind is _BUILTIN:
            owner = function.__self__
        elif kind is _DESCRIPTOR and first is not self._monitoring.MISSING:
            owner = first
        else:
            return
        if (mine := self._codes.subject(code)) is not None:
            mine.called_outside(self._lines(code).get(offset, 0), c_name(function, owner))

    def _lines(self, code: CodeType) -> dict[int, int]:
        if (known := self._places.get(id(code))) is None:
            spans = [(start, end, line) for start, end, line in code.co_lines() if line is not None]
            known = {at: line for start, end, line in spans for at in range(start, end, 2)}
            self._places[id(code)] = known
        return known


def event_source(codes: Codes) -> TraceEvents | MonitoringEvents:
    """What this interpreter has."""
    return MonitoringEvents(codes) if hasattr(sys, "monitoring") else TraceEvents(codes)
