"""What became of each series at the end of the branch: judged, failing, skipped, vanished, too short.

Nothing that could not be judged counts as "no regression": it is listed, with the reason.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nbbench import units
from nbbench.history.causes.failure import FAILS
from nbbench.history.curves import Curve
from nbbench.history.ledger_series import LEDGER_SERIES
from nbbench.history.order import CommitOrder
from nbbench.metrics import Metric, Role
from nbbench.model import ChangePoint, Commit, EventDirection, NotJudged, NotJudgedReason, SeriesKey
from nbbench.stats.changepoint import Step, level_effect

LEAST_NOISY = 6
"""Fewer values of a noisy series cannot show a change: two levels of three."""

LEAST_EXACT_VALUES = 2
_LEVEL = 3  # values at an end that tell its level
_JUMP = math.log(1.1)
_FLIPS = 4
_UNDONE = 0.25


@dataclass(frozen=True, slots=True)
class SeriesStanding:
    """How a series stands; places count the commits of the branch, -1 where there is none.

    `first` and `last` are those of its results, whatever became of them; `fails_since` and `skipped_since`
    where the failures (skips) begin with which it ends; `ran` is the place of the newest value before them.
    `usable` counts values; `start` and `end` are the levels of the first and the last of them. `flips` counts
    changes between two levels that take turns.
    """

    key: SeriesKey
    unit: str
    exact: bool
    first: int
    last: int
    usable: int
    fails_since: int = -1
    skipped_since: int = -1
    ran: int = -1
    start: float = math.nan
    end: float = math.nan
    flips: int = 0

    @property
    def short(self) -> bool:
        """Whether there are too few values to show any change."""
        return self.usable < (LEAST_EXACT_VALUES if self.exact else LEAST_NOISY)

    @property
    def ledger(self) -> bool:
        """Whether it is a ledger's own series."""
        return self.key.benchmark.startswith(LEDGER_SERIES)


def standing(order: CommitOrder, one: Curve, metric: Metric, flips: int = 0) -> SeriesStanding | None:
    """How a series stands; None for what is never judged: the machine's own and derived figures."""
    if metric.role in (Role.MACHINE, Role.DERIVED):
        return None
    places = np.array([order.index(commit) for commit in one.commits], dtype=np.int64)
    skipped = sorted(order.index(commit) for commit in one.skipped)
    known = np.isfinite(one.values)
    usable, failed = places[known], places[~known]
    found = one.values[known]
    every = [*places.tolist(), *skipped]
    ran = int(usable[-1]) if usable.size else -1
    return SeriesStanding(
        one.key,
        one.unit,
        metric.exact,
        first=min(every, default=-1),
        last=max(every, default=-1),
        usable=int(known.sum()),
        fails_since=_first_after(failed, ran) if failed.size and failed[-1] > max([ran, *skipped]) else -1,
        skipped_since=_first_after(np.array(skipped), ran) if skipped and skipped[-1] == max(every) else -1,
        ran=ran,
        start=float(np.median(found[:_LEVEL])) if found.size else math.nan,
        end=float(np.median(found[-_LEVEL:])) if found.size else math.nan,
        flips=flips,
    )


def without_flips(steps: Sequence[Step]) -> tuple[tuple[Step, ...], int]:
    """Steps without those of a series that takes turns between two levels, and how many those are.

    Four in a row of which each undoes the one before are no work of commits: such series depend on where
    memory lies, or on which processor they run.
    """
    undoes = [
        abs(b.effect + a.effect) <= _UNDONE * max(abs(a.effect), abs(b.effect)) for a, b in pairwise(steps)
    ]
    flipping: set[int] = set()
    for first in range(len(undoes) - _FLIPS + 2):
        if all(undoes[first : first + _FLIPS - 1]):
            flipping |= set(range(first, first + _FLIPS))
    return tuple(step for i, step in enumerate(steps) if i not in flipping), len(flipping)


def _first_after(places: NDArray[np.int64], place: int) -> int:
    return int(places[places > place][0])


