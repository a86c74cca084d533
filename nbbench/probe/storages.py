"""The life of storages while a ledger records: who made them, and how much is alive at once."""

from __future__ import annotations

import functools
import weakref
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(slots=True)
class Life:
    """A storage seen while recording; `ref` tells its end.

    `serial` counts storages in the order in which they were first seen, so that no two share
    one, though addresses are used again. `made` tells those that an operation made from those
    that were there before; `live` ones count for the peak; `written` is how many bytes were
    written into it, those written twice counted twice.
    """

    serial: int
    size: int
    made: bool
    live: bool = False
    written: int = 0
    ref: weakref.ref[Any] | None = None


class Storages:
    """Storages by identity; `live_bytes` is the sum of those made or written that are alive."""

    def __init__(self) -> None:
        self.live_bytes = 0
        self.next_serial = 0
        self._lives: dict[int, Life] = {}

    def seen(self, tensor: torch.Tensor) -> Life:
        """The life of a tensor's storage; one that was never seen came from outside."""
        storage = tensor.untyped_storage()
        return self._lives.get(storage._cdata) or self._add(storage, made=False)

    def written(self, tensor: torch.Tensor, size: int) -> Life:
        """The life of a storage into which an operation wrote `size` bytes (`empty`: none).

        One that was never seen is new: the inputs of an operation must be seen before.
        """
        storage = tensor.untyped_storage()
        life = self._lives.get(storage._cdata) or self._add(storage, made=True)
        room = storage.nbytes()
        if life.live:
            self.live_bytes += room - life.size  # an `out=` may have been resized
        else:
            life.live = True
            self.live_bytes += room
        life.size = room
        life.written += size
        return life

    def left_since(self, serial: int) -> int:
        """Bytes written into the storages made since `serial` that are still alive, each once."""
        total = 0
        for life in reversed(list(self._lives.values())):
            if life.serial < serial:
                break
            if life.made:
                total += min(life.size, life.written)
        return total

    def _add(self, storage: Any, *, made: bool) -> Life:
        key = storage._cdata
        life = self._lives[key] = Life(self.next_serial, storage.nbytes(), made)
        self.next_serial += 1
        life.ref = weakref.ref(storage, functools.partial(self._gone, key, life))
        return life

    def _gone(self, key: int, life: Life, _: Any) -> None:
        if self._lives.get(key) is life:
            del self._lives[key]
            if life.live:
                self.live_bytes -= life.size
