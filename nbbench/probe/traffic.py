"""The traffic ledger: every dispatched tensor operation with the bytes it reads and writes.

docs/ledger.md is the definition; probe/operation.py holds its rules.
"""

import functools
import sys
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nbbench.probe.operation import OperationPlan, check_dense, moves, tensor_bytes, tensors
from nbbench.probe.places import ForwardLines, Place, Places, in_backward
from nbbench.probe.storages import FusedBytes, Storages

COMPILED_NOTE = "compiled code ran eagerly: the ledger counts what torch.compile was given"
THREADS_NOTE = "other Python threads were there: what they asked torch for is not counted"


@dataclass(slots=True)
class LineCost:
    """Cost booked on one (path, line, function, operation, dtype)."""

    count: int = 0
    bytes: int = 0
    upcast_bytes: int = 0


@dataclass(slots=True)
class Traffic:
    """Totals of one recording.

    `ops` counts operations that move bytes, `dispatched` every dispatched operation, views
    and metadata included. `upcast_bytes` are bytes of floating-point outputs wider than the
    dtype that was asked for. `peak_live_bytes` is the largest sum of storages alive at once
    that were made or written while recording; `peak_line` is what ran then. What only the end
    tells (`fused_bytes`, `notes`, `counts`) is there once the recording is over.
    """

    ops: int = 0
    dispatched: int = 0
    bytes: int = 0
    upcast_bytes: int = 0
    peak_live_bytes: int = 0
    peak_line: Place = ("", 0, "")
    by_dtype: Counter[str] = field(default_factory=Counter)
    lines: defaultdict[tuple[str, int, str, str, str], LineCost] = field(
        default_factory=lambda: defaultdict(LineCost)
    )
    backward_ops: int = 0
    backward_bytes: int = 0
    fused_bytes: int = 0
    notes: tuple[str, ...] = ()
    counts: dict[str, float] = field(default_factory=dict)  # what else is counted, by its metric's name


class TrafficLedger(TorchDispatchMode):  # type: ignore[misc]
    """Records the traffic of everything dispatched inside `with TrafficLedger(...) as ledger:`.

    `source_root` is the folder of the subject's source: an operation is booked on the
    innermost frame below it (path relative to the root). `asked` is the dtype that the
    workload asked for. The result is `ledger.traffic`; a recorder records once.
    """

    _sizes_before = True  # whether it matters how large each storage was before

    def __init__(self, *, source_root: str = "", asked: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.traffic = Traffic()
        self._asked_size = asked.itemsize
        self._storages = Storages()
        self._places = Places(source_root)
        self._fused = FusedBytes(self._storages)
        self._forward = ForwardLines()
        self._plan = functools.cache(lambda func: OperationPlan.of(func._schema))
        self._depth = 0  # inference mode enters again to take composites apart

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else the first operation would import torch._dynamo: seconds, and frames kept alive."""
        return False

    def __enter__(self) -> "TrafficLedger":
        """Begin to record."""
        if self._depth == 0:
            if self._sizes_before:
                self._storages.note_present()
            # A dispatch mode records its own thread alone: whether there are others is said.
            self._others = threading.active_count() > 1
            self._profile = threading.getprofile()
            threading.setprofile(self._thread_began)
        self._depth += 1
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """End the recording and fill in what only the end tells."""
        super().__exit__(*error)
        self._depth -= 1
        if self._depth:
            return
        threading.setprofile(self._profile)
        self.traffic.fused_bytes = self._fused.total()
        self.traffic.counts["track_mapped_bytes"] = float(self._storages.mapped_bytes)
        notes = ((COMPILED_NOTE, self._places.compiled), (THREADS_NOTE, self._others))
        self.traffic.notes = tuple(text for text, holds in notes if holds)

    def _thread_began(self, frame: FrameType, event: str, arg: Any) -> None:
        self._others = True
        sys.setprofile(self._profile)  # runs once, in each thread that begins

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then book it."""
        kwargs = kwargs or {}
        if types and any(_takes_over(kind) for kind in types):
            return NotImplemented  # a subclass issues its own operations, which come back here
        if torch.is_inference_mode_enabled():
            # Without autograd's keys a composite operation arrives here whole.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return self._run(func, args, kwargs)

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation of plain tensors and take note of it."""
        result = func(*args, **kwargs)
        self._book(func, args, kwargs, result, sys._getframe(2))
        return result

    def _book(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, frame: FrameType
    ) -> None:
        total = self.traffic
        total.dispatched += 1
        inputs = tensors((*args, *kwargs.values()))
        outputs = tensors((result,))
        for tensor in (*inputs, *outputs):
            check_dense(tensor)
        moving = moves(func, inputs, outputs)
        if not moving and not self._forward.made_nodes():
            return
        backward = in_backward()
        place = self._place(frame, inputs, backward=backward)
        if not moving:
            return
        for tensor in inputs:
            self._storages.seen(tensor)  # what is written next and was not seen is new
        plan = self._plan(func)
        if plan.allocates:
            for tensor in outputs:
                self._storages.written(tensor, 0)
            self._peak(place)
            return
        read, written = plan.sides(args, kwargs, outputs)
        moved = self._move(read, written, place)
        wider = sum(
            tensor_bytes(t)
            for t in outputs
            if t.element_size() > self._asked_size and t.dtype.is_floating_point
        )
        dtype = dtype_name((outputs or inputs)[0].dtype)
        total.ops += 1
        total.bytes += moved
        total.upcast_bytes += wider
        if backward:
            total.backward_ops += 1
            total.backward_bytes += moved
        cost = total.lines[*place, plan.name, dtype]
        cost.count += 1
        cost.bytes += moved
        cost.upcast_bytes += wider

    def _place(self, frame: FrameType, inputs: list[torch.Tensor], *, backward: bool) -> Place:
        """The subject's line that asked for an operation; in a backward pass that of the forward one."""
        place = self._places.find(frame)
        if backward:
            place = self._forward.current()
        if self._forward.made_nodes():
            self._forward.note(place, differentiable=any(t.requires_grad for t in inputs))
        return place

    def _move(self, read: list[torch.Tensor], written: list[torch.Tensor], place: Place) -> int:
        """Book the bytes by dtype, and follow the storages; returns the bytes."""
        moved = 0
        for book, side in ((self._fused.reads, read), (self._fused.writes, written)):
            for tensor in side:
                size = tensor_bytes(tensor)
                book(tensor, size)
                moved += size
                self.traffic.by_dtype[dtype_name(tensor.dtype)] += size
        self._peak(place)
        return moved

    def _peak(self, place: Place) -> None:
        total, live = self.traffic, self._storages.live_bytes
        if live > total.peak_live_bytes:
            total.peak_live_bytes = live
            total.peak_line = place


@functools.cache
def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as ledgers write it: float32."""
    return str(dtype).removeprefix("torch.")


def _takes_over(kind: type) -> bool:
    """Whether a tensor subclass has its own __torch_dispatch__ (torch.nn.Parameter has not)."""
    handler = getattr(kind, "__torch_dispatch__", None)
    return kind is not torch.Tensor and handler is not torch._C._disabled_torch_dispatch_impl
