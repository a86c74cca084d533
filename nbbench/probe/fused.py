"""What a perfect fusion of a whole recording would move; docs/ledger.md ("Fused bytes") is the definition."""

from __future__ import annotations

from typing import Any

import torch

from nbbench.probe.storages import Life, Storages


class FusedBytes:
    """What is read from outside once, and what is written there once, while a recording goes on."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._views: set[tuple[int, Any]] = set()
        self._read: dict[int, int] = {}  # bytes by the storage's serial
        self._written: dict[int, int] = {}

    def reads(self, tensor: torch.Tensor, size: int) -> None:
        """Book a read of a storage from outside whose bytes were neither read nor written yet."""
        life = self._storages.seen(tensor)
        whole = max(self._read.get(life.serial, 0), self._written.get(life.serial, 0)) >= life.size
        if not life.made and not whole:
            self._touch(self._read, life, _view(tensor), size)

    def writes(self, tensor: torch.Tensor, life: Life, size: int) -> None:
        """Book a write into a storage from outside whose bytes were not written yet."""
        if not life.made and self._written.get(life.serial, 0) < life.size:
            self._touch(self._written, life, ("w", _view(tensor)), size)

    def total(self) -> int:
        """The bytes now, with what was made while recording and is still alive."""
        return sum(self._read.values()) + sum(self._written.values()) + self._storages.left()

    def _touch(self, sums: dict[int, int], life: Life, view: Any, size: int) -> None:
        key = (life.serial, view)
        if key in self._views or (life.serial, ("w", view)) in self._views:
            return
        self._views.add(key)
        sums[life.serial] = min(life.size, sums.get(life.serial, 0) + size)


def _view(tensor: torch.Tensor) -> Any:
    return (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
