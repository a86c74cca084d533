"""What one dispatched operation reads and writes: the rules of docs/ledger.md."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

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


class UncountableTensorError(ValueError):
    """A tensor whose traffic its shape does not tell (sparse, nested); the ledger refuses it."""


@dataclass(frozen=True, slots=True)
class OperationPlan:
    """What an operation's schema says: its name, and which arguments it writes."""

    name: str
    out: tuple[str, ...]  # `out=` arguments: only written
    mutated: tuple[tuple[int, str], ...]  # in-place arguments by position and name
    allocates: bool  # leaves the contents undefined

    @classmethod
    def of(cls, schema: Any) -> "OperationPlan":
        """The plan of an operation's schema."""
        written = [
            (place, argument)
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        name = schema.name.rpartition("::")[2]
        return cls(
            name,
            tuple(a.name for _, a in written if a.kwarg_only),
            tuple((place, a.name) for place, a in written if not a.kwarg_only),
            name in _UNINITIALISED,
        )

    def sides(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The tensors that a call reads, and those that it writes (each once)."""
        if not self.out and not self.mutated:
            return tensors(args) + tensors(kwargs.values()), outputs
        mutated = [args[place] if place < len(args) else kwargs.get(key) for place, key in self.mutated]
        unread = self.mutated if self.name in _WRITE_ONLY else ()
        places, keys = {place for place, _ in unread}, {*self.out, *(key for _, key in unread)}
        read = tensors(a for place, a in enumerate(args) if place not in places)
        read += tensors(a for key, a in kwargs.items() if key not in keys)
        destinations = tensors((*mutated, *(kwargs.get(key) for key in self.out)))
        return read, list({id(t): t for t in (*outputs, *destinations)}.values())


def moves(func: Any, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> bool:
    """False for views and metadata: nothing but aliases of the inputs comes out."""
    if func.is_view or not (inputs or outputs):
        return False
    if func._schema.is_mutable or not outputs or not inputs:
        return True
    held = {t.untyped_storage()._cdata for t in inputs}
    return any(t.untyped_storage()._cdata not in held for t in outputs)


def tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    """Tensors among `values`, one level of lists and tuples opened (all that schemas allow)."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(v for v in value if isinstance(v, torch.Tensor))
    return found


def check_dense(tensor: torch.Tensor) -> None:
    """Raise UncountableTensorError for a tensor that is not one block of elements."""
    if tensor.layout is not torch.strided:
        raise UncountableTensorError(f"the ledger does not count {tensor.layout} tensors")
    if tensor.is_nested:
        raise UncountableTensorError("the ledger counts nested tensors of layout torch.jagged only")


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Bytes that reading or writing `tensor` once touches; a stride-0 dimension counts once.

    Raises UncountableTensorError for what is not dense.
    """
    check_dense(tensor)
    if tensor.is_contiguous():
        return int(tensor.nbytes)
    lengths = zip(tensor.shape, tensor.stride(), strict=True)
    return int(tensor.element_size() * math.prod(length for length, stride in lengths if stride))
