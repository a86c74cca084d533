"""The traffic ledger: every dispatched tensor operation with the bytes it reads and writes.

docs/ledger.md is the definition; in short: an operation that only makes a view or reads
metadata moves nothing; any other reads each input tensor once and writes each output tensor
once, where a dimension of stride 0 counts once. A destination that is only written (`out=`,
`copy_`, `fill_`, `zero_`, random fills) is not read, and an allocation without contents
(`empty`) moves nothing.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Reads nothing of its destination (the first argument).
_WRITE_ONLY = frozenset(
    {"copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "set_"}
)
# Allocates and leaves the contents undefined.
_UNINITIALISED = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})


class SparseTensorError(TypeError):
    """A sparse tensor has no dense traffic; the ledger refuses instead of guessing."""


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
    that were made while recording; `peak_line` is what ran then.
    """

    ops: int = 0
    dispatched: int = 0
    bytes: int = 0
    upcast_bytes: int = 0
    live_bytes: int = 0
    peak_live_bytes: int = 0
    peak_line: tuple[str, int, str] = ("", 0, "")
    by_dtype: dict[str, int] = field(default_factory=dict)
    lines: dict[tuple[str, int, str, str, str], LineCost] = field(default_factory=dict)


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Bytes that reading or writing `tensor` once touches; a stride-0 dimension counts once.

    Raises SparseTensorError for a sparse layout.
    """
    if tensor.layout is not torch.strided:
        raise SparseTensorError(f"the ledger does not count {tensor.layout} tensors")
    size: int = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if length == 0:
            return 0
        if stride != 0:
            size *= length
    return size


def _tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    """Tensors among `values`, one level of lists and tuples opened (all that schemas allow)."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(v for v in value if isinstance(v, torch.Tensor))
    return found


class TrafficLedger(TorchDispatchMode):  # type: ignore[misc]
    """Records the traffic of everything dispatched inside `with TrafficLedger(...) as ledger:`.

    `source_root` is the folder of the subject's source: an operation is booked on the
    innermost frame below it (path relative to the root). `asked` is the dtype that the
    workload asked for. The result is `ledger.traffic`.
    """

    def __init__(self, *, source_root: str = "", asked: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.traffic = Traffic()
        self._root = source_root.rstrip("/") + "/" if source_root else ""
        self._asked_size = asked.itemsize
        self._ours: dict[CodeType, str | None] = {}
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then book it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._book(func, args, kwargs, result)
        return result

    def _book(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        total = self.traffic
        total.dispatched += 1
        inputs = _tensors(args) + _tensors(kwargs.values())
        outputs = _tensors((result,))
        name = func._schema.name.rpartition("::")[2]
        if not self._moves(func, inputs, outputs):
            return
        where = self._where(sys._getframe(2))
        self._watch(outputs, where)
        if name in _UNINITIALISED:
            return
        destinations = self._destinations(name, args, kwargs)
        read = sum(tensor_bytes(t) for t in inputs if not any(t is d for d in destinations))
        written = {id(t): t for t in (*outputs, *destinations)}
        wrote = sum(tensor_bytes(t) for t in written.values())
        wider = sum(
            tensor_bytes(t)
            for t in outputs
            if t.dtype.is_floating_point and t.element_size() > self._asked_size
        )
        dtype = str((outputs or inputs)[0].dtype).removeprefix("torch.")
        total.ops += 1
        total.bytes += read + wrote
        total.upcast_bytes += wider
        for tensor in (*(t for t in inputs if not any(t is d for d in destinations)), *written.values()):
            key = str(tensor.dtype).removeprefix("torch.")
            total.by_dtype[key] = total.by_dtype.get(key, 0) + tensor_bytes(tensor)
        cost = total.lines.setdefault((*where, name, dtype), LineCost())
        cost.count += 1
        cost.bytes += read + wrote
        cost.upcast_bytes += wider

    @staticmethod
    def _moves(func: Any, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> bool:
        """False for views and metadata: nothing but aliases of the inputs comes out."""
        if not inputs and not outputs:
            return False
        if func.is_view:
            return False
        if func._schema.is_mutable or not outputs or not inputs:
            return True
        held = {t.untyped_storage()._cdata for t in inputs}
        return any(t.untyped_storage()._cdata not in held for t in outputs)

    @staticmethod
    def _destinations(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
        found = _tensors((kwargs["out"],)) if kwargs.get("out") is not None else []
        if name in _WRITE_ONLY and args and isinstance(args[0], torch.Tensor):
            found.append(args[0])
        return found

    def _where(self, frame: FrameType | None) -> tuple[str, int, str]:
        while frame is not None:
            code = frame.f_code
            path = self._ours.get(code, "")
            if path == "":
                inside = bool(self._root) and code.co_filename.startswith(self._root)
                path = self._ours[code] = code.co_filename[len(self._root) :] if inside else None
            if path is not None:
                return path, frame.f_lineno, code.co_qualname
            frame = frame.f_back
        return "", 0, ""

    def _watch(self, outputs: list[torch.Tensor], where: tuple[str, int, str]) -> None:
        """Follow the life of storages that appear, for the peak of live bytes."""
        total = self.traffic
        for tensor in outputs:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self._alive or size == 0:
                continue

            def gone(_: Any, key: int = key, size: int = size) -> None:
                if self._alive.pop(key, None) is not None:
                    total.live_bytes -= size

            self._alive[key] = weakref.ref(storage, gone)
            total.live_bytes += size
        if total.live_bytes > total.peak_live_bytes:
            total.peak_live_bytes = total.live_bytes
            total.peak_line = where
