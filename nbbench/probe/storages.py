"""The life of storages while a ledger records: who made them, how much is alive at once, and what a perfect
fusion of the whole would move (docs/ledger.md, "Fused bytes").
"""

import contextlib
import functools
import gc
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


MAPPED_BYTES = 32 * 2**20
"""glibc maps a block from this size on anew at each allocation, and unmaps it when it is freed."""


_FROZEN: list[torch.Tensor] = []


def freeze_present() -> None:
    """Look for tensors once among the objects that are there, and not in each recording of this process and
    of those that it forks."""
    _FROZEN[:] = _present()
    gc.freeze()


def _present() -> list[torch.Tensor]:
    return [*_FROZEN, *(one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter))]


class Storages:
    """Storages by identity.

    `live_bytes` is the sum of those made or written that are alive; `mapped_bytes` what was allocated in
    blocks of MAPPED_BYTES and more. What a program asks for tells that, whatever malloc and kernel do.
    """

    def __init__(self) -> None:
        self.live_bytes = 0
        self.mapped_bytes = 0
        self.next_serial = 0
        self._lives: dict[int, Life] = {}

    def note_present(self) -> None:
        """Note the size of every storage that is there, to know those that grow without an operation."""
        for found in _present():
            if found.layout is torch.strided:
                with contextlib.suppress(NotImplementedError, RuntimeError):  # wrappers have no storage
                    self.seen(found)

    def seen(self, tensor: torch.Tensor) -> Life:
        """The life of a tensor's storage; one that was never seen came from outside."""
        storage = tensor.untyped_storage()
        life = self._lives.get(storage._cdata) or self._add(storage, made=False)
        if storage.nbytes() > life.size:
            self._resized(storage, life)
        return life

    def written(self, tensor: torch.Tensor, size: int) -> Life:
        """The life of a storage into which an operation wrote `size` bytes (`empty`: none).

        One that was never seen is new: the inputs of an operation must be seen before.
        """
        storage = tensor.untyped_storage()
        life = self._lives.get(storage._cdata) or self._add(storage, made=True)
        if storage.nbytes() != life.size:
            self._resized(storage, life)
        if not life.live:
            life.live = True
            self.live_bytes += life.size
        life.written += size
        return life

    def left(self) -> int:
        """Bytes written into the storages made while recording that are still alive, each once."""
        return sum(min(life.size, life.written) for life in list(self._lives.values()) if life.made)

    def _add(self, storage: Any, *, made: bool) -> Life:
        key = storage._cdata
        life = self._lives[key] = Life(self.next_serial, storage.nbytes(), made)
        self.next_serial += 1
        if made:
            self._allocated(storage, life.size)
        life.ref = weakref.ref(storage, functools.partial(self._gone, key, life))
        return life

    def _resized(self, storage: Any, life: Life) -> None:
        before, life.size = life.size, storage.nbytes()
        if life.live:
            self.live_bytes += life.size - before  # an `out=` may have been resized
        if life.size > before:
            self._allocated(storage, life.size)

    def _allocated(self, storage: Any, size: int) -> None:
        if size >= MAPPED_BYTES and storage.device.type == "cpu":  # glibc has no part in a GPU's memory
            self.mapped_bytes += size

    def _gone(self, key: int, life: Life, _: Any) -> None:
        if self._lives.get(key) is life:
            del self._lives[key]
            if life.live:
                self.live_bytes -= life.size


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

    def writes(self, tensor: torch.Tensor, size: int) -> None:
        """Book a write; it counts into a storage from outside whose bytes were not written yet."""
        life = self._storages.written(tensor, size)
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
