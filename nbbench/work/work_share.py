"""The facts of `nbbench explain`, and how much of a change of time the change of work explains
(docs/ledger.md, "What the work explains").

What exact work costs here is fitted to what was timed: t = b . w with w = (bytes moved, operations, steps of
Python) and b the seconds that one of each takes. The fit is a ridge regression on relative errors: each run
says 1 = sum(b_j w_j / t), and what is usual (USUAL) takes part as one more observation that may be wrong by a
factor of two (Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634). docs/gate.md has its use.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbbench.host import HostMetric, HostWork
from nbbench.ledger import BYTES_PER_OPERATION, Ledger
from nbbench.model import Commit, EvidenceRecord, NotJudged, Phase, to_plain
from nbbench.work.count_diff import HostDiff, OrderChange
from nbbench.work.dataflow_diff import FirstDifference
from nbbench.work.ledger_diff import WORK_FLOOR, LedgerDiff, log_ratio

USUAL = (1e-10, BYTES_PER_OPERATION * 1e-10, 1e-7)
"""Seconds of a byte (10 GB/s), of an operation's dispatch (5 µs), of a step of Python (docs/host_work.md)."""

_UNSURE = 0.7  # sigma of USUAL, relative: a factor of two either way
_ERROR = 0.3  # relative error of a prediction on machines of which nothing is known
_LEAST_SHARE = 0.05  # of USUAL: nothing is for free


class Amounts(NamedTuple):
    """The exact work of one warm run."""

    bytes: float
    operations: float
    steps: float


@dataclass(frozen=True, slots=True)
class Price:
    """By how much a change of work changes the time of a run: log ratios, two standard errors either way.

    `points` timed runs calibrated the model, which predicts them with the relative error `error`.
    """

    effect: float
    lo: float
    hi: float
    points: int
    error: float

    @property
    def record(self) -> EvidenceRecord:
        """The price as evidence."""
        return EvidenceRecord("price", to_plain(self))


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of a byte, an operation and a step, as multiples of USUAL, with their covariance."""

    scales: NDArray[np.float64]
    covariance: NDArray[np.float64]
    error: float
    points: int

    def price(self, before: Amounts, after: Amounts) -> Price:
        """What going from one to the other costs of a run; both ends are 0 where they are equal."""
        old, new = (np.asarray(one) * USUAL for one in (before, after))
        whole = float(old @ self.scales)
        if whole <= 0 or np.array_equal(old, new):
            return Price(0.0, 0.0, 0.0 if whole > 0 else math.inf, self.points, self.error)
        share = float((new - old) @ self.scales) / whole
        slope = (new - old) / whole - share * old / whole
        sigma = math.sqrt(max(float(slope @ self.covariance @ slope), 0.0) + (self.error * share) ** 2)
        effect, lo, hi = (
            math.log1p(max(one, -0.999)) for one in (share, share - 2 * sigma, share + 2 * sigma)
        )
        return Price(effect, lo, hi, self.points, self.error)


def fit_costs(runs: Sequence[tuple[Amounts, float]]) -> CostModel:
    """The model that timed runs (seconds) of known work give; without any, what is usual and unsure."""
    rows = np.array([np.asarray(work) * USUAL / seconds for work, seconds in runs if seconds > 0])
    prior = np.eye(3) / _UNSURE**2
    scales, error = np.ones(3), _ERROR
    rows = rows.reshape(-1, 3)
    for _ in range(3):  # the error that is left weighs the runs against what is usual
        normal = rows.T @ rows / error**2 + prior
        scales = np.linalg.solve(normal, rows.sum(axis=0) / error**2 + prior @ np.ones(3))
        scales = np.maximum(scales, _LEAST_SHARE)
        if len(rows) > 3:
            error = max(float(np.sqrt(np.sum((1 - rows @ scales) ** 2) / (len(rows) - 3))), 0.01)
    covariance = np.linalg.inv(rows.T @ rows / error**2 + prior)
    return CostModel(scales, covariance, error, len(rows))


def price_of(costs: CostModel, diff: LedgerDiff, host: Sequence[Mapping[str, HostWork]]) -> Price:
    """The price of a workload's difference; `host` is the host work of both sides, as far as it is known."""
    name = counted_as(diff.workload, host)
    works = [side[name] for side in host] if name else [None, None]
    ends = zip((diff.base, diff.head), works, strict=True)
    return costs.price(*(amounts(*end) for end in ends))


def counted_as(workload: str, host: Sequence[Mapping[str, HostWork]]) -> str:
    """The workload whose host work on both sides is that of this one: itself, or one of its family where the
    suite counts not all of them; '' where there is none."""
    mine = workload.partition("-")[0]
    family = sorted(name for side in host[:1] for name in side if name.partition("-")[0] == mine)
    known = [{name for name, one in side.items() if not one.error} for side in host]
    return next((one for one in (workload, *family) if known and all(one in side for side in known)), "")


