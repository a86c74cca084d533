"""The results of a file as the table `columns` has them: packed where the file is read, and unpacked here one
file at a time. `columns` reads those of many at once."""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple

from msgspec import msgpack

from nbbench.model import Status
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


def packed(
    values: Sequence[float],
    states: bytes,
    samples: Sequence[tuple[float, ...]],
    details: Sequence[Any],
    runs: Sequence[tuple[datetime | None, float | None, int]],
) -> PackedResults:
    """Results by field: ``details`` are `number` and both ends of the interval, ``runs`` as above."""
    sampled = msgpack.encode(list(map(pack, samples))) if any(samples) else None
    figures = struct.pack(f"<{len(values)}d", *values) + states
    return PackedResults(
        figures, msgpack.encode(details), msgpack.encode(runs), sum(map(len, samples)), sampled
    )


NO_RESULTS = packed((), b"", (), ((), (), ()), ())


def series_in(packed: bytes) -> tuple[int, ...]:
    """The series of a file, by `columns.packed`."""
    return struct.unpack_from(f"<{len(packed) // PACKED_BYTES}q", packed)
