"""The results of a file as the table `columns` has them: packed where the file is read, and unpacked here one
file at a time. `columns` reads those of many at once."""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import msgpack

from nbbench.model import Benchmark, Status
from nbbench.record.asv_results import ParsedFile
from nbbench.record.shapes import pack, unpack

STATES = (Status.OK, Status.FAILED, Status.SKIPPED)
"""What the numbers of states stand for."""

PACKED_BYTES = 17
"""Of each result in `columns.packed`: number of the series, value, state."""


class PackedResults(NamedTuple):
    """`figures` are all values (0 where there is none), then all states.

    The others are msgpack: `number` and both ends of the interval (`details`); when each benchmark began, for
    how long it ran and how many results it has (`runs`); and each result's samples, if there are any.
    """

    figures: bytes
    details: bytes
    runs: bytes
    samples: int
    sampled: bytes | None

    @property
    def size(self) -> int:
        """How many results there are."""
        return len(self.figures) // 9

    def lists(self, places: Sequence[int]) -> list[list[Any]]:
        """The results at these places, by field: status, value, samples, number, ends of the interval, when
        they began, for how long they ran."""
        size = self.size
        values = struct.unpack_from(f"<{size}d", self.figures)
        status = [STATES[self.figures[8 * size + place]] for place in places]
        samples = msgpack.decode(self.sampled) if self.sampled else [None] * size
        runs = [(began, took) for began, took, many in msgpack.decode(self.runs) for _ in range(many)]
        return [
            status,
            [values[place] if one is Status.OK else None for place, one in zip(places, status, strict=True)],
            [unpack(samples[place]) for place in places],
            *([one[place] for place in places] for one in msgpack.decode(self.details)),
            *([runs[place][field] for place in places] for field in (0, 1)),
        ]

    def began(self, place: int) -> datetime | None:
        """When the benchmark of the result at this place began."""
        runs = msgpack.decode(self.runs)
        found: datetime | None = runs[bisect_right(list(accumulate(many for *_, many in runs)), place)][0]
        return found


@dataclass(frozen=True, slots=True)
class PackedFile:
    """What a result file says: `of` has no rows, those here are benchmark, machine and environment."""

    of: ParsedFile
    rows: tuple[tuple[Benchmark, str, str], ...]
    results: PackedResults


def pack_file(parsed: ParsedFile) -> PackedFile:
    """A file with its results packed."""
    rows, names = parsed.rows, ("value", "samples", "number", "ci_lo", "ci_hi")
    values, samples, *details = (list(chain.from_iterable(map(attrgetter(name), rows))) for name in names)
    states = b"".join(_states(row.status) for row in rows)
    if None in values:
        values = [0.0 if value is None else value for value in values]
    results = PackedResults(
        struct.pack(f"<{len(values)}d", *values) + states,
        msgpack.encode(details),
        msgpack.encode([(row.started_at, row.duration_s, len(row.value)) for row in rows]),
        sum(map(len, samples)),
        msgpack.encode(list(map(pack, samples))) if any(samples) else None,
    )
    return PackedFile(replace(parsed, rows=()), tuple(row[:3] for row in rows), results)


def _states(status: list[Status]) -> bytes:
    if status.count(Status.OK) == len(status):
        return bytes(len(status))
    return bytes(0 if one is Status.OK else 1 if one is Status.FAILED else 2 for one in status)


def series_in(packed: bytes) -> tuple[int, ...]:
    """The series of a file, by `columns.packed`."""
    return struct.unpack_from(f"<{len(packed) // PACKED_BYTES}q", packed)
