"""Which hunks of a difference cause a change of exact work: the smallest set that reproduces it.

Subsets of the hunks are recorded, and delta debugging (`stats.minimal_set`) finds the set. What it carries
is told hunk by hunk, and that the others are innocent by one recording of head without the set.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nbbench.config import ImageTolerance, Settings
from nbbench.host import HOST_TRACK, HostKind, HostMetric, HostWork
from nbbench.ledger import ImageChange, Ledger
from nbbench.measure.host import known_host
from nbbench.measure.subsets import SubsetRecorder
from nbbench.metrics import LEDGER_METRICS, least_change, least_effect
from nbbench.model import Commit, EvidenceRecord
from nbbench.stats.minimal_set import TooManyTests, Trial, shrinking_sets
from nbbench.subject.hunks import TreeHunk
from nbbench.subject.profile import load_profile
from nbbench.words import Say
from nbbench.work.host_diff import HostDiff
from nbbench.work.ledger_diff import LedgerDiff, compare_images, log_ratio
from nbbench.work.work import source_place

IMAGE = "image"
"""The metric of an image: 0 that of base, 1 that of head, both within rounding."""

_TRAFFIC = ("track_bytes_per_pixel", "track_operations")
_MOST_TESTS = 400
_MOST_ALONE = 8  # hunks of a set that are recorded alone
_NEAR = 0.01  # of the change: what is reproduced to this part is reproduced, however small the limits
_COARSE = 0.25  # of the change: nothing coarser than this is called reproduced
_GUESSED_LINES = 10
_FIGURES = ("workload", "phase", "metric", "unit", "before", "after")
_PARTS = ("share", "alone", "without")


@dataclass(frozen=True, slots=True)
class HunkTarget:
    """A figure that changed between base and head, on the smallest workload that shows it.

    `metric` is a name of `LEDGER_METRICS`, IMAGE or, where there is a `phase`, a host metric. `places` are
    the lines that pay for it, `path:line` in either tree.
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
        if self.phase:
            return self.metric
        return LEDGER_METRICS[self.metric][0] if self.metric in LEDGER_METRICS else ""

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
        target = self.target
        figures = {
            **{
                name: getattr(target, name)
                for name in ("workload", "phase", "metric", "unit", "before", "after")
            },
            "hunks": [
                {"place": one.hunk.place, "change": one.hunk.change, **{n: getattr(one, n) for n in _PARTS}}
                for one in self.hunks
            ],
            "total": total,
            "minimal": self.minimal,
            "innocent": self.innocent,
            "rest": self.rest,
        }
        return EvidenceRecord("hunks", figures)


@dataclass(slots=True)
class HunkSearch:
    """What is known of the hunks between two commits: filled while the search goes on.

    `same` counts the hunks that change no program (words, formatting), `unresolved` the combinations that do
    not run. `done` says that every change was looked at.
    """

    base: Commit
    head: Commit
    hunks: tuple[TreeHunk, ...] = ()
    same: int = 0
    targets: tuple[HunkTarget, ...] = ()
    causes: list[HunkCause] = field(default_factory=list)
    recorded: int = 0
    unresolved: int = 0
    done: bool = False


def hunk_targets(diffs: Iterable[LedgerDiff], host: Iterable[HostDiff]) -> tuple[HunkTarget, ...]:
    """The figures that changed by what counts, each on its smallest workload, the largest change first."""
    sizes: dict[str, float] = {}
    found: dict[tuple[str, str], list[HunkTarget]] = {}
    for diff in diffs:
        sizes[diff.workload] = diff.head.cost_bytes
        for one in _ledger_targets(diff):
            found.setdefault((one.metric, ""), []).append(one)
    for each in host:
        if each.counts:
            places = tuple(line.where for line in each.lines[:_GUESSED_LINES])
            figures = float(each.before), float(each.after)
            one = HunkTarget(each.workload, each.metric, each.phase, *figures, places)
            found.setdefault((one.metric, one.phase), []).append(one)
    smallest = [
        min(some, key=lambda one: (sizes.get(one.workload, 0.0), one.workload)) for some in found.values()
    ]
    return tuple(sorted(smallest, key=lambda one: -abs(log_ratio(one.before, one.after))))


