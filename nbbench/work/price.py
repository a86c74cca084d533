"""What exact work costs: bytes, operations and Python steps in seconds, fitted to what was timed here.

t = b . w with w = (bytes moved, operations, steps) and b the seconds that one of each takes. The fit is a
ridge regression on relative errors: each run says 1 = sum(b_j w_j / t), and what is usual (USUAL) takes part
as one more observation that may be wrong by a factor of two (Hoerl and Kennard 1970,
doi:10.1080/00401706.1970.10488634). docs/gate.md has what it is used for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbbench.host import HostMetric, HostWork
from nbbench.ledger import BYTES_PER_OPERATION, Ledger
from nbbench.model import EvidenceRecord, Phase
from nbbench.work.ledger_diff import LedgerDiff

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
        names = ("effect", "lo", "hi", "points", "error")
        return EvidenceRecord("price", {name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of a byte, an operation and a step, as multiples of USUAL, with their covariance."""

    scales: NDArray[np.float64]
    covariance: NDArray[np.float64]
    error: float
    points: int

    def seconds(self, work: Amounts) -> float:
        """The predicted time of a run."""
        return float(np.dot(work, USUAL * self.scales))

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
    counted = (one for one in (workload, *family) if host and all(_has_counts(side, one) for side in host))
    return next(counted, "")


def _has_counts(side: Mapping[str, HostWork], name: str) -> bool:
    return name in side and not side[name].error


def amounts(ledger: Ledger, host: HostWork | None) -> Amounts:
    """The exact work of a warm run; without host work on record its steps count as none."""
    phases = host.phases if host else ()
    steps = sum(one.total(HostMetric.STEPS) for one in phases if one.phase is Phase.WARM)
    return Amounts(float(ledger.bytes), float(ledger.ops), float(steps))
