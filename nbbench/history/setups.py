"""With what each result was measured: processor, torch, Python, threads, asv's sampling.

asv's result files name the machine and the environment of a commit, telemetry what our own harness knows,
and each result how often asv called it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbbench.history.causes.facts import SetupChange
from nbbench.history.causes.setup import SAMPLING
from nbbench.model import ChangePoint, ProcessRecord, SeriesKey

FilePlace = tuple[str, str, str]
"""A result file: commit, machine, environment."""

Setup = Mapping[str, str]
"""What something was measured with, by name."""

_FROM_TELEMETRY = ("threads", "torch", "python", "cpu", "nbbench")
_NEVER = frozenset({"machine", "ram"})  # the series' own name; the kernel's figure of memory wanders
_NEIGHBOURS = 3


def _nothing(_key: SeriesKey) -> Mapping[str, Setup]:
    return {}


@dataclass(frozen=True, slots=True)
class Setups:
    """Setups by result file, and the sampling of a series' results by commit, read when it is asked for."""

    files: Mapping[FilePlace, Setup] = field(default_factory=dict)
    sampling: Callable[[SeriesKey], Mapping[str, Setup]] = _nothing


def telemetry_setup(records: Iterable[ProcessRecord]) -> dict[FilePlace, dict[str, str]]:
    """What telemetry says of the setup of each result file."""
    found: dict[FilePlace, dict[str, str]] = {}
    for record in records:
        said: Mapping[str, Any] = dict(record.extra)
        named = {name: str(said[name]) for name in _FROM_TELEMETRY if isinstance(said.get(name), str | int)}
        if named:
            found.setdefault((record.commit, record.machine, record.environment), {}).update(named)
    return found


def setup_changes(
    setups: Setups, changes: Sequence[ChangePoint], before: Sequence[str], after: Sequence[str]
) -> tuple[SetupChange, ...]:
    """What differs between the last results of `before` and the first of `after` (commits in order) in every
    one of the changed series; on each side it must be the same for the nearest results."""
    found = [_differing(setups, change, before[::-1], after) for change in changes]
    shared = set.intersection(*map(set, found)) if found else set()
    return tuple(SetupChange(name, *found[0][name]) for name in sorted(shared))


def _differing(
    setups: Setups, change: ChangePoint, before: Sequence[str], after: Sequence[str]
) -> dict[str, tuple[str, str]]:
    key, sampled = change.key, setups.sampling(change.key)
    old, new = (
        _agreed(setups.files.get((commit, key.machine, key.environment)) for commit in side)
        | _agreed(sampled.get(commit) for commit in side)
        for side in (before, after)
    )
    return {
        name: (old[name], new[name])
        for name in old.keys() & new.keys() - _NEVER
        if old[name] != new[name]
        and not (name in SAMPLING and _follows_time(change, int(old[name]), int(new[name])))
    }


def _agreed(sides: Iterable[Setup | None]) -> dict[str, str]:
    """What the nearest results that say anything agree on."""
    first, *others = [one for one in sides if one][:_NEIGHBOURS] or [{}]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def _follows_time(change: ChangePoint, old: int, new: int) -> bool:
    """Whether asv called less often because each call takes longer: it fills a sample's time."""
    if not math.isfinite(change.effect) or old <= 0 or new <= 0:
        return True
    return abs(math.log(new / old) + change.effect) <= max(0.5 * abs(change.effect), math.log(1.5))
