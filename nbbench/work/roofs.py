"""Achieved bandwidth against the machine's ceilings: which roof is above a workload, and how near it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from nbbench.ledger import Ledger, Roof

# Arrays read or written per array that STREAM counts: a plain store reads the destination's lines first.
WRITE_ALLOCATE = {"copy": 3 / 2, "scale": 3 / 2, "add": 4 / 3, "triad": 4 / 3}
# What only reads or only writes moves up to twice of what `add` does, and figures of a busy machine are low.
_BEYOND_DOUBT = 3.0
# The cost of dispatching alone takes the larger part of the time.
_DISPATCH_SHARE = 0.5


class Bound(StrEnum):
    """The roof that a workload is held against."""

    DISPATCH = "dispatch"
    CACHE = "cache"
    PARTLY = "partly cached"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Achieved:
    """One workload under the roof; sizes in bytes, rates in bytes per second.

    `operation_bytes` is what one operation touches: the mean weighted by bytes, and the plain
    mean over all that is dispatched where dispatch is the bound. `ceiling` is None for a workload
    bound by dispatch.
    """

    workload: str
    seconds: float
    runs: int
    bytes: int
    rate: float
    bound: Bound
    working_set_bytes: int
    operation_bytes: float
    dispatch_share: float
    ceiling: float | None

    @property
    def fraction(self) -> float | None:
        """Achieved bandwidth over the ceiling."""
        return self.rate / self.ceiling if self.ceiling else None


def classify(ledger: Ledger, seconds: Sequence[float], roof: Roof) -> Achieved:
    """Hold one workload against the roof; `seconds` are its warm runs with malloc pinned.

    Raises ValueError for a ledger without work or without runs.
    """
    if not seconds or not ledger.bytes or ledger.error:
        raise ValueError(f"{ledger.workload} has no figures")
    middle, touched, ceiling = median(seconds), operation_bytes(ledger), memory_ceiling(roof)
    share = (ledger.ops * roof.op_s + (ledger.dispatched - ledger.ops) * roof.view_s) / middle
    rate = ledger.bytes / middle
    if share >= _DISPATCH_SHARE:
        bound, touched = Bound.DISPATCH, ledger.bytes / max(ledger.dispatched, 1)
    elif working_set(ledger) <= roof.cache_bytes:
        bound = Bound.CACHE
    elif 2 * touched <= roof.cache_bytes:
        bound = Bound.PARTLY  # the next operation finds its operand: this one has not pushed it out
    elif rate > ceiling:
        bound = Bound.PARTLY  # memory cannot have delivered that: caches must have held a part of it
    else:
        bound = Bound.MEMORY
    if bound is not Bound.MEMORY:
        ceiling = cache_ceiling(roof, touched)
    return Achieved(
        workload=ledger.workload,
        seconds=middle,
        runs=len(seconds),
        bytes=ledger.bytes,
        rate=rate,
        bound=bound,
        working_set_bytes=working_set(ledger),
        operation_bytes=touched,
        dispatch_share=share,
        ceiling=None if bound is Bound.DISPATCH else ceiling,
    )


def working_set(ledger: Ledger) -> int:
    """Bytes alive at once, the inputs that existed before included."""
    return ledger.peak_live_bytes + ledger.fused_bytes


def operation_bytes(ledger: Ledger) -> float:
    """Bytes that one operation touches: the mean over operations, weighted by their bytes."""
    total = sum(line.bytes for line in ledger.lines)
    if not total:
        return ledger.bytes / max(ledger.ops, 1)
    return sum(line.bytes * (line.bytes / line.count) for line in ledger.lines) / total


def memory_ceiling(roof: Roof) -> float:
    """The best of STREAM's four figures."""
    return max(roof.copy, roof.scale, roof.add, roof.triad)


def cache_ceiling(roof: Roof, touched: float) -> float:
    """The rate of operations that touch so many bytes again and again.

    The best rate measured at this size or any larger one, because a small operation's own
    dispatch is not the cache's; between two sizes on a line in both logarithms.
    """
    import numpy as np

    sizes, rates = np.log(np.array(roof.curve)).T
    best = np.maximum.accumulate(rates[::-1])[::-1]
    return float(np.exp(np.interp(math.log(touched), sizes, best)))


def unreachable_rate(roof: Roof, cores: int) -> float:
    """Bytes per second that nothing reaches here: far above memory and any cache, all cores at once."""
    best = max([memory_ceiling(roof), *(rate for _, rate in roof.curve)])
    return _BEYOND_DOUBT * best * max(cores / roof.threads, 1.0)


def with_write_allocate(roof: Roof) -> dict[str, float]:
    """STREAM's four figures with the read of the destination counted."""
    return {name: getattr(roof, name) * factor for name, factor in WRITE_ALLOCATE.items()}
