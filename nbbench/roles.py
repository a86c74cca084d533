"""What a series says: time, work, memory, allocator, machine, or something derived."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from nbbench import units
from nbbench.model import ChangePoint, SeriesKey


class Role(StrEnum):
    """The part a series plays in an event."""

    TIME = "time"  # seconds that a user waits
    WORK = "work"  # exact counts: operations, bytes, exponents
    DTYPE = "dtype"  # exact: upcast bytes, output dtype
    MEMORY = "memory"  # peak memory
    ALLOCATOR = "allocator"  # page faults, penalty of the default malloc
    MACHINE = "machine"  # ceilings: never the subject's doing
    DERIVED = "derived"  # quotients of the others: evidence, never an event of its own
    OTHER = "other"  # another project's figures


_BY_NAME = {
    "track_upcast_bytes": Role.DTYPE,
    "track_output_dtype": Role.DTYPE,
    "track_malloc_penalty": Role.DERIVED,  # a quotient of two times; the faults are counts
    "track_minor_faults": Role.ALLOCATOR,
    "track_copy_ceiling": Role.MACHINE,
    "track_dispatched": Role.DERIVED,  # views included: the count that moves bytes decides
}
MACHINE_BENCHMARKS = "|".join(name for name, found in _BY_NAME.items() if found is Role.MACHINE)
"""A regular expression that finds the machine's own series by name."""

_DERIVED_UNITS = frozenset({"B/s", "fraction of copy ceiling", "GiB/s (legacy)", "ratio"})


def role(key: SeriesKey, unit: str, kind: str) -> Role:
    """The role of a series by its benchmark's last name part, unit and asv type."""
    if (named := _BY_NAME.get(key.benchmark.rpartition(".")[2])) is not None:
        return named
    if unit in ("B (exact)", "bytes") or kind in ("memory", "peakmemory"):
        return Role.MEMORY
    if units.is_exact(unit):
        return Role.WORK
    if unit in ("seconds", "s") or kind == "time":
        return Role.TIME
    return Role.DERIVED if unit in _DERIVED_UNITS else Role.OTHER


def change_role(change: ChangePoint) -> Role:
    """The role of the series in which a change point was found."""
    return role(change.key, change.unit, "track")


# What a user waits for says whether an event is a loss; without it exact work, and so on down. A width
# that grew from nothing (an infinite effect) must not outvote bytes and operations.
_SAYS = (Role.TIME, Role.WORK, Role.DTYPE, Role.ALLOCATOR, Role.MEMORY, Role.OTHER)


def say(change: ChangePoint) -> tuple[int, float]:
    """How much a change point says about an event's direction: greater tuples say more, (0, 0) nothing."""
    part = change_role(change)
    if part not in _SAYS or units.is_neutral(change.unit):
        return 0, 0.0
    return len(_SAYS) - _SAYS.index(part), abs(change.effect)


def direction(changes: Iterable[ChangePoint]) -> int:
    """+1 for a loss, -1 for a gain, 0 where nothing has a direction (a dtype alone)."""
    told = [(say(change), change) for change in changes]
    telling = [item for item in told if item[0][0]]
    return sign(max(telling, key=lambda item: item[0])[1]) if telling else 0


def sign(change: ChangePoint) -> int:
    """+1 for a loss, -1 for a gain."""
    return 1 if change.worse else -1