def _ledger_targets(diff: LedgerDiff) -> Iterator[HunkTarget]:
    lines = [place for line in diff.lines[:_GUESSED_LINES] for place in (line.where, line.was) if place]
    peaks = [f"{path}:{line}" for path, line, _ in (diff.head.peak_line, diff.base.peak_line)]
    for name, (unit, figure) in LEDGER_METRICS.items():
        before, after = figure(diff.base), figure(diff.head)
        if before is None or after is None or name.startswith(HOST_TRACK):
            continue
        peak = name == "track_peak_live_bytes"
        large = abs(log_ratio(before, after)) > least_effect(unit) and abs(after - before) >= least_change(
            unit
        )
        if unit == diff.telling if name in _TRAFFIC else large and (not peak or min(before, after) > 0):
            places = tuple([*peaks, *lines] if peak else lines)
            yield HunkTarget(diff.workload, name, "", before, after, places)
    if diff.new_image:
        yield HunkTarget(diff.workload, IMAGE, "", 0.0, 1.0, tuple(lines))


def find_hunks(
    settings: Settings,
    search: HunkSearch,
    diffs: Sequence[LedgerDiff],
    host: Sequence[HostDiff],
    *,
    say: Say,
    jobs: int = 2,
    most: int = _MOST_TESTS,
) -> None:
    """Fill `search` with the cause of every change of exact work between its commits, one after the other.

    An interrupt, or the end of a budget, leaves in it what was found until then. A change takes `most` tests
    at most. Raises SubjectError where the trees cannot be compared.
    """
    search.targets = hunk_targets(diffs, host)
    if not search.targets:
        search.done = True
        return
    root, prefix = source_place(settings)
    with SubsetRecorder(settings, search.base, search.head, root=root, prefix=prefix, jobs=jobs) as recorder:
        search.hunks = recorder.difference.hunks
        moving = recorder.difference.moving()
        search.same = len(search.hunks) - len(moving)
        ran = _files_that_ran(settings, search)
        trials = _Trials(recorder, search, {d.workload: d for d in diffs}, load_profile(settings).image)
        for target in search.targets:
            paying = [one for one in moving if any(_stands_in(one, place) for place in target.places)]
            guesses = [[share.hunk for share in one.hunks] for one in search.causes]
            guesses += [paying, [one for one in moving if not ran or {one.base_path, one.head_path} & ran]]
            _search(trials, target, moving, guesses, jobs=jobs, most=most, say=say)
        search.done = True


def _search(
    trials: _Trials,
    target: HunkTarget,
    moving: tuple[TreeHunk, ...],
    guesses: list[list[TreeHunk]],
    *,
    jobs: int,
    most: int,
    say: Say,
) -> None:
    """Find the minimal set of one target, the parts that it carries, and whether the others are innocent."""
    search = trials.search
    cause = HunkCause(target, tuple(map(HunkShare, moving)))
    search.causes.append(cause)
    try:
        sets = shrinking_sets(
            moving, lambda some: trials.outcomes(target, some), starts=guesses, width=jobs, most=most
        )
        for found in sets:
            cause = search.causes[-1] = replace(cause, hunks=tuple(map(HunkShare, found)))
            say(f"hunks of {target.name}: {len(found)} of {len(search.hunks)} left")
        cause = replace(cause, minimal=True)
    except TooManyTests:
        say(f"{target.name}: {most} recordings did not suffice for a minimal set")
    chosen = [one.hunk for one in cause.hunks]
    cause = search.causes[-1] = replace(
        cause, rest=trials.figures(target, [set(search.hunks) - set(chosen)])[0]
    )
    if 1 < len(chosen) <= _MOST_ALONE:
        sets_tried = [{one} for one in chosen] + [set(chosen) - {one} for one in chosen]
        parts = [
            None if one is None else (one - target.before) / (target.after - target.before)
            for one in trials.figures(target, sets_tried)
        ]
        shares = [
            HunkShare(one, alone, None if left is None else 1 - left)
            for one, alone, left in zip(chosen, parts, parts[len(chosen) :], strict=False)
        ]
        cause = search.causes[-1] = replace(cause, hunks=tuple(shares))
    elif len(chosen) == 1:
        search.causes[-1] = replace(cause, hunks=(HunkShare(chosen[0], 1.0, 1.0),))