def newly_failing(standings: Iterable[SeriesStanding], order: CommitOrder) -> list[ChangePoint]:
    """Series that ran before and fail at the newest commits where they were tried, as change points."""
    return [
        ChangePoint(
            key=one.key,
            unit=one.unit,
            kind=FAILS,
            lo_commit=order.commits[one.ran + 1].hash,
            hi_commit=order.commits[one.fails_since].hash,
            before=one.end,
            after=math.nan,
            effect=math.inf,
            effect_lo=math.inf,
            effect_hi=math.inf,
            p_value=0.0,
            direction=EventDirection.REGRESSION,
        )
        for one in standings
        if one.fails_since >= 0 and one.ran >= 0
    ]


def not_judged_series(
    standings: Sequence[SeriesStanding], commits: Sequence[Commit]
) -> tuple[list[NotJudged], int]:
    """The series of which nothing can be said up to the end of the branch, by name; and how many others
    there are."""
    newest: dict[tuple[str, str], int] = defaultdict(lambda: -1)
    relatives: dict[object, list[SeriesStanding]] = defaultdict(list)
    for one in standings:
        place = one.key.machine, one.key.environment
        newest[place] = max(newest[place], one.last)
        relatives[one.key.benchmark, one.key.params].append(one)
    found = []
    for one in standings:
        others = [o for o in relatives[one.key.benchmark, one.key.params] if o is not one]
        said = _reason(one, others, newest)
        if said is not None:
            reason, since, detail = said
            name = one.key.label
            found.append(NotJudged(name, reason, commits[since].hash if since >= 0 else "", detail))
    ordered = sorted(found, key=lambda n: (n.series, n.reason, n.since, n.detail))
    return ordered, len(standings) - len(found)


_Told = tuple[NotJudgedReason, int, str]


def _reason(
    one: SeriesStanding, others: Sequence[SeriesStanding], newest: Mapping[tuple[str, str], int]
) -> _Told | None:
    here = [o for o in others if (o.key.machine, o.key.environment) == (one.key.machine, one.key.environment)]
    later = [o for o in here if o.key.version != one.key.version and o.last > one.last]
    if later:
        return _new_version(one, min(later, key=lambda o: (o.first, o.key.version)))
    if one.fails_since >= 0:
        return NotJudgedReason.FAILING, one.fails_since, "" if one.ran >= 0 else "it never ran"
    if one.skipped_since >= 0:
        return NotJudgedReason.SKIPPED, one.skipped_since, ""
    if one.flips:
        return NotJudgedReason.DISTURBED, one.first, f"it takes turns between two levels ({one.flips} times)"
    if one.short:
        return _short(one, others)
    # Ledgers are recorded where somebody asked for them: none at the newest commits says nothing.
    if not one.ledger and one.last < newest[one.key.machine, one.key.environment]:
        return NotJudgedReason.VANISHED, one.last, "nothing newer is on record"
    return None


def _new_version(old: SeriesStanding, new: SeriesStanding) -> _Told:
    effect = level_effect(old.end, new.start) if old.usable and new.usable else math.nan
    if math.isfinite(effect) and abs(effect) >= _JUMP:
        return (
            NotJudgedReason.NEW_VERSION,
            new.first,
            f"values differ by {units.format_change(effect)} across it",
        )
    return NotJudgedReason.NEW_VERSION, new.first, ""


def _short(one: SeriesStanding, others: Sequence[SeriesStanding]) -> _Told:
    detail = f"{one.usable} of the {LEAST_EXACT_VALUES if one.exact else LEAST_NOISY} values that it takes"
    elsewhere = [o for o in others if o.first <= one.first and o.key.version == one.key.version]
    if any(o.key.machine != one.key.machine for o in elsewhere):
        return NotJudgedReason.NEW_MACHINE, one.first, f"{one.key.machine}: {detail}"
    if elsewhere:
        return NotJudgedReason.OTHER_ENVIRONMENT, one.first, f"{one.key.environment}: {detail}"
    return NotJudgedReason.TOO_SHORT, one.first, detail
