"""What a gate found out: its answer for each series, and the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbbench.model import Cause, NotJudged, Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer for one series, or for the whole when `series` is empty."""

    series: str
    outcome: Outcome
    effect: float | None
    effect_lo: float | None
    effect_hi: float | None
    floor: float
    rounds: int
    sentence: str
    cause: Cause | None = None
    reproduce: str = ""
    base_value: float | None = None
    head_value: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class GateReport:
    """Everything a gate found out about head against base; times and memory are those of `machine`."""

    base: str
    head: str
    outcome: Outcome
    sentence: str
    verdicts: tuple[Verdict, ...] = ()
    ledger: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0
    elapsed_s: float = 0.0
    machine: str = ""
    not_judged: tuple[NotJudged, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesNoise:
    """A series between equal code, in log-ratios: robust sigma of a round and own floor from `rounds` rounds.

    `canary` is the coefficient that is used (0 where it does not help), `plain` and `corrected` the root mean
    squares without and with it, left one out.
    """

    sigma: float
    floor: float
    rounds: int
    canary: float = 0.0
    plain: float = 0.0
    corrected: float = 0.0
