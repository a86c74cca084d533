"""Places at which the series of a machine change together: it tells what a commit did from what others did.

The series of a commit are measured one after the other. What others do to a machine begins and ends at any
moment, so at its ends it meets a part of the series; what a commit does, it does to all that run its code.
That a burst begins and ends between two commits has a chance of one in the number of series squared.
"""

import math
import warnings
from itertools import pairwise

import numpy as np

from nbbench.stats.arrays import BoolArray, FloatArray, IntArray
from nbbench.stats.noise import LEAST_SIGMA, MIN_SEGMENT, difference_sigma, mad_sigma, median, running_median

LEAST_SERIES = 5
"""Series that must have been measured on both sides of a place; all but one in EXCEPT must jump there."""

EXCEPT = 6
"""One series in so many need not follow: it runs other code, or was disturbed."""

LEAST_HALF = 3
"""Series that must jump, and half of those measured, at both ends of a short level that no burst can be."""

LEAST_APART = 2
"""Series that stay where they are at both ends of a level that others share."""

OCCASIONS = 2
"""Bursts would have begun and ended beside the same commits on each of so many occasions apart in time."""

ONE, SEVERAL = 1, 3
"""Turns of measuring before and after a commit whose median says what the machine was like: one of several
may have met a short level of its own, but what most series share has the very next to show."""

JUMP_SIGMAS = 1.5
"""A series jumps where two neighbours differ by so many sigmas of what such two differ by."""

MOST_SIGMAS = 10.0
"""What a jump counts for in the mean at most, so that no series decides alone."""

CERTAIN_SIGMAS = 4.0
"""The mean jump must reach so many of its own sigmas: what the machine's wandering does to all series at once
is in those. A lone commit must then lie 5.6 sigmas of that off."""

SHORT = 2 * MIN_SEGMENT
"""A level of fewer values needs both of its ends: others that stay for a while look so."""

LASTING = 7
"""Values that a level has which lasted: more than it takes to judge a series at all, as short bursts meet."""

WRONG_SIDE = 0.7
"""A value so far beyond the middle between two levels is none of its own: one sigma, in what two neighbours
differ by."""

STEADY_SIGMAS = 3.0
"""The mean of all series jumps less than this within a level of the code: the burst of a machine comes and
goes, code takes what it takes."""


