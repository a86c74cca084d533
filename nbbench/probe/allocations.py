"""The large tensors that a run allocates, by source line: what the allocator has to serve."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nbbench.probe.calls import Calls
from nbbench.probe.storages import Storages


@dataclass(slots=True)
class Allocated:
    """Large results of one source line: how many, and the largest in bytes."""

    count: int = 0
    largest: int = 0


class LargeTensors(TorchDispatchMode):  # type: ignore[misc]
    """Records every new storage of at least `least_bytes` that an operation returns.

    `lines` is keyed by `path:line function` of the subject ('' for everybody else's code).
    Buffers that a kernel allocates for itself are not seen.
    """

    def __init__(self, *, source_root: str = "", least_bytes: int = 0) -> None:
        super().__init__()
        self.lines: dict[str, Allocated] = {}
        self._least = least_bytes
        self._calls = Calls(source_root, Storages())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then look at what it returned."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view and not func._schema.is_mutable:
            for tensor in result if isinstance(result, list | tuple) else (result,):
                if isinstance(tensor, torch.Tensor):
                    self._book(tensor, args)
        return result

    def _book(self, tensor: torch.Tensor, args: tuple[Any, ...]) -> None:
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        held = {a.untyped_storage()._cdata for a in args if isinstance(a, torch.Tensor)}
        if size < self._least or storage._cdata in held:
            return
        stack = self._calls.stack(sys._getframe(2))
        line = self.lines.setdefault(stack[-1] if stack else "", Allocated())
        line.count += 1
        line.largest = max(line.largest, size)
