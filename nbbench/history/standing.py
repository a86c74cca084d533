"""What became of each series at the end of the branch: judged, failing, skipped, vanished, too short.

Nothing that could not be judged counts as "no regression": it is listed, with the reason.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nbbench.history.curves import Curve
from nbbench.history.ledger_series import LEDGER_SERIES, CommitOrder
from nbbench.metrics import Metric, Role
from nbbench.model import ChangePoint, Commit, EventDirection, NotJudged, NotJudgedReason, SeriesKey
from nbbench.probe.device import CUDA_MARK
from nbbench.stats.changepoint import Step, level_effect
from nbbench.stats.mixture import Mixture
from nbbench.stats.noise import difference_sigma, mad_sigma, median
from nbbench.units import format_value

LEAST_NOISY = 6
"""Fewer values of a noisy series cannot show a change: two levels of three."""

LEAST_EXACT_VALUES = 2
FAR_SIGMAS = 5.0
"""Newest values further than this from the level are not at it; three of them would be another level."""

_LEVEL = 3  # values at an end that tell its level


Told = tuple[NotJudgedReason, int, str, float | None]
"""Why a series is not judged: reason, since where, a clause, and how far it is from the level before."""


@dataclass(frozen=True, slots=True)
class SeriesStanding:
    """How a series stands; places count the commits of the branch, -1 where there is none.

    `first` and `last` are those of its results, whatever became of them, `ran` is that of its newest value.
    `usable` counts values; `start` and `end` are the levels of the first and the last of them. `told` is why
    it is not judged, as far as it says so itself.
    """

    key: SeriesKey
    unit: str
    exact: bool
    first: int
    last: int
    ran: int
    usable: int
    start: float
    end: float
    told: Told | None = None

    @property
    def needs(self) -> int:
        """How many values it takes to show a change."""
        return LEAST_EXACT_VALUES if self.exact else LEAST_NOISY


def standing(
    one: Curve,
    metric: Metric,
    steps: Sequence[Step],
    mixture: Mixture | None,
    min_effect: float,
) -> SeriesStanding | None:
    """How a series stands in which `steps` were found, and which takes turns between the levels of `mixture`;
    None for what is never judged: the machine's own and derived figures."""
    if metric.role in (Role.MACHINE, Role.DERIVED):
        return None
    known = np.isfinite(one.values)
    found = one.values[known]
    usable, failed, skipped = one.places[known], one.places[~known], one.skipped
    ends = [int(end) for some in (one.places, skipped) if some.size for end in (some[0], some[-1])]
    first, last, ran = min(ends, default=-1), max(ends, default=-1), int(usable[-1]) if usable.size else -1
    told: Told | None = None
    if failed.size and failed[-1] == last:
        since = int(failed[failed > ran][0])
        told = NotJudgedReason.FAILING, since, "" if ran >= 0 else "it never ran", None
    elif skipped.size and skipped[-1] == last:
        told = NotJudgedReason.SKIPPED, int(skipped[skipped > ran][0]), "", None
    elif mixture is not None:
        pairs = zip(mixture.levels, mixture.shares, strict=True)
        levels = ", ".join(f"{format_value(level, one.unit)} ({share:.0%})" for level, share in pairs)
        said = f"{mixture.turns} turns between {levels}: only their mixture is judged"
        told = NotJudgedReason.MULTIMODAL, first, said, None
    elif not metric.exact and found.size >= LEAST_NOISY:
        level = found[int(known[: steps[-1].index].sum()) if steps else 0 :]
        count, apart = _newest_apart(level, metric.least_change, min_effect)
        if count:
            said = "the newest value" if count == 1 else f"the newest {count} values"
            told = NotJudgedReason.TOO_RECENT, int(usable[-count]), said, apart
    start, end = (median(part) if found.size else math.nan for part in (found[:_LEVEL], found[-_LEVEL:]))
    return SeriesStanding(one.key, one.unit, metric.exact, first, last, ran, found.size, start, end, told)


