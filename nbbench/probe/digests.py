"""Recording a workload's dataflow: which values each operation took and gave, as digests.

docs/first_difference.md is the definition, and says why the hash suffices.
"""

import functools
import hashlib
import random
import sys
from collections.abc import Callable, Collection
from typing import Any

import torch

from nbbench.ledger import OUTSIDE, CallSite, Dataflow, DataStep, ValueDigest
from nbbench.probe.operation import check_dense, moves, tensor_bytes, tensors
from nbbench.probe.places import in_backward
from nbbench.probe.resources import alone
from nbbench.probe.traffic import TrafficLedger, dtype_name
from nbbench.probe.workload import repeatable

MOST_STEPS = 300_000
_SMALL = 4096  # bytes: up to here one call hashes more cheaply
_BLOCK = 1 << 16  # words at a time: they stay in the cache
_PRIME = 2**61 - 1
_LONGEST = 120
_PLAIN = (int, float, complex, str, torch.dtype, type(None))  # bool is an int


class TooManyStepsError(RuntimeError):
    """The workload asks for more operations than a recording holds."""


def record_dataflow(
    workload: str,
    function: Callable[[], torch.Tensor],
    *,
    source_root: str,
    keep: Collection[int] = (),
) -> tuple[Dataflow, dict[int, torch.Tensor]]:
    """Run `function` once and digest every operation's values; the random generators begin at seed 0.

    The second answer has the values that the steps in `keep` gave first, widened to float64, and under
    OUTSIDE the image. Raises TooManyStepsError, and UncountableTensorError for what is not dense.
    """
    recorder = DigestRecorder(source_root=source_root, keep=keep)
    pin_seeds()
    with repeatable(), recorder:
        image = alone(function)
    found = recorder.dataflow(workload, image)
    return found, recorder.kept | ({OUTSIDE: widened(image)} if OUTSIDE in keep else {})


