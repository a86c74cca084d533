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
from nbbench.model import ChangePoint, ProcessRecord, SeriesKey

FilePlace = tuple[str, str, str]
"""A result file: commit, machine, environment."""

_FROM_TELEMETRY = ("threads", "torch", "python", "cpu", "nbbench")
_NEVER = frozenset({"machine", "ram"})  # the series' own name; the kernel's figure of memory wanders
_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Sampling:
    """How asv sampled one result: calls in a sample, and samples."""

    number: int | None
    repeat: int | None


SamplingReader = Callable[[SeriesKey], Mapping[str, Sampling]]
"""Reads how the results of one series were sampled, by commit."""


def _nothing(_key: SeriesKey) -> Mapping[str, Sampling]:
    return {}


@dataclass(frozen=True, slots=True)
class Setups:
    """Setups by result file, and the sampling of a series when it is asked for."""

    files: Mapping[FilePlace, Mapping[str, str]] = field(default_factory=dict)
    sampling: SamplingReader = _nothing


def telemetry_setup(records: Iterable[ProcessRecord]) -> dict[FilePlace, dict[str, str]]:
    """What telemetry says of the setup of each result file."""
    found: dict[FilePlace, dict[str, str]] = {}
    for record in records:
        said: Mapping[str, Any] = dict(record.extra)
        named = {name: str(said[name]) for name in _FROM_TELEMETRY if isinstance(said.get(name), (str, int))}
        if named:
            found.setdefault((record.commit, record.machine, record.environment), {}).update(named)
    return found


def setup_changes(
    setups: Setups, changes: Sequence[ChangePoint], before: Sequence[str], after: Sequence[str]
) -> tuple[SetupChange, ...]:
    """What differs between the last results of `before` and the first of `after` (commits in order) in every
    one of the changed series; on each side it must be the same for the nearest results."""
    found: list[dict[str, SetupChange]] = []
    for change in changes:
        key = change.key
        both = [
            _agreed([setups.files.get((commit, key.machine, key.environment)) for commit in side])
            for side in (before[::-1], after)
        ]
        differing = {
            name: SetupChange(name, both[0][name], both[1][name])
            for name in both[0].keys() & both[1].keys() - _NEVER
            if both[0][name] != both[1][name]
        }
        found.append(differing | _sampling_changes(setups.sampling(key), change, before, after))
    if not found:
        return ()
    shared = set.intersection(*(set(one) for one in found))
    return tuple(found[0][name] for name in sorted(shared))


def _agreed(sides: Iterable[Mapping[str, str] | None]) -> dict[str, str]:
    """What the nearest result files that say anything agree on."""
    known = [dict(one) for one in sides if one][:_NEIGHBOURS]
    if not known:
        return {}
    return {name: value for name, value in known[0].items() if all(one.get(name) == value for one in known)}


def _sampling_changes(
    kept: Mapping[str, Sampling], change: ChangePoint, before: Sequence[str], after: Sequence[str]
) -> dict[str, SetupChange]:
    sides = [
        [kept[commit] for commit in side if commit in kept][:_NEIGHBOURS] for side in (before[::-1], after)
    ]
    found = {}
    for name in ("number", "repeat"):
        ends = [{getattr(one, name) for one in side} for side in sides]
        if any(len(end) != 1 or None in end for end in ends) or ends[0] == ends[1]:
            continue
        (old,), (new,) = ends
        if not _follows_time(change, old, new):
            found[name] = SetupChange(name, str(old), str(new))
    return found


def _follows_time(change: ChangePoint, old: int, new: int) -> bool:
    """Whether asv called less often because each call takes longer: it fills a sample's time."""
    if not math.isfinite(change.effect) or old <= 0 or new <= 0:
        return True
    return abs(math.log(new / old) + change.effect) <= max(0.5 * abs(change.effect), math.log(1.5))
