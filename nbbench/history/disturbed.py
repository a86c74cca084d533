"""Results that other processes disturbed: they are left out of detection instead of being explained later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from nbbench.disturbance import Disturbance, disturbance_of, typical_kept_waiting
from nbbench.model import ProcessRecord, SeriesKey

Disturbed = frozenset[tuple[str, str, str, str]]
"""Commit, machine, environment and benchmark of results whose processes were kept waiting."""


def disturbed_results(records: Iterable[ProcessRecord]) -> Disturbed:
    """Results whose typical process waited longer than `disturbance.WAITED_SHARE` of its time, by telemetry.

    Processes without a run-queue delay (other systems than Linux) say nothing.
    """
    found: dict[tuple[str, str, str, str], list[Disturbance]] = defaultdict(list)
    for record in records:
        if (one := disturbance_of(record)) is not None:
            found[record.commit, record.machine, record.environment, record.benchmark].append(one)
    return frozenset(place for place, ones in found.items() if typical_kept_waiting(ones))


def is_left_out(disturbed: Disturbed, key: SeriesKey, commit: str) -> bool:
    """Whether the series' result at ``commit`` is one of ``disturbed``."""
    return (commit, key.machine, key.environment, key.benchmark) in disturbed
