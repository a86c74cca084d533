"""Results that other processes spoilt: they are left out of detection instead of being explained later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from nbbench.model import ProcessRecord, SeriesKey

WAITING_SHARE = 0.05
"""Share of its wall time that a process waited for a core or lost to the hypervisor. The median over the
processes of a result was 2.6 % at most in the committed histories of an idle machine (435 results), and 5 %
is the least change that is reported."""

_LEAST_WALL_S = 0.05
"""Shorter processes are mostly start-up."""

Spoilt = frozenset[tuple[str, str, str]]
"""Commit, environment and benchmark of results whose processes were kept waiting."""


def spoilt_results(records: Iterable[ProcessRecord]) -> Spoilt:
    """Results whose typical process waited longer than WAITING_SHARE of its time, by telemetry.

    Processes without a run-queue delay (other systems than Linux) say nothing.
    """
    shares: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        delay = dict(record.extra).get("run_delay_s")
        if record.kind == "run" and record.wall_s >= _LEAST_WALL_S and delay is not None:
            share = (float(delay) + record.steal_s) / record.wall_s
            shares[record.commit, record.environment, record.benchmark].append(share)
    return frozenset(key for key, found in shares.items() if median(found) > WAITING_SHARE)


def is_spoilt(spoilt: Spoilt, key: SeriesKey, commit: str) -> bool:
    """Whether the series' result at ``commit`` is one of ``spoilt``."""
    return (commit, key.environment, key.benchmark) in spoilt
