"""The traffic ledger: every dispatched tensor operation with the bytes it reads and writes.

docs/ledger.md is the definition; in short: an operation that only makes a view or reads
metadata moves nothing; any other reads each input tensor once and writes each output tensor
once, where a dimension of stride 0 counts once. A destination that is only written (`out=`,
`copy_`, `fill_`, `zero_`, random fills) is not read, and an allocation without contents
(`empty`) moves nothing.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Reads nothing of its destination (the first argument).
_WRITE_ONLY = frozenset(
    {
        *("copy_", "fill_", "zero_", "set_", "_foreach_copy_", "_foreach_zero_"),
        *("normal_", "uniform_", "random_", "bernoulli_", "exponential_"),
        *("cauchy_", "geometric_", "log_normal_"),
    }
)
# Allocates and leaves the contents undefined.
_UNINITIALISED = frozenset(
    {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}
)


class SparseTensorError(ValueError):
    """A sparse tensor has no dense traffic; the ledger refuses instead of guessing."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an operation's schema says: its name, and which arguments it writes."""

    name: str
    out: tuple[str, ...]  # `out=` arguments: only written
    mutated: tuple[tuple[int, str], ...]  # in-place arguments by position and name

    @classmethod
    def of(cls, schema: Any) -> _Plan:
        written = [
            (place, argument)
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        return cls(
            schema.name.rpartition("::")[2],
            tuple(a.name for _, a in written if a.kwarg_only),
            tuple((place, a.name) for place, a in written if not a.kwarg_only),
        )

    def sides(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The tensors that a call reads, and those that it writes (each once)."""
        mutated = [args[place] if place < len(args) else kwargs.get(key) for place, key in self.mutated]
        unread = self.mutated if self.name in _WRITE_ONLY else ()
        places, keys = {place for place, _ in unread}, {*self.out, *(key for _, key in unread)}
        read = _tensors(a for place, a in enumerate(args) if place not in places)
        read += _tensors(a for key, a in kwargs.items() if key not in keys)
        destinations = _tensors((*mutated, *(kwargs.get(key) for key in self.out)))
        return read, list({id(t): t for t in (*outputs, *destinations)}.values())


@dataclass(slots=True)
class _Life:
    """A storage that was made or written while recording; `ref` tells its end."""

    size: int
    ref: weakref.ref[Any] | None = None


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
    that were made or written while recording; `peak_line` is what ran then.
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
    _check_dense(tensor)
    size: int = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if length == 0:
            return 0
        if stride != 0:
            size *= length
    return size


def _check_dense(tensor: torch.Tensor) -> None:
    if tensor.layout is not torch.strided:
        raise SparseTensorError(f"the ledger does not count {tensor.layout} tensors")


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
        self._ours: dict[str, str | None] = {}
        self._alive: dict[int, _Life] = {}
        self._plans: dict[Any, _Plan] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then book it."""
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():
            # Without autograd's keys a composite operation arrives here whole.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._book(func, args, kwargs, result)
        return result

    def _book(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        total = self.traffic
        total.dispatched += 1
        inputs = _tensors(args) + _tensors(kwargs.values())
        outputs = _tensors((result,))
        for tensor in (*inputs, *outputs):
            _check_dense(tensor)
        if not self._moves(func, inputs, outputs):
            return
        where = self._where(sys._getframe(2))
        plan = self._plan(func)
        name = plan.name
        if name in _UNINITIALISED:
            self._watch(outputs, where)
            return
        read, written = plan.sides(args, kwargs, outputs)
        self._watch(written, where)
        moved = sum(tensor_bytes(t) for t in (*read, *written))
        wider = sum(
            tensor_bytes(t)
            for t in outputs
            if t.dtype.is_floating_point and t.element_size() > self._asked_size
        )
        dtype = str((outputs or inputs)[0].dtype).removeprefix("torch.")
        total.ops += 1
        total.bytes += moved
        total.upcast_bytes += wider
        for tensor in (*read, *written):
            key = str(tensor.dtype).removeprefix("torch.")
            total.by_dtype[key] = total.by_dtype.get(key, 0) + tensor_bytes(tensor)
        cost = total.lines.setdefault((*where, name, dtype), LineCost())
        cost.count += 1
        cost.bytes += moved
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

    def _plan(self, func: Any) -> _Plan:
        if (plan := self._plans.get(func)) is None:
            plan = self._plans[func] = _Plan.of(func._schema)
        return plan

    def _where(self, frame: FrameType | None) -> tuple[str, int, str]:
        while frame is not None:
            code = frame.f_code
            name = code.co_filename
            path = self._ours.get(name, "")
            if path == "":
                inside = bool(self._root) and name.startswith(self._root)
                path = self._ours[name] = name[len(self._root) :] if inside else None
            if path is not None:
                return path, frame.f_lineno, code.co_qualname
            frame = frame.f_back
        return "", 0, ""

    def _watch(self, written: Iterable[torch.Tensor], where: tuple[str, int, str]) -> None:
        """Follow the life of storages that are made or written, for the peak of live bytes."""
        total = self.traffic
        for tensor in written:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if (life := self._alive.get(key)) is not None:
                total.live_bytes += size - life.size  # an `out=` may have been resized
                life.size = size
            else:
                self._alive[key] = life = _Life(size)
                life.ref = weakref.ref(storage, functools.partial(self._gone, key, life))
                total.live_bytes += size
        if total.live_bytes > total.peak_live_bytes:
            total.peak_live_bytes = total.live_bytes
            total.peak_line = where

    def _gone(self, key: int, life: _Life, _: Any) -> None:
        if self._alive.get(key) is life:
            del self._alive[key]
            self.traffic.live_bytes -= life.size
