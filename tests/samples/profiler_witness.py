"""What torch.profiler saw of a program: an independent witness for the traffic ledger.

The profiler records below Python, in the dispatcher's own hooks, with shapes, strides and dtypes of
the inputs and every allocation. From its tree the witness takes the operations that the dispatcher
runs below autograd (composite ones are followed down to what they are made of), the bytes of their
inputs from shapes and strides, and the bytes of their outputs from what they allocated and kept.

One thing differs: a Python number beside a tensor reaches the profiler as a zero-dimensional tensor
of eight bytes, and the ledger as a number.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_WRITE_ONLY = ("copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_")
_EMPTY = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted")
_ALIASES = ("_unsafe_view", "detach_")  # views that their schemas do not call so
_READS = ("_local_scalar_dense", "nonzero", "equal")


def witness(function: Callable[[], object]) -> tuple[Counter[str], int]:
    """Operations that move bytes, by name, and the bytes they move."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, profile_memory=True) as profiler:
        kept = function()
    operations: Counter[str] = Counter()
    total = 0
    for event in _dispatched(profiler.profiler.kineto_results.experimental_event_tree()):
        moved = _moved(event)
        if moved is not None:
            operations[event.name.removeprefix("aten::")] += 1
            total += moved
    del kept
    return operations, total


def _dispatched(events: list[Any]) -> Iterator[Any]:
    """The operations as the dispatcher runs them below autograd, composites taken apart."""
    for event in events:
        if event.name.startswith("aten::") and not _composite(event):
            yield event
        else:
            yield from _dispatched(event.children)


@functools.cache
def _schemas(name: str) -> tuple[list[Any], list[bool]]:
    """The overloads of an operation, and which of them torch registers as composite."""
    schemas = torch._C._jit_get_schemas_for_operator(name)
    names = [f"{name}.{s.overload_name}" if s.overload_name else name for s in schemas]
    key = "CompositeImplicitAutograd"
    known = [n for n in names if torch._C._dispatch_has_kernel(n)]
    return schemas, [torch._C._dispatch_has_kernel_for_dispatch_key(n, key) for n in known]


def _composite(event: Any) -> bool:
    """The profiler does not tell the overload: of a mixed name those that do nothing themselves."""
    composite = _schemas(event.name)[1]
    inner = {child.name.removeprefix("aten::") for child in event.children if child.name != "[memory]"}
    own = any(child.name == "[memory]" and child.typed[1].alloc_size > 0 for child in event.children)
    return all(composite) or (any(composite) and bool(inner) and not own and inner.isdisjoint(_EMPTY))


def _view(name: str) -> bool:
    aliases = [s.returns[0].alias_info for s in _schemas(name)[0] if s.returns]
    return any(a is not None and not a.is_write for a in aliases)


def _moved(event: Any) -> int | None:
    """Bytes that an operation reads and writes; None for views, metadata and empty allocations."""
    name = event.name.removeprefix("aten::")
    inputs = [_size(one) for one in _metadata(event.typed[1].inputs)]
    if name in ("index", "index_put_"):
        inputs += list(_indices(event))
    made = _kept(event)
    if name in (*_EMPTY, *_ALIASES):
        return None
    if name.endswith("_") and not name.startswith("_foreach"):
        return sum(inputs) + made + (0 if name in _WRITE_ONLY else inputs[0])
    if made or name in _READS:
        return sum(inputs) + made
    if _view(event.name) or not inputs:
        return None
    return sum(inputs)  # `out=`: the destination is the last input, written and not read


def _indices(event: Any) -> Iterator[int]:
    """The profiler records no lists of optional tensors, but the kernel reshapes each index.

    A mask it turns into places first, by `nonzero`.
    """
    names = {child.name for child in event.children}
    wanted = "aten::nonzero" if "aten::nonzero" in names else "aten::reshape"
    for child in event.children:
        if child.name == wanted:
            yield from (_size(one) for one in _metadata(child.typed[1].inputs))
        elif child.name == "aten::_index_put_impl_":
            yield from _indices(child)


def _metadata(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _metadata(value)
        elif hasattr(value, "strides"):
            yield value


def _size(one: Any) -> int:
    size = one.dtype.itemsize
    for length, stride in zip(one.sizes, one.strides, strict=True):
        size *= 0 if length == 0 else length if stride else 1
    return int(size)


def _kept(event: Any) -> int:
    """Bytes allocated within an operation and not given back before its end."""
    own = event.typed[1].alloc_size if event.name == "[memory]" else 0
    return int(own) + sum(_kept(child) for child in event.children)
