"""The hunks that cause a change of exact work: the facts, and which figures there are to explain."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nbbench.growth import ORDER_TRACK
from nbbench.host import HOST_TRACK, OF_TENSORS
from nbbench.ledger import TreeHunk
from nbbench.metrics import LEDGER_METRICS, least_change, least_effect
from nbbench.model import Commit, EvidenceRecord
from nbbench.work.count_diff import HostDiff, OrderChange
from nbbench.work.ledger_diff import LedgerDiff, log_ratio

NEW_IMAGE = "image"
"""The metric of an image: 0 that of base, 1 that of head, both within rounding."""

_TRAFFIC = ("track_bytes_per_pixel", "track_operations")
_NEAR = 0.01  # of the change: what is reproduced to this part is reproduced, however small the limits
_COARSE = 0.25  # of the change: nothing coarser than this is called reproduced
_PLACES = 10


@dataclass(frozen=True, slots=True)
class HunkTarget:
    """A figure that changed between base and head, on the smallest workload that shows it.

    `metric` is that of a ledger (`LEDGER_METRICS`, NEW_IMAGE), with a `phase` that of host work, or the order
    of growth of a scale, whose name is the `workload` then. `places` are the lines that pay for it,
    `path:line` in either tree.
    """

    workload: str
    metric: str
    phase: str
    before: float
    after: float
    places: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The unit of the figure; '' of an image."""
        if self.metric.startswith(ORDER_TRACK):
            return "order"
        return self.metric if self.phase else LEDGER_METRICS.get(self.metric, ("",))[0]

    @property
    def recorder(self) -> str:
        """The part of a `LedgerFile` that counts it."""
        if self.phase:
            return "starts" if self.metric in OF_TENSORS else "host"
        return "scaled" if self.unit == "order" else "workloads"

    @property
    def name(self) -> str:
        """The workload, its phase, and what changed of it."""
        phase = f", {self.phase}" if self.phase else ""
        return f"{self.workload}{phase}: {self.metric.removeprefix('track_').replace('_', ' ')}"

    @property
    def tolerance(self) -> float:
        """How far from a figure another is still the same: what would be no change of base by itself."""
        moved = abs(self.after - self.before)
        least = math.expm1(least_effect(self.unit)) * min(self.before, self.after)
        return min(max(least, least_change(self.unit), _NEAR * moved), _COARSE * moved)


@dataclass(frozen=True, slots=True)
class HunkShare:
    """A hunk of a minimal set, and which part of the change it carries.

    `alone` is the part that it brings to base by itself, `without` the part that goes when it is left out of
    the set. None: that does not run, or was not tried.
    """

    hunk: TreeHunk
    alone: float | None = None
    without: float | None = None

    @property
    def share(self) -> float | None:
        """The part that it carries whatever the others do; None where they only act together."""
        if self.alone is None or self.without is None or abs(self.alone - self.without) > 2 * _NEAR:
            return None
        return self.alone


@dataclass(frozen=True, slots=True)
class HunkCause:
    """The hunks that cause a change; without `minimal` they are only all that was found so far.

    `rest` is the figure of head without them: None where that does not run or was not recorded.
    """

    target: HunkTarget
    hunks: tuple[HunkShare, ...]
    minimal: bool = False
    rest: float | None = None

    @property
    def innocent(self) -> bool:
        """Whether head without these hunks is base: no other has a part in the change."""
        return self.rest is not None and abs(self.rest - self.target.before) <= self.target.tolerance

    def record(self, total: int) -> EvidenceRecord:
        """The cause as evidence, of so many hunks in all."""
        target = ("workload", "phase", "metric", "unit", "before", "after")
        hunks = [
            {"place": one.hunk.place, "change": one.hunk.change}
            | {name: getattr(one, name) for name in ("share", "alone", "without")}
            for one in self.hunks
        ]
        found = {"total": total, "minimal": self.minimal, "innocent": self.innocent, "rest": self.rest}
        told = {name: getattr(self.target, name) for name in target}
        return EvidenceRecord("hunks", {**told, "hunks": hunks, **found})


@dataclass(slots=True)
class HunkSearch:
    """What is known of the hunks between two commits: filled while the search goes on.

    `moving` are the hunks that change the program: words and formatting do not. `unresolved` counts the
    combinations that do not run. `done` says that every change was looked at.
    """

    base: Commit
    head: Commit
    hunks: tuple[TreeHunk, ...] = ()
    moving: tuple[TreeHunk, ...] = ()
    targets: tuple[HunkTarget, ...] = ()
    causes: list[HunkCause] = field(default_factory=list)
    recorded: int = 0
    unresolved: int = 0
    done: bool = False


def hunk_targets(
    diffs: Iterable[LedgerDiff], host: Iterable[HostDiff], orders: Iterable[OrderChange] = ()
) -> tuple[HunkTarget, ...]:
    """The figures that changed by what counts, each on its smallest workload, the largest change first."""
    diffs = list(diffs)
    sizes = {diff.workload: diff.head.cost_bytes for diff in diffs}
    every = [one for diff in diffs for one in _ledger_targets(diff)]
    for moved in host:
        if moved.counts:
            places = tuple(line.where for line in moved.lines[:_PLACES])
            ends = float(moved.before), float(moved.after)
            every.append(HunkTarget(moved.workload, moved.metric, moved.phase, *ends, places))
    for one in orders:
        places = tuple(f"{line.path}:{line.line}" for line in one.lines[:_PLACES])
        every.append(HunkTarget(one.scale, one.quantity.metric, "", one.before, one.after, places))
    smallest: dict[tuple[str, str], HunkTarget] = {}
    for target in sorted(every, key=lambda one: (sizes.get(one.workload, 0.0), one.workload)):
        smallest.setdefault((target.metric, target.phase), target)
    return tuple(sorted(smallest.values(), key=lambda one: -abs(log_ratio(one.before, one.after))))


def _ledger_targets(diff: LedgerDiff) -> Iterator[HunkTarget]:
    lines = [place for line in diff.lines[:_PLACES] for place in (line.where, line.was) if place]
    peaks = [f"{path}:{line}" for path, line, _ in (diff.head.peak_line, diff.base.peak_line)]
    for name, (unit, figure) in LEDGER_METRICS.items():
        before, after = figure(diff.base), figure(diff.head)
        if before is None or after is None or name.startswith(HOST_TRACK):
            continue
        peak = name == "track_peak_live_bytes"
        large = abs(log_ratio(before, after)) > least_effect(unit)
        large = large and abs(after - before) >= least_change(unit) and not (peak and min(before, after) <= 0)
        if unit == diff.telling if name in _TRAFFIC else large:
            places = tuple([*peaks, *lines] if peak else lines)
            yield HunkTarget(diff.workload, name, "", before, after, places)
    if diff.new_image:
        yield HunkTarget(diff.workload, NEW_IMAGE, "", 0.0, 1.0, tuple(lines))
