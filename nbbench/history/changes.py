"""From series to change points: detection, commit intervals, false-discovery control."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from nbbench.config import ImageTolerance
from nbbench.growth import ScaledWork
from nbbench.history.confirmed import (
    MeasuredBeside,
    Repeats,
    Siblings,
    WorkHistory,
    collection_logs,
    measured_alone,
    repeated,
    settled,
    short_levels,
    without_bursts,
)
from nbbench.history.curves import Curve, StoredCurves, change_point, curve, significant
from nbbench.history.facts import Setups
from nbbench.history.ledger_series import LEDGER_SERIES, CommitOrder
from nbbench.history.standing import (
    SeriesStanding,
    current,
    newly_failing,
    not_judged_series,
    standing,
)
from nbbench.history.telemetry import canary_levels, disturbed_results, is_left_out
from nbbench.history.together import (
    FileTimes,
    MeasuredAt,
    PlaceEffects,
    PlaceTest,
    Together,
    shared_levels,
    shared_slowness,
    shared_speed,
)
from nbbench.host import HostWork
from nbbench.ledger import Ledger
from nbbench.metrics import Better, Metric, Role, metric_of
from nbbench.model import ChangePoint, Commit, NotJudged, ProcessRecord, Series, SeriesKey
from nbbench.record.workers import MANY_POINTS, share_work, useful_jobs
from nbbench.stats.canary import disturbed_beside, remove_drift, without_disturbed
from nbbench.stats.changepoint import Step, detect_steps, exact_steps, levels_as_measured, series_alpha
from nbbench.stats.detector import ALONE
from nbbench.stats.known import known_steps, lent_values, place_tests
from nbbench.stats.mixture import Mixture, find_mixture, without_flips
from nbbench.stats.shared import slow_alone, slow_in_a_row
from nbbench.work.ledger_diff import ROUNDING
from nbbench.workloads import UNDECLARED, current_workloads, ledger_families, use_workloads, workload_of

# Of one series; the false-discovery rate over all of them is what keeps alarms away. 0.01 loses
# one in eight steps of 5 % at a noise of 2 % and saves no alarm (docs/scorecard.md, tuning half).
SERIES_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class History:
    """Everything that detection looks at.

    `series` are in memory; those of a database are `stored` and read where they are judged, so that a large
    one need not fit into memory. `commits` are the commits of the branch that changed the measured paths,
    measured or not (without positions they are in order already); `ledgers` are keyed by tree, then workload;
    `records` is the telemetry; `repeats` holds
    results that were collected more than once, `measured_at` when each was measured, `setups` with what;
    images that differ by less than `tolerance` are the same within rounding. `host` gives a tree's host work
    by line, `scaled` what its scales count.
    """

    series: Collection[Series]
    commits: tuple[Commit, ...]
    ledgers: Mapping[str, Mapping[str, Ledger]]
    records: tuple[ProcessRecord, ...] = ()
    stored: StoredCurves | None = None
    repeats: Repeats = field(default_factory=dict)
    measured_at: MeasuredAt = field(default_factory=dict)
    setups: Setups = field(default_factory=Setups)
    tolerance: ImageTolerance = ROUNDING
    host: Callable[[str], Mapping[str, HostWork]] = lambda tree: {}
    scaled: Callable[[str], Mapping[str, ScaledWork]] = lambda tree: {}

    def size(self) -> int:
        """How many series there are to judge."""
        return len(self.stored or ()) + len(self.series)


@dataclass(frozen=True, slots=True)
class JudgedHistory:
    """The change points of a history in the order of its series, what fails at its end among them; what was
    not judged; and how many series were."""

    changes: list[ChangePoint]
    not_judged: list[NotJudged]
    judged: int


def judge_history(
    history: History,
    *,
    min_effect: float = 0.05,
    declared: Mapping[str, Better] = MappingProxyType({}),
    jobs: int | None = None,
) -> JudgedHistory:
    """Judge every series of `history`.

    Exact counters are compared exactly. Noisy series are tested at SERIES_ALPHA each; what is found must also
    pass Benjamini–Hochberg over all noisy series at FALSE_DISCOVERY_RATE, and changes below `min_effect` (a
    log ratio) are left out. The machine's own series are never tested: they explain. Results whose processes
    or canaries were disturbed are left out, unless few others are left, and what the canaries show of the
    machine's drift is taken out of times where that lowers their error. A level of one or two commits needs
    the word of the ledger, of a second collection, or, where no ledger knows its work, of the other series of
    the machine. `declared` gives directions of units. `jobs` processes share what is stored (as many as are
    worth starting where it is None); the result does not depend on it, and few of those series are in memory
    at a time.
    """
    judge = _Judge(history, min_effect, declared)
    judge.look_beside(history)
    done: list[_Judged] = []
    if (stored := history.stored) is not None and len(stored):
        jobs = useful_jobs(stored.points) if jobs is None else jobs
        for judged in share_work(judge.part, stored.parts(), jobs=jobs if stored.shared else 1):
            done += judged
        done.sort(key=lambda one: one.place)
    for place, series in enumerate(history.series, start=len(done)):
        done.append(judge.one(place, curve(judge.order, series)))
    changes = significant([change for one in done for change in one.changes], sum(one.tested for one in done))
    every = [one.standing for one in done if one.standing is not None]
    stand = current(every)
    changes += newly_failing(stand, judge.order)
    return JudgedHistory(changes, *not_judged_series(stand, every, judge.order.commits))


@dataclass(frozen=True, slots=True)
class _Judged:
    """The changes of one series, its place among all, whether it was tested (and not just compared), and how
    it stands at the end of the branch."""

    place: int
    changes: list[ChangePoint]
    tested: bool
    standing: SeriesStanding | None = None


class _Judge:
    """Finds the changes of one curve, whatever the others show, by what is on record beside its results."""

    def __init__(self, history: History, min_effect: float, declared: Mapping[str, Better]) -> None:
        self.order = CommitOrder(history.commits)
        self._min_effect, self._declared = min_effect, dict(declared)
        self._stored, self._suite, self._repeats = history.stored, current_workloads(), history.repeats
        self._disturbed = disturbed_results(history.records)
        self._canaries = canary_levels(history.records)
        self._agreed: dict[SeriesKey, Mapping[str, tuple[float, float]]] = {}
        self._siblings = Siblings()
        self._shared, self._effects = Together({}, {}), PlaceEffects()
        self._slow = self._speed = self._shared
        self._measured_at = FileTimes(history.measured_at, self.order)
        self._work = WorkHistory(history.ledgers, self.order)
        # The ledgers have the suite's own counts of more commits: its tracks serve asv's graphs.
        ledgers = (one.key for one in history.series if one.key.benchmark.startswith(LEDGER_SERIES))
        self._counted = frozenset(map(_figure, ledgers))

    def look_beside(self, history: History) -> None:
        """Read what the series of each machine show together."""

        def curves() -> Iterator[Curve]:
            if (stored := history.stored) is not None:
                yield from (self._settled(found) for part in stored.parts() for _, found in stored.read(part))
            yield from (self._settled(curve(self.order, one)) for one in history.series)

        # Reading many series again takes seconds. What undeclared benchmarks share is the machine's.
        if history.stored is None or history.stored.points <= MANY_POINTS:
            self._slow = shared_slowness(self.order, filter(None, map(self._collections, curves())))
            self._speed = shared_speed(self.order, filter(None, map(self._collections, curves())))
            self._shared = shared_levels(self.order, filter(None, map(self._collections, curves())))
            placed = curves() if history.ledgers else ()
            self._effects = PlaceEffects(test for one in placed for test in self._place_tests(one))
        if self._canaries.levels:
            self._siblings = Siblings.of(filter(None, map(self._measured_beside, curves())))

    def _at(self, one: Curve) -> NDArray[np.float64]:
        """When each commit (n,) of a series was measured, by telemetry or by its result file."""
        at = self._canaries.at(one.key, one.commits)
        return np.where(np.isfinite(at), at, self._measured_at.of(one))

    def _undisturbed_logs(self, one: Curve) -> NDArray[np.float64] | None:
        metric = metric_of(one.key, one.unit, one.kind, self._declared)
        if metric.exact or metric.role is not Role.TIME or not one.values.size:
            return None
        values = self._undisturbed(one, metric)
        return np.log(np.where(values > 0, values, np.nan))

    def _collections(self, one: Curve) -> tuple[Curve, NDArray[np.float64], NDArray[np.float64]] | None:
        """Of a series that the suite declares the undisturbed logs of its collections (k, n), and when."""
        logs = None if ledger_families(one.key) == UNDECLARED else self._undisturbed_logs(one)
        if logs is None:
            return None
        if again := self._agreed.get(one.key):
            rows = collection_logs(one.commits, one.values, again)
            logs = rows + logs - np.log(np.where(one.values > 0, one.values, np.nan))
        if (shares := self._slow.at(one.key, one.commits)) is not None:
            logs = np.where(slow_alone(np.atleast_2d(logs).mean(axis=0), shares), np.nan, logs)
        return one, np.atleast_2d(logs), self._at(one)

    def _place_tests(self, one: Curve) -> Iterator[PlaceTest]:
        levels = self._work.confirming(one)
        if levels.any() and (logs := self._undisturbed_logs(one)) is not None:
            lent, work = lent_values(np.exp(logs), one.values, levels), self._work.sizes(one)
            for at, effect, error in place_tests(*lent, levels):
                more, calls = (work[:, at] - work[:, at - 1]).tolist()
                yield PlaceTest(one.key, one.commits[at], effect, error, (more, calls))

    def _measured_beside(self, one: Curve) -> MeasuredBeside | None:
        key, commits = one.key, tuple(one.commits)
        at = self._canaries.at(key, commits)
        logs = self._undisturbed_logs(one) if np.isfinite(at).any() else None
        if logs is None:
            return None
        return MeasuredBeside(key, commits, logs, self._canaries.beside(key, commits), at)

    def _settled(self, one: Curve) -> Curve:
        """The series by the faster collection of those of its results on which two disagree."""
        again = self._repeats.get(one.key)
        if again is None or metric_of(one.key, one.unit, one.kind, self._declared).role is not Role.TIME:
            return one
        values, self._agreed[one.key] = settled(one.commits, one.values, again)
        return replace(one, values=values)

    def part(self, part: range) -> list[_Judged]:
        """Read some curves of the database and judge them, in whichever process this is."""
        use_workloads(self._suite)  # another process knows no project
        return [self.one(place, found) for place, found in self._stored.read(part)] if self._stored else []

    def one(self, place: int, one: Curve) -> _Judged:
        """Judge one curve."""
        one = self._settled(one)
        metric = metric_of(one.key, one.unit, one.kind, self._declared)
        ledger = one.key.benchmark.startswith(LEDGER_SERIES)
        if metric.exact and not ledger and _figure(one.key) in self._counted:
            return _Judged(place, [], False)
        steps: tuple[Step, ...] = ()
        mixture: Mixture | None = None
        tested = not metric.exact and metric.role is not Role.MACHINE
        if metric.exact:
            steps = exact_steps(one.values, rel_tol=1e-9)
        elif tested:
            values = self._undisturbed(one, metric)
            levels = self._work.levels(one)
            if (levels == levels[:1]).all():  # no work of its own changed anywhere
                mixture = find_mixture(values, alpha=SERIES_ALPHA, min_effect=self._min_effect)
            if mixture is None:
                steps = self._noisy_steps(one, metric, values)
            elif mixture.change is not None:
                steps = (mixture.change,)
        found = [change_point(self.order, one, step, metric) for step in steps]
        return _Judged(place, found, tested, standing(one, metric, steps, mixture, self._min_effect))

    def _noisy_steps(self, one: Curve, metric: Metric, values: NDArray[np.float64]) -> tuple[Step, ...]:
        # What is lost in any run (a few page faults) is no level of its own: it would move a step.
        floored = np.maximum(values, metric.least_change) if metric.least_change else values
        confirmed, levels = self._confirmed(one), self._levels(one)
        expected = self._effects.of(one.key, one.commits)
        # exact work knows where its levels end; the rest is searched for
        asked = {"alpha": series_alpha(SERIES_ALPHA, floored.size), "min_effect": self._min_effect}
        lent, errors, counted = floored, None, self._work.known(one)
        if metric.role is Role.TIME and (levels != levels[:1]).any():
            lent, errors = lent_values(floored, one.values, levels)
        known, factors = known_steps(lent, levels, errors=errors, expected=expected, counted=counted, **asked)
        steps = detect_steps(floored / factors, confirmed=confirmed, **asked)
        if known:
            places = {step.index for step in known}
            both = sorted((*known, *(s for s in steps if s.index not in places)), key=lambda s: s.index)
            steps = levels_as_measured(tuple(both), lent)
            steps = tuple(step for step in steps if abs(step.effect) >= self._min_effect)
        if len(steps) > 1:  # a burst has two
            told, at = confirmed != 0, self._at(one)
            if np.isfinite(at).any():  # a machine's mood lies over what is measured in a row
                told |= measured_alone(at)
            steps = without_bursts(steps, np.isfinite(lent), told, [step.index for step in known])
        if steps and np.ptp(levels) == 0 and not confirmed.any():
            steps = without_flips(steps, floored, self._min_effect)
        return levels_as_measured(steps, values) if steps and metric.least_change else steps

    def _undisturbed(self, one: Curve, metric: Metric) -> NDArray[np.float64]:
        """The values without those of a disturbed machine, unless few others are left, and times without its
        drift."""
        values, beside = one.values, self._beside(one, metric)
        disturbed = np.zeros(len(one.commits), dtype=np.bool_)
        if self._disturbed:
            disturbed[:] = [is_left_out(self._disturbed, one.key, commit) for commit in one.commits]
        if beside.size:
            disturbed |= disturbed_beside(beside, self._at(one))
        if metric.role is Role.TIME and (shares := self._slow.at(one.key, one.commits)) is not None:
            logs = np.log(np.where(values > 0, values, np.nan))
            disturbed |= slow_in_a_row(logs, shares, self._at(one))
        values = without_disturbed(values, disturbed)
        return remove_drift(values, beside)[0] if beside.size else values

    def _beside(self, one: Curve, metric: Metric) -> NDArray[np.float64]:
        """What tells how slow the machine was at each result of a time, (programs, n): its canaries, and what
        was measured right before and after."""
        speed = self._speed.at(one.key, one.commits)
        rows = [] if speed is None else [speed]
        if self._canaries.levels:
            rows += [*self._canaries.beside(one.key, one.commits)]
        return np.array([row for row in rows if metric.role is Role.TIME and np.isfinite(row).any()])

    def _levels(self, one: Curve) -> NDArray[np.int64]:
        """Numbers (n,) of the levels of a series' work; where no work is on record, of what the series of the
        machine share."""
        if self._work.known(one).any():
            return self._work.confirming(one)
        shared = self._shared.at(one.key, one.commits)
        return np.zeros(len(one.commits), dtype=np.int64) if shared is None else shared

    def _confirmed(self, one: Curve) -> NDArray[np.int64]:
        """Short levels that the work or the series of the machine together confirm, and points that a second
        collection does, or the series beside quiet canaries where no work is known, as `detect_steps` takes
        them."""
        confirmed = short_levels(self._levels(one))
        if again := self._agreed.get(one.key):
            repeats = repeated(one.commits, one.values, again)
            confirmed = np.where((confirmed == 0) & repeats, ALONE, confirmed)
        shared = self._siblings.confirm(one.key, one.commits) & ~self._work.known(one)
        return np.where((confirmed == 0) & shared, ALONE, confirmed)


def _figure(key: SeriesKey) -> tuple[str, str]:
    """Workload and name of an exact count: the suite's tracks and the ledgers' series share them."""
    return workload_of(key) or "", key.benchmark.rpartition(".")[2]
