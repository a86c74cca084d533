"""A canary run leaves the process as it found it: memory, malloc, threads, settings of torch."""

from __future__ import annotations

import mmap
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch.utils import _pytree  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from nbbench.probe import canary  # noqa: E402


class Storages(TorchDispatchMode):
    """Addresses of the memory of every tensor that an operation takes or gives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in _pytree.tree_leaves((args, kwargs, result)):
            if isinstance(one, torch.Tensor):
                self.seen.add(one.untyped_storage().data_ptr())
        return result


def state() -> tuple[Any, ...]:
    return torch.get_num_threads(), torch.is_grad_enabled(), torch.random.get_rng_state().sum().item()


def test_both_kernels_are_timed_and_settings_stay() -> None:
    before = state()
    found = canary.reference_times()
    assert set(found) == {"frames_s", "arithmetic_s"}
    assert all(seconds > 0 for seconds in found.values())
    assert state() == before


def test_all_memory_is_one_mapping_that_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes from malloc, whatever C library and page size the machine has."""
    made = []

    def mapping(*arguments: Any) -> mmap.mmap:
        made.append(mmap.mmap(*arguments))
        return made[-1]

    monkeypatch.setattr(canary, "mmap", type("Fake", (), {"mmap": staticmethod(mapping)}))
    with Storages() as storages:
        canary.reference_times()
    assert len(storages.seen) == len(made) == 1
    assert made[0].closed
