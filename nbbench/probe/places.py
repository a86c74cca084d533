"""The subject's line that asked for an operation, found on the stack; in autograd's backward pass the forward
line that it answers.
"""

from dataclasses import dataclass
from types import CodeType, FrameType
from typing import TypeAlias

import torch

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
    compiled: bool


class Places:
    """Finds places below a source root; afterwards knows whether compiled code was met on the way."""

    def __init__(self, root: str) -> None:
        self.compiled = False
        self.instruction = 0  # of the place that was found last
        self._root = root.rstrip("/") + "/" if root else ""
        self._codes: dict[int, _Code] = {}

    def find(self, frame: FrameType | None) -> Place:
        """The innermost place of a stack."""
        place, self.instruction = NOWHERE, 0
        codes = self._codes
        while frame is not None:
            code = codes.get(id(frame.f_code)) or self._code(frame.f_code)
            if code.path is not None and place is NOWHERE:
                place = (code.path, frame.f_lineno, code.function)
                self.instruction = frame.f_lasti
            self.compiled = self.compiled or code.compiled
            frame = frame.f_back
        return place

    def _code(self, code: CodeType) -> _Code:
        name = code.co_filename
        inside = bool(self._root) and name.startswith(self._root)
        function = code.co_qualname
        if code.co_name in _COMPREHENSIONS:
            function = function.rpartition(".")[0].removesuffix(".<locals>") or "<module>"
        compiled = code.co_name == _COMPILED[0] and name.endswith(_COMPILED[1])
        path = name[len(self._root) :] if inside else None
        known = self._codes[id(code)] = _Code(code, path, function, compiled and not inside)
        return known


UNKNOWN_LINE: Place = ("", 0, "(backward)")


class ForwardLines:
    """The line on which each autograd node was made, by the node's sequence number.

    Autograd numbers its nodes in the order in which they are made, and makes the node of an
    operation just before it dispatches it. Nodes made since the operation before, and not for
    this one, belong to that operation (an in-place write into a view makes some afterwards).
    """

    def __init__(self) -> None:
        self._lines: dict[int, Place] = {}
        self._next = torch.autograd._get_sequence_nr()
        self._last = UNKNOWN_LINE

    def made_nodes(self) -> bool:
        """Whether autograd made nodes since `note` was called last."""
        return bool(torch.autograd._get_sequence_nr() != self._next)

    def note(self, place: Place, *, differentiable: bool) -> None:
        """Book the new nodes: the newest on `place` if the operation is differentiable."""
        end = torch.autograd._get_sequence_nr()
        for number in range(self._next, end):
            mine = differentiable and number == end - 1
            self._lines[number] = place if mine else self._last
        self._next = end
        self._last = place

    def current(self) -> Place:
        """The forward line that the backward engine is working on."""
        node = torch._C._current_autograd_node()
        return self._lines.get(node._sequence_nr(), UNKNOWN_LINE) if node is not None else UNKNOWN_LINE


def in_backward() -> bool:
    """Whether the backward engine runs in this thread."""
    return bool(torch._C._current_graph_task_id() != -1)