def amounts(ledger: Ledger, host: HostWork | None) -> Amounts:
    """The exact work of a warm run; without host work on record its steps count as none."""
    phases = host.phases if host else ()
    steps = sum(one.totals()[HostMetric.STEPS] for one in phases if one.phase is Phase.WARM)
    return Amounts(float(ledger.bytes), float(ledger.ops), float(steps))


@dataclass(frozen=True, slots=True)
class Timing:
    """A workload's time in seconds at two commits, with asv's intervals of both (None: not on record)."""

    workload: str
    series: str
    machine: str
    before_s: float
    after_s: float
    intervals: tuple[tuple[float, float], tuple[float, float]] | None = None

    @property
    def effect(self) -> float:
        """log(after/before) of the time."""
        return log_ratio(self.before_s, self.after_s)

    @property
    def overlap(self) -> bool:
        """Whether asv's intervals of the two results have a common part: the samples cannot tell."""
        if self.intervals is None:
            return False
        before, after = self.intervals
        return before[0] <= after[1] and after[0] <= before[1]


@dataclass(frozen=True, slots=True)
class WorkShare:
    """A measured time and the work that was done in it.

    `floor` is the smallest change of time that counts, as a share (0.03 = 3 %). `price` is what the work
    costs here, of tensors and of Python; without it the cost C of the tensors alone predicts.
    """

    timing: Timing
    diff: LedgerDiff
    floor: float
    price: Price | None = None

    @property
    def predicted(self) -> float:
        """log(after/before) of the time that the work lets expect."""
        return self.price.effect if self.price else self.diff.cost_effect

    @property
    def share(self) -> float | None:
        """The part of the change that the work explains; None where the time did not move beyond the floor
        or its samples."""
        moved = abs(self.timing.effect) > math.log1p(self.floor) and not self.timing.overlap
        return explained_share(self.predicted, self.timing.effect) if moved else None

    @property
    def by_dispatch(self) -> bool:
        """Whether calling operations costs more than their bytes on both sides: then the cost of an
        operation says more than a bandwidth."""
        return all(one.ops * BYTES_PER_OPERATION > one.bytes for one in (self.diff.base, self.diff.head))


def explained_share(predicted: float, measured: float) -> float:
    """predicted/measured of two log ratios, within 0 and 1; 0 where they point apart."""
    if measured == 0 or predicted * measured <= 0 or math.isnan(predicted):
        return 0.0
    return min(predicted / measured, 1.0) if math.isfinite(measured) else 0.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Two commits, their differences by workload, and what was measured of them.

    `usual` are the workloads that are looked at without being asked for, `asked` those that get a table.
    `not_compared` says which fail or lack a ledger at one of the commits (`since`), `left_out` how many of
    the suite have none at either. `by_name` says that lines were matched by function names, without the
    subject's diff. `torch` has the versions where one commit is compared under two.
    """

    base: Commit
    head: Commit
    diffs: tuple[LedgerDiff, ...]
    shares: tuple[WorkShare, ...] = ()
    usual: re.Pattern[str] | None = None
    asked: re.Pattern[str] | None = None
    by_name: bool = False
    not_compared: tuple[NotJudged, ...] = ()
    left_out: int = 0
    host: tuple[HostDiff, ...] | None = None  # None: not on record
    first: FirstDifference | None = None  # of the smallest workload whose image changed
    orders: tuple[OrderChange, ...] = ()
    torch: tuple[str, str] | None = None

    @property
    def same_program(self) -> bool:
        """Whether both sides are the same measured source under the same torch."""
        return self.torch is None and bool(self.base.tree) and self.base.tree == self.head.tree

    @property
    def main(self) -> LedgerDiff | None:
        """The difference that tells most: a usual workload that moved, else the one that moved most."""
        ranked = sorted(self.diffs, key=lambda d: (-abs(d.cost_effect), not d.new_image, d.workload))
        usual = [d for d in ranked if self.usual and self.usual.search(d.workload)]
        telling = [d for d in usual if abs(d.cost_effect) > WORK_FLOOR]
        return next(iter([*telling, *ranked]), None)

    @property
    def detailed(self) -> tuple[str, ...]:
        """The workloads that are worth a table of lines."""
        if self.asked is not None:
            return tuple(d.workload for d in self.diffs if self.asked.search(d.workload))
        return (self.main.workload,) if self.main else ()

    def share_of(self, workload: str) -> WorkShare | None:
        """What was timed of a workload; None where nothing was."""
        return next((s for s in self.shares if s.timing.workload == workload), None)