def pin_seeds() -> None:
    """Start torch's, Python's and numpy's generators at seed 0, so that two trees draw the same numbers."""
    torch.manual_seed(0)
    random.seed(0)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(0)


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The elements in logical order as float64, as they are now; real and imaginary parts by turns."""
    flat = _flat(tensor)
    return (torch.view_as_real(flat).reshape(-1) if flat.is_complex() else flat).to(torch.float64).clone()


class DigestRecorder(TrafficLedger):
    """Records the dataflow of everything dispatched inside the block, operation by operation.

    A value is digested when it is made, or first read; what was written since is digested anew. Writes that
    torch does not dispatch (numpy's, into memory that it shares) are seen where the next operation reads.
    """

    _sizes_before = False

    def __init__(self, *, source_root: str = "", keep: Collection[int] = ()) -> None:
        super().__init__(source_root=source_root)
        self.kept: dict[int, torch.Tensor] = {}
        self._keep = frozenset(keep)
        self._steps: list[DataStep] = []
        self._tables: tuple[dict[Any, int], ...] = ({}, {}, {})  # sites, arguments, values: their places
        self._known: dict[Any, tuple[int, int]] = {}
        self._writes: dict[int, tuple[int, int]] = {}  # by the storage's serial: how often, by whom last
        self._numbers: dict[float, int] = {}  # read out of tensors, and by which step

    def dataflow(self, workload: str, image: torch.Tensor) -> Dataflow:
        """What was recorded, up to the image."""
        with torch.no_grad():
            end = self._read(image)
        sites, arguments, values = map(tuple, self._tables)
        return Dataflow(workload, tuple(self._steps), sites, arguments, values, end)

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(self._steps) >= MOST_STEPS:
            raise TooManyStepsError(f"more than {MOST_STEPS:,} operations")
        plan, step = self._plan(func), len(self._steps)
        inputs = tensors((*args, *kwargs.values()))
        for tensor in inputs:
            check_dense(tensor)
        place = self._place(sys._getframe(2), inputs, backward=in_backward())
        drawn = torch.Tag.nondeterministic_seeded in func.tags
        site = self._place_of(0, CallSite(*place, self._places.instruction, plan.name, drawn))
        with torch._C.DisableTorchFunctionSubclass():
            read = [self._read(tensor) for tensor in plan.sides(args, kwargs, [])[0]]
        result = func(*args, **kwargs)
        outputs = tensors((result,))
        for tensor in outputs:
            check_dense(tensor)
        told, numbers = _told((*args, *kwargs.items()))
        read += [(self._number(n), self._numbers[n]) for n in numbers if n in self._numbers]
        given: list[int] = []
        with torch._C.DisableTorchFunctionSubclass():
            written = plan.sides(args, kwargs, outputs)[1]
            new = moves(func, inputs, outputs)
            for tensor in written:
                if new:
                    read += self._written(tensor, step, whole=not func._schema.is_mutable)
                given.append(self._made(tensor, step, empty=plan.allocates))
            if written and step in self._keep:
                self.kept[step] = widened(written[0])
        if isinstance(result, bool | int | float):  # read out of a tensor, perhaps to decide something
            given.append(self._number(result))
            if isinstance(result, float):
                self._numbers[result] = step
        if given:
            self._steps.append(DataStep(site, self._place_of(1, told), tuple(read), tuple(given)))
        return result

    def _read(self, tensor: torch.Tensor) -> tuple[int, int]:
        """A tensor's value as it is now, and the step that made it."""
        serial = self._storages.seen(tensor).serial
        times, writer = self._writes.get(serial, (0, OUTSIDE))
        key = (serial, times, *_geometry(tensor))
        if (found := self._known.get(key)) is None:
            found = self._known[key] = content_bits(tensor), writer
        return self._value(tensor, found[0]), found[1]

    def _written(self, tensor: torch.Tensor, step: int, *, whole: bool) -> list[tuple[int, int]]:
        """Take note of a write; the step before, where other parts of the memory keep what it wrote."""
        life = self._storages.seen(tensor)
        times, before = self._writes.get(life.serial, (0, OUTSIDE))
        self._writes[life.serial] = times + 1, step
        partly = not whole and before != OUTSIDE and tensor_bytes(tensor) < life.size
        return [(-1, before)] if partly else []

    def _made(self, tensor: torch.Tensor, step: int, *, empty: bool) -> int:
        """The value that a step gave: a view of what is known has its content at once."""
        serial = self._storages.seen(tensor).serial
        key = (serial, self._writes.get(serial, (0, OUTSIDE))[0], *_geometry(tensor))
        found = self._known.get(key)
        if found is None or found[1] == OUTSIDE:
            bits = found[0] if found else 0 if empty else content_bits(tensor)
            found = self._known[key] = bits, step
        return self._value(tensor, found[0])

    def _value(self, tensor: torch.Tensor, bits: int) -> int:
        return self._place_of(2, ValueDigest(bits, dtype_name(tensor.dtype), tuple(tensor.shape)))

    def _number(self, number: float) -> int:
        return self._place_of(2, ValueDigest(_hash(repr(number).encode()), "number"))

    def _place_of(self, table: int, item: Any) -> int:
        return self._tables[table].setdefault(item, len(self._tables[table]))


def _geometry(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Which elements of its storage a tensor holds, in which order; its shape only where that decides."""
    start = (tensor.dtype, tensor.is_conj(), tensor.is_neg(), tensor.storage_offset())
    if tensor.is_contiguous():
        return (*start, tensor.numel())
    return (*start, tensor.shape, tensor.stride())


def content_bits(tensor: torch.Tensor) -> int:
    """A hash of 64 bits of the elements' bytes in logical order, about as fast as memory is read."""
    content = _flat(tensor).view(torch.uint8)
    count = content.numel() // 8 * 8 if content.numel() > _SMALL else 0
    total = 0
    for block in content[:count].view(torch.int64).split(_BLOCK) if count else ():
        factors, mixed, upper = (one[: block.numel()] for one in _tables())
        torch.mul(block, factors, out=mixed)
        torch.bitwise_right_shift(mixed, 32, out=upper)
        total = (total * _PRIME + int(mixed.bitwise_xor_(upper).sum())) % 2**64
    rest = content[count:].clone()  # numpy's view of the subject's own memory would forbid it to resize that
    return _hash(total.to_bytes(8, "little") + rest.numpy().tobytes())


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """The elements in logical order, in one piece that words of eight bytes can begin at."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().reshape(-1).contiguous()
    if flat.stride() != (1,):  # a single element has any stride
        flat = flat.as_strided(flat.shape, (1,))
    return flat.clone() if flat.storage_offset() * flat.element_size() % 8 else flat


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


@functools.cache
def _tables() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The factors, and room for two results, so that no block allocates."""
    with torch.inference_mode(False):  # what is made in that mode cannot be written outside of it
        generator = torch.Generator("cpu").manual_seed(1)
        factors = torch.randint(-(2**62), 2**62, (_BLOCK,), generator=generator, device="cpu") * 2 + 1
        return factors, torch.empty_like(factors), torch.empty_like(factors)


def _told(arguments: tuple[Any, ...]) -> tuple[str, list[float]]:
    """The arguments without tensors as text, and the numbers among them that a tensor may have given."""
    numbers: list[float] = []

    def text(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return "_"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(text, value)) + "]"
        if isinstance(value, float):
            numbers.append(value)
        return repr(value) if isinstance(value, _PLAIN) else type(value).__name__

    return ", ".join(map(text, arguments))[:_LONGEST], numbers
