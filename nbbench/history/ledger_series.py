"""The ledgers themselves as exact series: they exist for trees that were never timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nbbench.ledger import Ledger
from nbbench.model import Commit, Point, Series, SeriesKey, Status

ANY_MACHINE = "any"  # a ledger does not depend on the machine
LEDGER_SERIES = "ledger."  # what their benchmarks' names begin with
_VERSION = "1"
_MAPPED = "B (mapped)"

# benchmark name: unit, figure. Named like the suite's own tracks, so that they play the same roles.
_FIGURES: dict[str, tuple[str, Callable[[Ledger], float]]] = {
    "ledger.track_bytes_per_pixel": ("B/pixel", lambda one: one.bytes_per_pixel),
    "ledger.track_operations": ("operations", lambda one: float(one.ops)),
    "ledger.track_upcast_bytes": ("B/pixel", lambda one: one.upcast_bytes / one.pixels),
    "ledger.track_peak_live_bytes": ("B (exact)", lambda one: float(one.peak_live_bytes)),
    "ledger.track_mapped_bytes": (_MAPPED, lambda one: float(one.mapped_bytes or 0)),
}


def ledger_series(
    commits: Sequence[Commit], ledgers: Mapping[str, Mapping[str, Ledger]], torch: str
) -> list[Series]:
    """One series for each workload and figure, over the commits whose tree has that ledger.

    `ledgers` are keyed by tree, then workload, all of one torch version, which is the series'
    environment. A ledger that failed is a failed point.
    """
    workloads = sorted({name for found in ledgers.values() for name in found})
    made = []
    for name in workloads:
        rows = [(c, ledgers[c.tree][name]) for c in commits if c.tree and name in ledgers.get(c.tree, {})]
        for benchmark, (unit, figure) in _FIGURES.items():
            key = SeriesKey(benchmark, _VERSION, (("workload", name),), ANY_MACHINE, f"torch{torch}")
            # Ledgers of an older nbbench do not count large blocks.
            counted = [row for row in rows if row[1].mapped_bytes is not None] if unit == _MAPPED else rows
            points = tuple(_point(commit, ledger, figure) for commit, ledger in counted)
            made += [Series(key, unit, "track", points)] if points else []
    return made


def _point(commit: Commit, ledger: Ledger, figure: Callable[[Ledger], float]) -> Point:
    if ledger.error or not ledger.pixels:
        return Point(commit.position, commit.hash, None, Status.FAILED)
    return Point(commit.position, commit.hash, figure(ledger), Status.OK)
