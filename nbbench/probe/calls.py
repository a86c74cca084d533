"""Calls of the subject's functions: what each moved, and what a perfect fusion of it would move.

docs/ledger.md ("Fused bytes") is the definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, TypeAlias, cast

import torch

from nbbench.probe.storages import Life, Storages

Place: TypeAlias = tuple[str, int, str]  # path, line, function
NOWHERE: Place = ("", 0, "")

# Part of the function they stand in; most have frames in some Python versions only (PEP 709).
_COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
# The frame through which torch enters a compiled function.
_COMPILED = ("compile_wrapper", "torch/_dynamo/eval_frame.py")


@dataclass(frozen=True, slots=True)
class _Code:
    """What a frame's code means here; `code` is held so that its id stays its own."""

    code: CodeType
    path: str | None  # below the subject's root; None for everybody else's code
    function: str
    is_call: bool
    compiled: bool


@dataclass(slots=True)
class FunctionTotal:
    """Sums over the calls of one function; a call made inside another of the same is part of it."""

    calls: int = 0
    count: int = 0
    bytes: int = 0
    self_bytes: int = 0
    fused_bytes: int = 0


@dataclass(slots=True, eq=False)
class _Call:
    """One call, from its first operation on; storages made since `start` are its own."""

    owner: Calls
    key: tuple[str, str]
    frame_id: int
    start: int
    recursive: bool
    count: int = 0
    bytes: int = 0
    self_bytes: int = 0
    views: set[tuple[int, Any]] = field(default_factory=set)
    read: dict[int, int] = field(default_factory=dict)  # bytes by the storage's serial
    written: dict[int, int] = field(default_factory=dict)

    def reads(self, life: Life, view: Any, size: int) -> bool:
        """Book a read from outside; False when the call had these bytes already."""
        whole = max(self.read.get(life.serial, 0), self.written.get(life.serial, 0)) >= life.size
        return not whole and self._touch(self.read, life, view, size)

    def writes(self, life: Life, view: Any, size: int) -> bool:
        """Book a write to the outside; False when the call had written these bytes already."""
        whole = self.written.get(life.serial, 0) >= life.size
        return not whole and self._touch(self.written, life, ("w", view), size)

    def _touch(self, sums: dict[int, int], life: Life, view: Any, size: int) -> bool:
        key = (life.serial, view)
        if key in self.views or (life.serial, ("w", view)) in self.views:
            return False
        self.views.add(key)
        sums[life.serial] = min(life.size, sums.get(life.serial, 0) + size)
        return True


class Calls:
    """The calls that are under way, brought up to date at every operation that moves bytes."""

    def __init__(self, root: str, storages: Storages) -> None:
        self.functions: dict[tuple[str, str], FunctionTotal] = {}
        self.fused_bytes = 0  # of the whole recording, once it is closed
        self.compiled = False
        self.instruction = 0  # of the innermost place that `enter` found last
        self._root = root.rstrip("/") + "/" if root else ""
        self._storages = storages
        self._codes: dict[int, _Code] = {}
        self._active: list[_Call] = [_Call(self, ("", ""), 0, storages.next_serial, recursive=False)]

    def enter(self, frame: FrameType | None) -> Place:
        """End the calls that returned and begin those that are new; the innermost place.

        A call is known by a mark on its frame, because frames are used again and a reference
        would keep the call's locals alive. `f_trace` is the one attribute that a frame takes;
        it means nothing unless somebody traces, and then their mark is left alone.
        """
        place, found = self._stack(frame)
        active, depth = self._active, 1
        for mine, code in reversed(found):
            mark: Any = mine.f_trace
            ours = isinstance(mark, _Call) and mark.owner is self
            current = active[depth] if depth < len(active) else None
            if current is None or not (
                mark is current or (mark is not None and not ours and current.frame_id == id(mine))
            ):
                self._leave(depth)
                current = self._begin(code, mine)
                if mark is None or ours:
                    mine.f_trace = cast(Any, current)
            depth += 1
        self._leave(depth)
        return place

    def moved(self, size: int) -> None:
        """Book an operation of `size` bytes on the innermost call."""
        call = self._active[-1]
        call.count += 1
        call.bytes += size
        call.self_bytes += size

    def reads(self, tensor: torch.Tensor, size: int) -> None:
        """Book a read on every call that the storage is foreign to."""
        self._touch(tensor, self._storages.seen(tensor), size, _Call.reads)

    def writes(self, tensor: torch.Tensor, life: Life, size: int) -> None:
        """Book a write on every call that the storage is foreign to."""
        self._touch(tensor, life, size, _Call.writes)

    def close(self, frame: FrameType | None) -> None:
        """End all calls, and take the marks off the frames that still run."""
        self._leave(1)
        self.fused_bytes = self._fused(self._active[0])
        while frame is not None:
            if isinstance(frame.f_trace, _Call) and frame.f_trace.owner is self:
                frame.f_trace = None
            frame = frame.f_back

    def _touch(self, tensor: torch.Tensor, life: Life, size: int, book: Any) -> None:
        view: Any = None
        for call in reversed(self._active):
            if life.made and life.serial >= call.start:
                return  # its own, and so that of every call around it
            if view is None:
                view = (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
            if not book(call, life, view, size):
                return  # what it had, the calls around it had too

    def _stack(self, frame: FrameType | None) -> tuple[Place, list[tuple[FrameType, _Code]]]:
        place, found = NOWHERE, []
        self.instruction = 0
        codes = self._codes
        while frame is not None:
            code = codes.get(id(frame.f_code)) or self._code(frame.f_code)
            if code.path is not None:
                if place is NOWHERE:
                    place = (code.path, frame.f_lineno, code.function)
                    self.instruction = frame.f_lasti
                if code.is_call:
                    found.append((frame, code))
            elif code.compiled:
                self.compiled = True
            frame = frame.f_back
        return place, found

    def _code(self, code: CodeType) -> _Code:
        if (known := self._codes.get(id(code))) is None:
            name = code.co_filename
            inside = bool(self._root) and name.startswith(self._root)
            comprehension = code.co_name in _COMPREHENSIONS
            function = code.co_qualname
            if comprehension:
                function = function.rpartition(".")[0].removesuffix(".<locals>") or "<module>"
            compiled = code.co_name == _COMPILED[0] and name.endswith(_COMPILED[1])
            path = name[len(self._root) :] if inside else None
            known = self._codes[id(code)] = _Code(code, path, function, not comprehension, compiled)
        return known

    def _begin(self, code: _Code, frame: FrameType) -> _Call:
        key = (code.path or "", code.function)
        recursive = any(call.key == key for call in self._active)
        call = _Call(self, key, id(frame), self._storages.next_serial, recursive)
        self._active.append(call)
        return call

    def _leave(self, depth: int) -> None:
        while len(self._active) > depth:
            call = self._active.pop()
            around = self._active[-1]
            around.count += call.count
            around.bytes += call.bytes
            total = self.functions.setdefault(call.key, FunctionTotal())
            total.self_bytes += call.self_bytes
            if not call.recursive:
                total.calls += 1
                total.count += call.count
                total.bytes += call.bytes
                total.fused_bytes += self._fused(call)

    def _fused(self, call: _Call) -> int:
        left = self._storages.left_since(call.start)
        return sum(call.read.values()) + sum(call.written.values()) + left