class _Trials:
    """Figures of trees with some of the hunks; base and head are known."""

    def __init__(
        self,
        recorder: SubsetRecorder,
        search: HunkSearch,
        diffs: Mapping[str, LedgerDiff],
        tolerance: ImageTolerance,
    ) -> None:
        self._recorder, self.search, self._diffs, self._tolerance = recorder, search, diffs, tolerance
        difference = recorder.difference
        self._ends = difference.key(()), difference.key(difference.hunks)
        self._unresolved: set[str] = set()

    def outcomes(self, target: HunkTarget, sets: Sequence[Collection[TreeHunk]]) -> list[Trial]:
        """What came of each set: whether it gives the figure of head."""
        return [
            Trial.UNRESOLVED
            if one is None
            else Trial.SHOWS
            if abs(one - target.after) <= target.tolerance
            else Trial.LACKS
            for one in self.figures(target, sets)
        ]

    def figures(self, target: HunkTarget, sets: Sequence[Collection[TreeHunk]]) -> list[float | None]:
        """The target's figure with each set of hunks applied; None where that does not run."""
        ends = dict(zip(self._ends, (target.before, target.after), strict=True))
        keys = [self._recorder.difference.key(one) for one in sets]
        unknown = {key: one for key, one in zip(keys, sets, strict=True) if key not in ends}
        made = self._recorder.record(list(unknown.values()), target.workload, host=bool(target.phase))
        found = {key: self._figure(target, one) for key, one in zip(unknown, made, strict=True)}
        self._unresolved |= {key for key, one in found.items() if one is None}
        self.search.recorded, self.search.unresolved = self._recorder.recorded, len(self._unresolved)
        return [ends[key] if key in ends else found[key] for key in keys]

    def _figure(self, target: HunkTarget, recorded: Ledger | HostWork) -> float | None:
        if recorded.error:
            return None
        if isinstance(recorded, HostWork):
            phase = next((one for one in recorded.phases if one.phase == target.phase), None)
            return float(phase.total(HostMetric(target.metric))) if phase else None
        if target.metric != IMAGE:
            return LEDGER_METRICS[target.metric][1](recorded)
        diff = self._diffs[target.workload]
        for end, figure in ((diff.head, target.after), (diff.base, target.before)):
            if compare_images(end, recorded, self._tolerance)[0] is not ImageChange.DIFFERENT:
                return figure
        return math.inf  # a third image


def _stands_in(hunk: TreeHunk, place: str) -> bool:
    """Whether a line (`path:line`, of base or head) stands in a hunk, or in a file that comes or goes."""
    path, _, number = place.rpartition(":")
    if hunk.lines is None:
        return path in (hunk.base_path, hunk.head_path)
    sides = (
        (hunk.head_path, hunk.lines.head_start, hunk.lines.added),
        (hunk.base_path, hunk.lines.base_start, hunk.lines.removed),
    )
    return any(path == of and 0 <= int(number) - first < len(lines) for of, first, lines in sides)


def _files_that_ran(settings: Settings, search: HunkSearch) -> set[str]:
    """The files of which some line ran at base or head, as far as host work on record tells."""
    works = [one for commit in (search.base, search.head) for one in known_host(settings, commit).values()]
    counts = (one for work in works for phase in work.phases for one in phase.counts)
    return {one.path for one in counts if one.kind is HostKind.LINE}
