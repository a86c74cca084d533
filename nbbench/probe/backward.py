"""Telling autograd's backward pass apart, and finding the forward line that it answers."""

from __future__ import annotations

import torch

from nbbench.probe.places import Place

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
