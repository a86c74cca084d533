"""Which hunks of a difference cause a change of exact work: the smallest set that reproduces it,
and what each of them carries (docs/ledger.md).
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from nbbench.config import Settings
from nbbench.growth import ScaledWork
from nbbench.host import HostKind, HostMetric, HostWork
from nbbench.ledger import ImageChange, Ledger, TreeHunk
from nbbench.measure.ledgers import known_work
from nbbench.measure.subsets import SubsetRecorder
from nbbench.measure.warm_runs import Servers, shared_servers
from nbbench.metrics import LEDGER_METRICS
from nbbench.stats.minimal_set import TooManyTests, Trial, shrinking_sets
from nbbench.subject.profile import load_profile
from nbbench.words import Say
from nbbench.work.count_diff import HostDiff, OrderChange
from nbbench.work.hunk_causes import NEW_IMAGE, HunkCause, HunkSearch, HunkShare, HunkTarget, hunk_targets
from nbbench.work.ledger_diff import LedgerDiff, compare_images
from nbbench.work.work import source_place

_JOBS = 2  # recordings at a time
_MOST_TESTS = 400  # of one change
_MOST_ALONE = 8  # hunks of a set that are recorded alone


def find_hunks(
    settings: Settings,
    search: HunkSearch,
    diffs: Sequence[LedgerDiff],
    host: Iterable[HostDiff],
    orders: Iterable[OrderChange] = (),
    *,
    say: Say,
    most: int | None = None,
    servers: Servers | None = None,
) -> None:
    """Fill `search` with the cause of every change of exact work between its commits, one after the other.

    Nothing is recorded where more than `most` hunks change the program. An interrupt, or the end of a budget,
    leaves in it what was found until then. Raises SubjectError where the trees cannot be compared.
    """
    search.targets = hunk_targets(diffs, host, orders)
    root, prefix = source_place(settings)
    with shared_servers(servers) as mine:
        recorder = SubsetRecorder(settings, search.base, search.head, mine, root=root, prefix=prefix)
        search.hunks = recorder.difference.hunks
        moving = search.moving = recorder.difference.moving()
        if most is not None and len(moving) > most:
            return
        counts = (
            [known_work(settings, one).host for one in (search.base, search.head)] if search.targets else []
        )
        phases = (phase for side in counts for one in side.values() for phase in one.phases)
        ran = {one.path for phase in phases for one in phase.counts if one.kind is HostKind.LINE}
        imported = [one for one in moving if not ran or {one.base_path, one.head_path} & ran]
        trials = _Trials(settings, recorder, search, {diff.workload: diff for diff in diffs})
        for target in search.targets:
            paying = [one for one in moving if any(one.holds(place) for place in target.places)]
            before = [[share.hunk for share in cause.hunks] for cause in search.causes]
            search.causes.append(HunkCause(target, tuple(map(HunkShare, moving))))
            _shrink(trials, [*before, paying, imported], say)
            _weigh(trials)
    search.done = True


def _shrink(trials: "_Trials", guesses: Iterable[Collection[TreeHunk]], say: Say) -> None:
    """Make the set of the change that was begun last minimal."""
    search, cause = trials.search, trials.search.causes[-1]

    def test(sets: Sequence[Collection[TreeHunk]]) -> list[Trial]:
        say(
            f"hunks of {cause.target.name}: {len(search.causes[-1].hunks)} left; {search.recorded} recordings"
        )
        return [trials.outcome(one) for one in trials.figures(sets)]

    hunks = tuple(share.hunk for share in cause.hunks)
    sets = shrinking_sets(hunks, test, starts=guesses, width=_JOBS, most=_MOST_TESTS)
    try:
        for found in sets:
            cause = search.causes[-1] = replace(cause, hunks=tuple(map(HunkShare, found)))
        search.causes[-1] = replace(cause, minimal=True)
    except TooManyTests as error:
        say(f"{cause.target.name}: {error}")


def _weigh(trials: "_Trials") -> None:
    """Record head without the set that was found last, and what each of its hunks carries."""
    search, cause = trials.search, trials.search.causes[-1]
    chosen = frozenset(share.hunk for share in cause.hunks)
    [rest] = trials.figures([frozenset(search.hunks) - chosen])
    shares = list(cause.hunks)
    if len(chosen) <= _MOST_ALONE:
        start, moved = cause.target.before, cause.target.after - cause.target.before
        alone = trials.figures([{share.hunk} for share in shares])
        less = trials.figures([chosen - {share.hunk} for share in shares])
        shares = [
            HunkShare(
                share.hunk,
                None if one is None else (one - start) / moved,
                None if left is None else 1 - (left - start) / moved,
            )
            for share, one, left in zip(shares, alone, less, strict=True)
        ]
    search.causes[-1] = replace(cause, rest=rest, hunks=tuple(shares))


class _Trials:
    """Figures of trees with some of the hunks, for the change that was begun last."""

    def __init__(
        self,
        settings: Settings,
        recorder: SubsetRecorder,
        search: HunkSearch,
        diffs: Mapping[str, LedgerDiff],
    ) -> None:
        self._recorder, self.search, self._diffs = recorder, search, diffs
        self._tolerance = load_profile(settings).image
        self._ends = recorder.difference.key(()), recorder.difference.key(search.hunks)
        self._unresolved: set[tuple[str, str]] = set()

    def outcome(self, figure: float | None) -> Trial:
        """Whether it is the figure of head."""
        target = self.search.causes[-1].target
        if figure is None:
            return Trial.UNRESOLVED
        return Trial.SHOWS if abs(figure - target.after) <= target.tolerance else Trial.LACKS

    def figures(self, sets: Sequence[Collection[TreeHunk]]) -> list[float | None]:
        """The figure with each set of hunks applied to base; None where that does not run."""
        target = self.search.causes[-1].target
        keys = [self._recorder.difference.key(one) for one in sets]
        found: dict[str, float | None] = dict(zip(self._ends, (target.before, target.after), strict=True))
        unknown = {key: one for key, one in zip(keys, sets, strict=True) if key not in found}
        made = self._recorder.record(list(unknown.values()), target.workload, target.recorder)
        found |= {key: self._figure(target, one) for key, one in zip(unknown, made, strict=True)}
        self._unresolved |= {(key, target.recorder) for key in keys if found[key] is None}
        self.search.recorded, self.search.unresolved = self._recorder.recorded, len(self._unresolved)
        return [found[key] for key in keys]

    def _figure(self, target: HunkTarget, made: Ledger | HostWork | ScaledWork | None) -> float | None:
        if made is None:
            return None
        if isinstance(made, HostWork):
            metric = HostMetric(target.metric)
            return next((float(p.totals()[metric]) for p in made.phases if p.phase == target.phase), None)
        if isinstance(made, ScaledWork):
            return next((one for name, one in made.orders.items() if name.metric == target.metric), None)
        if target.metric != NEW_IMAGE:
            return LEDGER_METRICS[target.metric][1](made)
        diff = self._diffs[target.workload]
        for end, figure in ((diff.head, target.after), (diff.base, target.before)):
            if compare_images(end, made, self._tolerance)[0] is not ImageChange.DIFFERENT:
                return figure
        return math.inf  # a third image