class SharedJumps:
    """Sums over the series of a machine at each of ``size`` commits, and the levels that follow."""

    def __init__(self, size: int) -> None:
        self._jumps, self._around, self._total = _Counts(size), _Counts(size), np.zeros(size)
        # against what was measured before and after, by the turns whose median that is
        self._beside = {turns: (_Counts(size), _Counts(size)) for turns in (ONE, SEVERAL)}
        self._at = np.full(size, np.nan)
        self._rows: list[tuple[IntArray, FloatArray]] = []

    def add(self, places: IntArray, collections: FloatArray, at: FloatArray) -> None:
        """Add a series: the ``places`` (m,) of its commits, ascending, the logs of its values there in each
        of its ``collections`` (k, m), NaN where there is none, and when they were measured, ``at`` (m,) on
        any clock, NaN where nobody knows. It jumps where each collection does so to one side,
        by JUMP_SIGMAS / sqrt(k)."""
        log_values = collections.mean(axis=0)
        known = np.isfinite(log_values)
        present = log_values[known]
        if present.size < SHORT or (unit := math.sqrt(2.0) * difference_sigma(present)) <= 0:
            return
        # a jump over a commit that was left out is none of this place
        each = np.diff(collections, prepend=np.nan) / unit
        jumps = each.mean(axis=0)
        # contention does not come back at the same commit
        agreed = (each * np.sign(jumps) >= JUMP_SIGMAS / math.sqrt(len(each))).all(axis=0)
        self._jumps.add(places, np.where(agreed, jumps, 0.0 * jumps))
        self._rows.append((places, log_values / unit))
        self._total[places] += np.nan_to_num(np.clip(jumps, -MOST_SIGMAS, MOST_SIGMAS))
        apart = np.full(log_values.size, np.nan)
        apart[known] = (present - running_median(present, SHORT - 1)) / unit
        self._around.add(places, apart)
        order = np.argsort(at, kind="stable")[: int(np.isfinite(at).sum())]
        for turns, (since, until) in self._beside.items() if order.size > 1 else ():
            since.add(places[order[1:]], apart[order[1:]] - _just_before(apart[order], turns))
            until.add(places[order[:-1]], apart[order[:-1]] - _just_before(apart[order[::-1]], turns)[::-1])
        self._at[places] = np.fmin(self._at[places], at)

    def levels(self) -> IntArray:
        """Number (size,) of the level that each commit lies in by what the series share, from 0 on."""
        found = np.zeros(self._at.size, dtype=np.int64)
        measured = np.flatnonzero(self._jumps.known)
        if measured.size >= SHORT:
            mean = self._total[measured] / self._jumps.known[measured]
            sigmas = mean / max(mad_sigma(mean), LEAST_SIGMA)
            once = np.where(np.abs(sigmas) >= CERTAIN_SIGMAS, self._jumps.most(measured), 0)
            found[measured[self._kept(measured, once, sigmas)]] = 1
        return np.cumsum(found)

    def _kept(self, measured: IntArray, once: IntArray, sigmas: FloatArray) -> list[int]:
        """Which of the ``measured`` places (m,) begin a level, of those at which most series jump to one side
        (m,): not the ends of short ones of which one end is not shared, or is not in time. Where half of the
        series jump, those of short ones that no burst can be, by the ``sigmas`` (m,) of both their ends."""
        half = self._jumps.half(measured)
        cuts, loose = (np.flatnonzero(side).tolist() for side in (once, half))
        short = self._whole(measured, sigmas)
        for i, first in enumerate(loose):
            for last in loose[i + 1 : i + SHORT]:
                # certain by both ends together
                certain = abs(sigmas[first] - sigmas[last]) >= 2 * CERTAIN_SIGMAS
                if last - first < SHORT and certain and half[first] == -half[last]:
                    undone = 2 * abs(sigmas[first] + sigmas[last]) <= max(abs(sigmas[[first, last]]))
                    if self._no_burst(measured, first, last, int(half[first]), undone=bool(undone)):
                        short |= {first, last}
        dropped: set[int] = set()
        for first, last in pairwise([-1, *cuts, measured.size]):
            whole = first >= 0 and last < measured.size
            if last - first < SHORT and not (
                whole and self._in_time(measured, first, last, int(once[first]), ONE)
            ):
                dropped |= {first, last}
        return sorted({*cuts} - dropped | short)

    def _whole(self, measured: IntArray, sigmas: FloatArray) -> set[int]:
        """Both ends of steady levels of MIN_SEGMENT or more, but not LASTING, of the ``measured`` commits
        (m,), over all of which the series that stand out do so: a burst meets a part of them at its ends."""
        rows, found = np.full((len(self._rows), measured.size), np.nan), set[int]()
        for row, (places, values) in zip(rows, self._rows, strict=True):
            _, to, of = np.intersect1d(measured, places, assume_unique=True, return_indices=True)
            row[to] = values[of]
        for width in range(MIN_SEGMENT, LASTING):
            certain = np.abs(sigmas[:-width] - sigmas[width:]) >= 2 * CERTAIN_SIGMAS
            for first in np.flatnonzero(certain).tolist():
                last = first + width
                steady = (np.abs(sigmas[first + 1 : last]) < STEADY_SIGMAS).all()
                side = _standing_out(rows, first, last) if first and steady else 0
                if side and self._in_time(measured, first, last, side, SEVERAL):
                    found |= {first, last}
        return found

    def _no_burst(self, measured: IntArray, first: int, last: int, side: int, *, undone: bool) -> bool:
        """Whether no burst makes half of the series stand out to their ``side`` at these commits: it does not
        come back; makes nothing faster than it is, and lies over all that is measured while it lasts. So what
        was measured in a row must have its beginning ``undone`` by its end, or it is what bursts left."""
        if not self._in_time(measured, first, last, side, SEVERAL):
            return False
        if self._occasions(measured, first, last) >= OCCASIONS:
            return True
        inside, level = measured[first + 1 : last], measured[first:last]
        known, jumped = self._jumps.known, self._jumps.jumped
        apart = (known - jumped)[measured[[first, last]]].min() >= LEAST_APART
        together = inside.size and (jumped[inside] <= known[inside] // EXCEPT).all()
        stands = (self._around.half(level) == side).all()
        return bool(undone and stands and (side < 0 or (apart and together)))

    def _turns(self, measured: IntArray) -> IntArray:
        """In which turn each of the ``measured`` places was."""
        return np.argsort(np.argsort(self._at[measured], kind="stable"))

    def _occasions(self, measured: IntArray, first: int, last: int) -> int:
        """On how many occasions that lie apart in time the level was measured; 1 where nobody knows."""
        turns = np.sort(self._turns(measured)[first:last])
        return int(np.count_nonzero(np.diff(turns) > 1)) + 1

    def _in_time(self, measured: IntArray, first: int, last: int, side: int, turns: int) -> bool:
        """Whether the level also stands out, to its ``side``, of what was measured so many ``turns`` before
        and after each of its commits, where those are not its neighbours on the branch."""
        if not np.isfinite(self._at[measured]).any():
            return True
        turn = self._turns(measured)
        in_turn = np.argsort(turn)
        for place in range(first, last):
            sides = turn[place] - 1, turn[place] + 1
            for counts, other in zip(self._beside[turns], sides, strict=True):
                beside = 0 <= other < turn.size and first - 1 <= in_turn[other] <= last
                shared = counts.most if turns == ONE else counts.half
                if not beside and shared(measured[[place]])[0] != side:
                    return False
        return True


def _standing_out(rows: FloatArray, first: int, last: int) -> int:
    """To which side half of the ``rows`` (k, m), of LEAST_SERIES or more, lie apart from what is beside
    [first, last): 1 or -1 where all but one in EXCEPT of these do so from its first to its last value, else
    0. A value that was left out speaks for no place, but more of them than beside it for a burst."""
    level = _medians(rows[:, first:last])
    before, after = rows[:, max(first - SHORT, 0) : first], rows[:, last : last + SHORT]
    heights = level - np.array([_medians(before), _medians(after)])
    side = int(np.sign(np.nan_to_num(_medians(heights.ravel()))))
    apart = (side * heights >= JUMP_SIGMAS).all(axis=0)
    known = np.count_nonzero(np.isfinite(level))
    lost, usual = (np.isnan(part).mean() for part in (rows[:, first:last], np.hstack((before, after))))
    if known < LEAST_SERIES or 2 * apart.sum() < known or lost > usual + 1 / EXCEPT:
        return 0
    ends = (rows[:, first], before[:, -1]), (rows[:, last - 1], after[:, 0])
    for (inner, outer), height in zip(ends, heights, strict=True):
        within, beyond = (side * (value - level + height / 2) for value in (inner, outer))
        wrong = apart & ((within < -WRONG_SIDE) | (beyond > WRONG_SIDE))
        if wrong.sum() > apart.sum() // EXCEPT or (apart & (within > 0) & (beyond < 0)).sum() < LEAST_HALF:
            return 0
    return side


def _medians(rows: FloatArray) -> FloatArray:
    """Medians (k,) of what is known of the ``rows`` (k, m); NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(rows, axis=-1))


def _just_before(apart: FloatArray, turns: int) -> FloatArray:
    """Medians (n - 1,) of the values before each but the first of ``apart`` (n,), of so many ``turns``."""
    padded = np.concatenate((np.full(turns - 1, np.nan), apart[:-1]))
    return _medians(np.lib.stride_tricks.sliding_window_view(padded, turns))


REACH = 3
"""Commits that were measured right before and after another, of which the median says how fast the machine
was then: a median of six hides what two of them did, and a burst that lasts for three shows."""

APART = 10
"""Neighbours in time that are no neighbours on the branch: nearer ones may share a level."""


class SharedSpeed:
    """How slow a machine was when each of ``size`` commits was measured, by what it measured right before and
    after: a common factor of its series in the order of measuring, where that is not the order of commits."""

    def __init__(self, size: int) -> None:
        self._places: list[IntArray] = []
        self._apart: list[FloatArray] = []
        self._at = np.full(size, np.nan)

    def add(self, places: IntArray, collections: FloatArray, at: FloatArray) -> None:
        """Add a series, as `SharedJumps.add` has it."""
        log_values = collections.mean(axis=0)
        known = np.isfinite(log_values)
        if known.sum() >= SHORT and np.isfinite(at).any():
            self._places.append(places[known])
            self._apart.append(log_values[known] - running_median(log_values[known], APART))
            self._at[places] = np.fmin(self._at[places], at)

    def factors(self) -> FloatArray:
        """Factor (size,) by which values were greater than around their commits, in the median of what was
        measured within REACH turns of each commit; NaN where there are not as many neighbours in time that
        lie APART on the branch."""
        found = np.full(self._at.size, np.nan)
        order = np.argsort(self._at, kind="stable")[: int(np.isfinite(self._at).sum())]
        if not self._places or not order.size:
            return found
        turn = np.full(self._at.size, order.size)
        turn[order] = np.arange(order.size)
        places, apart = np.concatenate(self._places), np.concatenate(self._apart)
        in_time = np.argsort(turn[places], kind="stable")
        places, apart = places[in_time], apart[in_time]
        starts = np.searchsorted(turn[places], np.arange(order.size + 1))
        for i, place in enumerate(order.tolist()):
            near = slice(starts[max(i - REACH, 0)], starts[min(i + REACH + 1, order.size)])
            elsewhere = np.abs(places[near] - place) > APART
            if np.unique(places[near][elsewhere]).size >= REACH:
                found[place] = median(apart[near][elsewhere])
        return np.asarray(np.exp(found))


SLOW_SIGMAS = 3.0
"""A value is slow where it lies so many sigmas of its series' noise above the 21 around it."""


class SharedSlowness:
    """Which share of a machine's series are slow at each of ``size`` commits."""

    def __init__(self, size: int) -> None:
        self._slow, self._known = np.zeros((2, size))

    def add(self, places: IntArray, collections: FloatArray, at: FloatArray) -> None:
        """Add a series, as `SharedJumps.add` has it."""
        log_values = collections.mean(axis=0)
        self._known[places] += np.isfinite(log_values)
        self._slow[places] += _slow(log_values)

    def shares(self) -> FloatArray:
        """The share (size,); 0 where nothing was measured."""
        return np.asarray(self._slow / np.maximum(self._known, 1.0))


def slow_alone(log_values: FloatArray, shares: FloatArray) -> BoolArray:
    """Which of the ``log_values`` (n,) are slow where fewer than half of the series are, by their ``shares``
    (n,), also at the values before and after: beside a slow commit others have begun or ended."""
    near = np.concatenate((shares[:1], shares, shares[-1:]))
    return _slow(log_values) & (np.maximum(np.maximum(near[:-2], shares), near[2:]) < 0.5)


def slow_in_a_row(log_values: FloatArray, shares: FloatArray, at: FloatArray) -> BoolArray:
    """Which of the ``log_values`` (n,) are slow alone, as well as what the series measured right before or
    after, by its times ``at`` (n,), more than APART commits away: something lay on it for a while."""
    order = np.argsort(at, kind="stable")
    order = order[np.isfinite((at + log_values)[order])]
    slow = slow_alone(log_values, shares)[order]
    row = slow[1:] & slow[:-1] & (np.abs(np.diff(order)) > APART)
    found = np.zeros(log_values.size, dtype=np.bool_)
    found[order] = np.append(row, False) | np.append(False, row)
    return found


def _slow(log_values: FloatArray) -> BoolArray:
    found = np.zeros(log_values.size, dtype=np.bool_)
    known = np.isfinite(log_values)
    present = log_values[known]
    if present.size > 2 * APART and (sigma := difference_sigma(present)) > 0:
        found[known] = present - running_median(present, APART) > SLOW_SIGMAS * sigma
    return found


class _Counts:
    """At each commit: how many series are known there, and jump up and down."""

    def __init__(self, size: int) -> None:
        self.known, self._up, self._down = np.zeros((3, size), dtype=np.int64)

    def add(self, places: IntArray, jumps: FloatArray) -> None:
        self.known[places] += np.isfinite(jumps)
        self._up[places] += jumps >= JUMP_SIGMAS
        self._down[places] += jumps <= -JUMP_SIGMAS

    @property
    def jumped(self) -> IntArray:
        """How many series (size,) jump at each commit."""
        return self._up + self._down

    def most(self, places: IntArray) -> IntArray:
        """To which side all but one series in EXCEPT jump at the ``places`` (m,): 1, -1, or 0 where they do
        not agree."""
        known = self.known[places]
        return self._side(places, np.where(known >= LEAST_SERIES, known - known // EXCEPT, known + 1))

    def half(self, places: IntArray) -> IntArray:
        """To which side half of the series jump, as `most` has it."""
        return self._side(places, np.maximum((self.known[places] + 1) // 2, LEAST_HALF))

    def _side(self, places: IntArray, least: IntArray) -> IntArray:
        return np.asarray(np.where(self._up[places] >= least, 1, 0) - (self._down[places] >= least))
