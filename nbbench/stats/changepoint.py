"""Change points of one series: where its level changed, by how much, and how surely.

`detect_steps` is for noisy values (times), `exact_steps` for counters that repeat exactly (the ledger).
Method, sources and measured error rates are in docs/statistics.md.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from nbbench.stats.arrays import FloatArray, IntArray
from nbbench.stats.detector import ALONE, Change, detect
from nbbench.stats.noise import one_dimension

EFFECT_Z = 1.959963984540054
"""Half-width of a 95 % interval in standard errors."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change of level in a series; indices count the array that was given, missing values included.

    ``index`` is the first index of the new level and ``lo``..``hi`` the inclusive interval of its plausible
    places (95 %, wider where values are missing). ``before`` and ``after`` are the levels (medians, in the
    values' own unit). ``effect`` is ln(after / before) with a 95 % interval; `level_effect` says what it is
    where the levels have no ratio. ``p_value`` is the probability of a contrast as great anywhere in a series
    of this length that does not change.
    """

    index: int
    lo: int
    hi: int
    before: float
    after: float
    effect: float
    effect_lo: float
    effect_hi: float
    p_value: float


ALARMS_PER_POINT = 1e-3
"""False alarms that short series may raise: one in a thousand points."""


def series_alpha(alpha: float, n: int) -> float:
    """Error rate of a series of ``n`` points: ``alpha``, but no more than ALARMS_PER_POINT allow."""
    return min(alpha, ALARMS_PER_POINT * max(n, 1))


def level_effect(before: float, after: float) -> float:
    """ln(after / before) for positive levels; the sign is always that of ``after - before``.

    Two negative levels give the log-ratio of their sizes with that sign. Levels of different sign, or one of
    them zero, have no ratio: plus or minus infinity. Equal levels give 0.
    """
    if before == after:
        return 0.0
    if (before > 0 and after > 0) or (before < 0 and after < 0):
        return math.copysign(math.log(abs(after)) - math.log(abs(before)), after - before)
    return math.copysign(math.inf, after - before)


def detect_steps(
    values: ArrayLike,
    *,
    confirmed: ArrayLike | None = None,
    alpha: float = 0.01,
    min_effect: float = 0.0,
) -> tuple[Step, ...]:
    """Change points of a noisy series of shape (n,) in commit order; NaN and infinities are missing values.

    A level has at least three points, unless ``confirmed`` (shape (n,)) says that a shorter one is
    real: true or ALONE where a second collection confirms the point, the number (from 1 on) of the level
    where the ledger confirms a level as a whole. ``alpha`` bounds the
    probability that a series without changes yields any step. Changes smaller than ``min_effect`` (absolute
    log-ratio) are merged away. Logarithms are taken if all values are positive.

    The result depends on nothing but the arguments: significance comes from a distribution simulated
    beforehand (`null_model`), not from random permutations. ValueError for other shapes and for arguments out
    of range.
    """
    if not (0.0 < alpha < 1.0 and min_effect >= 0.0):
        raise ValueError(f"alpha must lie inside (0, 1) and min_effect from 0 on: {alpha}, {min_effect}")
    array = one_dimension(values)
    flags = np.zeros(array.shape, dtype=np.int64) if confirmed is None else np.asarray(confirmed)
    if flags.shape != array.shape:
        raise ValueError(f"confirmed has shape {flags.shape}, values have {array.shape}")
    if flags.dtype == np.bool_:
        flags = np.where(flags, ALONE, 0)
    known = np.isfinite(array)
    present = array[known]
    if present.size < 3 or present.min() == present.max():
        return ()
    log = bool(present.min() > 0)
    unit = 1.0 if log else float(np.abs(present).max())
    scaled = np.log(present) if log else present / unit
    # a relative limit says nothing about differences of values that may be zero: filtered at the end
    changes = detect(scaled, flags[known].astype(np.int64), alpha, min_effect if log else 0.0)
    index = np.flatnonzero(known).astype(np.int64)
    steps = (step_of(change, index, None if log else unit) for change in changes)
    return tuple(step for step in steps if abs(step.effect) >= min_effect)


def step_of(change: Change, index: IntArray, unit: float | None = None) -> Step:
    """A change in the values' own unit, at the places ``index`` (m,) of the finite ones; ``unit`` is None on
    the log scale."""
    reach = EFFECT_Z * change.error
    if unit is None:
        before, after = math.exp(change.before), math.exp(change.after)
        effect = change.after - change.before
        interval = effect - reach, effect + reach
    else:
        before, after = change.before * unit, change.after * unit
        effect = level_effect(before, after)
        interval = level_effect(before, after - reach * unit), level_effect(before, after + reach * unit)
    # the change may have come with any commit since the last value that was still at the old level
    since = int(index[change.first - 1]) + 1
    return Step(
        index=int(index[change.cut]),
        lo=since,
        hi=int(index[change.last]),
        before=before,
        after=after,
        effect=effect,
        effect_lo=interval[0],
        effect_hi=interval[1],
        p_value=change.p_value,
    )


def levels_as_measured(steps: Sequence[Step], values: FloatArray) -> tuple[Step, ...]:
    """Steps that were found in floored values, or among more steps, with the medians of the values (n,)."""
    ends = [0, *(step.index for step in steps), values.size]
    levels = [float(np.nanmedian(values[a:b])) for a, b in itertools.pairwise(ends)]
    found = []
    for step, before, after in zip(steps, levels, levels[1:], strict=False):
        effect = level_effect(before, after)
        lo, hi = (end + effect - step.effect for end in (step.effect_lo, step.effect_hi))
        found.append(replace(step, before=before, after=after, effect=effect, effect_lo=lo, effect_hi=hi))
    return tuple(found)


def exact_steps(values: ArrayLike, *, rel_tol: float = 0.0) -> tuple[Step, ...]:
    """Every change of an exact counter of shape (n,): p-value 0, and an interval that spans missing values
    only.

    A value belongs to the current level while it differs from the level's first value by at most ``rel_tol``
    of the larger of the two, so that a slow creep below the tolerance is reported once it has added up.
    ValueError for other shapes or a negative tolerance.
    """
    array = one_dimension(values)
    if not rel_tol >= 0.0:
        raise ValueError(f"rel_tol must not be negative, got {rel_tol}")
    index = np.flatnonzero(np.isfinite(array)).astype(np.int64)
    present = array[index]
    cuts = _exact_cuts(present, rel_tol)
    edges = [0, *cuts, present.size]
    level = [float(np.median(present[a:b])) for a, b in itertools.pairwise(edges) if b > a]
    changes = [Change(cut, cut, cut, level[i], level[i + 1], 0.0, 0.0) for i, cut in enumerate(cuts)]
    return tuple(step_of(change, index, 1.0) for change in changes)


def _exact_cuts(present: FloatArray, rel_tol: float) -> list[int]:
    """First positions of new levels. Only neighbours that differ are visited, so a counter that never
    moves costs nothing."""
    cuts: list[int] = []
    reference = float(present[0]) if present.size else 0.0
    for position in (np.flatnonzero(np.diff(present)) + 1).tolist():
        value = float(present[position])
        if abs(value - reference) > rel_tol * max(abs(value), abs(reference)):
            cuts.append(position)
            reference = value
    return cuts
