"""What a gate found out: its answer for each series, and the whole."""

from dataclasses import dataclass
from typing import Any

from nbbench.model import Cause, EvidenceRecord, NotJudged, Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer for one series.

    `effect` is the log ratio of head to base with its interval; None where there is none. `floor` is the
    smallest log ratio that counts.
    """

    series: str
    outcome: Outcome
    effect: float | None = None
    effect_lo: float | None = None
    effect_hi: float | None = None
    floor: float = 0.0
    rounds: int = 0
    evidence: tuple[EvidenceRecord, ...] = ()
    cause: Cause | None = None
    reproduce: str = ""
    base_value: float | None = None
    head_value: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class GateReport:
    """Everything a gate found out about head against base; times and memory are those of `machine`.

    `ledger` has the figures of both sides of each workload. Where base and head are the same program nothing
    is judged and `notes` says so. `harness` is the checksum of what judged: suite, settings, version.
    """

    base: str
    head: str
    outcome: Outcome
    verdicts: tuple[Verdict, ...] = ()
    ledger: tuple[dict[str, Any], ...] = ()
    notes: tuple[EvidenceRecord, ...] = ()
    seed: int = 0
    elapsed_s: float = 0.0
    machine: str = ""
    not_judged: tuple[NotJudged, ...] = ()
    harness: str = ""


@dataclass(frozen=True, slots=True)
class SeriesNoise:
    """A series between equal code, in log-ratios: robust sigma of a round, own floor from `rounds` rounds."""

    sigma: float
    floor: float
    rounds: int