def _newest_apart(level: NDArray[np.float64], least_change: float, min_effect: float) -> tuple[int, float]:
    """How many of the newest values (two, one or none) lie far outside what the others of the last level
    (n,) show, and the log ratio: further than FAR_SIGMAS of their noise, and than what counts."""
    for count in (2, 1):
        old, new = level[:-count], level[-count:]
        if old.size >= _LEVEL:
            middle = median(old)
            far = max(FAR_SIGMAS * max(mad_sigma(old), difference_sigma(old)), least_change)
            effects = [level_effect(middle, one) for one in new.tolist()]
            sides = {math.copysign(1, one) for one in effects if abs(one) >= min_effect}
            if len(sides) == 1 and np.abs(new - middle).min() > far:
                return count, min(effects, key=abs)
    return 0, 0.0


def current(standings: Iterable[SeriesStanding]) -> list[SeriesStanding]:
    """Without those of a benchmark's version that a newer one has replaced: that one is judged now."""
    last: dict[SeriesKey, int] = defaultdict(lambda: -1)
    known = [(replace(one.key, version=""), one) for one in standings]
    for key, one in known:
        last[key] = max(last[key], one.last)
    return [one for key, one in known if one.last == last[key]]


def newly_failing(standings: Iterable[SeriesStanding], order: CommitOrder) -> list[ChangePoint]:
    """Series that ran before and fail at the newest commits where they were tried, as change points."""
    return [
        ChangePoint(
            key=one.key,
            unit=one.unit,
            kind="fails",
            lo_commit=order.commits[one.ran + 1].hash,
            hi_commit=order.commits[one.told[1]].hash,
            before=one.end,
            after=math.nan,
            effect=math.inf,
            effect_lo=math.inf,
            effect_hi=math.inf,
            p_value=0.0,
            direction=EventDirection.REGRESSION,
        )
        for one in standings
        if one.told and one.told[0] is NotJudgedReason.FAILING and one.ran >= 0
    ]


def not_judged_series(
    standings: Sequence[SeriesStanding], every: Sequence[SeriesStanding], commits: Sequence[Commit]
) -> tuple[list[NotJudged], int]:
    """The series of `standings` of which nothing can be said up to the end of the branch, by name, and how
    many others there are; `every` has the replaced versions as well."""
    newest: dict[tuple[str, str], int] = defaultdict(lambda: -1)
    relatives: dict[object, list[SeriesStanding]] = defaultdict(list)
    for one in every:
        place = one.key.machine, one.key.environment
        newest[place] = max(newest[place], one.last)
        relatives[one.key.benchmark, one.key.params].append(one)
    found = []
    for one in standings:
        told = one.told
        if told is None and one.usable < one.needs:
            told = _short(one, relatives[one.key.benchmark, one.key.params])
        # Ledgers are recorded where somebody asked for them: none at the newest commits says nothing.
        ledger = one.key.benchmark.startswith(LEDGER_SERIES)
        if told is None and not ledger and one.last < newest[one.key.machine, one.key.environment]:
            told = NotJudgedReason.VANISHED, one.ran, "nothing newer is on record", None
        if told is not None:
            reason, since, detail, effect = told
            commit = commits[since].hash if since >= 0 else ""
            found.append(NotJudged(one.key.label, reason, commit, detail, effect))
    ordered = sorted(found, key=lambda n: (n.series, n.reason, n.since, n.detail))
    return ordered, len(standings) - len(found)


def _short(one: SeriesStanding, relatives: Iterable[SeriesStanding]) -> Told:
    """What it lacks, and what it is compared with: another version's, machine's or environment's level."""

    def kinship(other: SeriesStanding) -> tuple[bool, bool, bool, int]:
        a, b = other.key, one.key
        return a.machine == b.machine, a.environment == b.environment, a.version == b.version, other.ran

    detail = f"{one.usable} of the {one.needs} values that it takes"
    older = [o for o in relatives if o is not one and o.usable and o.first <= one.first]
    gpu = CUDA_MARK in one.key.environment  # no level of the processor's is one of a GPU's
    older = [o for o in older if (CUDA_MARK in o.key.environment) is gpu]
    if not older:
        return NotJudgedReason.TOO_SHORT, one.first, detail, None
    key, old = one.key, max(older, key=kinship)
    effect = level_effect(old.end, one.start) if one.usable else None
    if old.key.machine != key.machine:
        return NotJudgedReason.NEW_MACHINE, one.first, f"{key.machine}: {detail}", effect
    if old.key.environment != key.environment:
        return NotJudgedReason.OTHER_ENVIRONMENT, one.first, f"{key.environment}: {detail}", effect
    return NotJudgedReason.NEW_VERSION, one.first, detail, effect
