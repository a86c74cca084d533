"""Model objects that the report tests share: small, fixed, and hostile where input can be."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

from history_samples import ledger

from nbbench.history.facts import work_record
from nbbench.ledger import Ledger, LedgerLine
from nbbench.model import (
    Cause,
    ChangePoint,
    Commit,
    Decision,
    Event,
    EventDirection,
    EvidenceRecord,
    Flag,
    FlagState,
    NotJudged,
    NotJudgedReason,
    Outcome,
    Point,
    ProcessRecord,
    Result,
    Series,
    SeriesKey,
    Status,
)
from nbbench.verdicts import GateReport, Verdict
from nbbench.work.ledger_diff import diff_ledgers

START = datetime(2025, 9, 23, 8, 30, tzinfo=UTC)
NOW = datetime(2025, 10, 15, 11, 35, 31, tzinfo=UTC)
HOSTILE = "Fix `a|b` <script>alert(1)</script> & *more* \x1b[31mred\x1b[0m \u202ertl"


def commit(index: int, subject: str = "") -> Commit:
    return Commit(
        hash=f"{index:04x}" + f"{index * 2654435761 % 2**144:036x}",
        tree=f"{index * 40503 % 2**160:040x}",
        date=START + timedelta(hours=7 * index),
        subject=subject or f"Change number {index} of the simulator",
        position=index,
    )


COMMITS = tuple(
    commit(
        i,
        {
            12: "Enable float64 accumulation in the lattice factor",
            20: HOSTILE,
            28: "Chunk the detector by rows",
        }.get(i, ""),
    )
    for i in range(1, 41)
)


def key(size: int = 512, dtype: str = "float32", name: str = "bandwidth.Warm.time_run") -> SeriesKey:
    return SeriesKey(name, "1", (("size", str(size)), ("dtype", f"'{dtype}'")), "runner", "shared-py3.11")


def series(
    k: SeriesKey, unit: str, levels: dict[int, float], noise: float, failed: tuple[int, ...] = ()
) -> Series:
    """Levels from a position on, with multiplicative noise from a fixed seed."""
    rng = random.Random(k.label)
    points = []
    for c in COMMITS:
        level = next(v for start, v in sorted(levels.items(), reverse=True) if c.position >= start)
        samples = tuple(level * math.exp(rng.gauss(0, noise)) for _ in range(5)) if noise else (level,)
        if c.position in failed:
            points.append(Point(c.position, c.hash, None, Status.FAILED))
        else:
            points.append(Point(c.position, c.hash, sorted(samples)[len(samples) // 2], Status.OK, samples))
    return Series(k, unit, "time" if unit == "seconds" else "track", tuple(points))


def change(
    k: SeriesKey, unit: str, at: tuple[int, int], before: float, after: float, worse: bool
) -> ChangePoint:
    effect = math.log(after / before)
    exact = unit == "B/pixel"
    return ChangePoint(
        key=k,
        unit=unit,
        kind="exact" if exact else "step",
        lo_commit=COMMITS[at[0] - 1].hash,
        hi_commit=COMMITS[at[1] - 1].hash,
        before=before,
        after=after,
        effect=effect,
        effect_lo=effect - (0 if exact else 0.03),
        effect_hi=effect + (0 if exact else 0.04),
        p_value=0.0 if exact else 0.0004,
        direction=EventDirection.REGRESSION if worse else EventDirection.IMPROVEMENT,
    )


LEDGER_KEY = key(name="ledger.Run.track_bytes_per_pixel")
BIG_KEY = key(2048, "float64")
POLY_KEY = key(64, "float64", "vectorisation.Time.time_polynomial")
SOURCE_KEY = SeriesKey("sources.Time.time_generate", "1", (), "runner", "shared-py3.11")

SERIES = (
    series(key(), "seconds", {1: 0.0139, 12: 0.0229, 33: 0.0140}, 0.02),
    series(key(1024), "seconds", {1: 0.0551, 12: 0.0789, 33: 0.0556}, 0.015, failed=(17, 18)),
    series(LEDGER_KEY, "B/pixel", {1: 1684.8, 12: 2412.5, 33: 1684.8}, 0.0),
    series(BIG_KEY, "seconds", {1: 0.64, 28: 1.76}, 0.04),
    series(SOURCE_KEY, "seconds", {1: 0.124, 20: 0.00102}, 0.05),
    series(POLY_KEY, "seconds", {1: 0.0031}, 0.03),
)


def event(
    identity: str, at: tuple[int, int], cause: Cause, changes: tuple[ChangePoint, ...], **more: object
) -> Event:
    hi = COMMITS[at[1] - 1]
    defaults: dict[str, object] = {
        "direction": EventDirection.REGRESSION,
        "effect": max((c.effect for c in changes), key=abs),
        "evidence": (),
        "recovered_by": None,
    }
    return Event(
        id=identity,
        lo_commit=COMMITS[at[0] - 1].hash,
        hi_commit=hi.hash,
        date=hi.date,
        subject=hi.subject,
        cause=cause,
        changes=changes,
        **{**defaults, **more},  # type: ignore[arg-type]
    )


def work(before: Ledger, after: Ledger) -> EvidenceRecord:
    """What the ledgers of a workload say of a change."""
    return work_record(diff_ledgers(before, after))


def setup(what: str) -> EvidenceRecord:
    """Something of the measuring that changed, whatever its name."""
    return EvidenceRecord("setup", {"what": what, "before": "4", "after": "8"})


FLAGS = (
    Flag(
        event(
            "E-20b1c0de",
            (20, 20),
            Cause.WORK,
            (change(SOURCE_KEY, "seconds", (20, 20), 0.124, 0.00102, False),),
            direction=EventDirection.IMPROVEMENT,
            evidence=(work(ledger(ops=11907), ledger(ops=3)),),
        ),
        "PERF-PYTORCH-004",
        FlagState.VERIFIED,
    ),
    Flag(
        event(
            "E-12ab34cd",
            (12, 12),
            Cause.DTYPE,
            (
                change(LEDGER_KEY, "B/pixel", (12, 12), 1684.8, 2412.5, True),
                change(key(1024), "seconds", (12, 12), 0.0551, 0.0789, True),
                change(key(), "seconds", (12, 12), 0.0139, 0.0229, True),
            ),
            evidence=(work(ledger(per_pixel=1684.8), ledger(per_pixel=2412.5, upcast=727.7)),),
            recovered_by=COMMITS[32].hash,
        ),
        "PERF-PYTORCH-004",
        FlagState.FIXED,
        (
            Decision("E-12ab34cd", "PERF-PYTORCH-004", FlagState.CONFIRMED, "gate agrees", "ada", START),
            Decision(
                "E-12ab34cd",
                "PERF-PYTORCH-004",
                FlagState.FIXED,
                "upcast | removed",
                "bob",
                NOW,
                NOW + timedelta(30),
            ),
        ),
    ),
    Flag(
        event(
            "E-28ff00aa",
            (26, 28),
            Cause.ALLOCATOR,
            (change(BIG_KEY, "seconds", (26, 28), 0.64, 1.76, True),),
            evidence=(EvidenceRecord("malloc"), setup(HOSTILE)),
        ),
        "PERF-PYTORCH-004",
        FlagState.DETECTED,
    ),
)

NOT_JUDGED = (
    NotJudged("bandwidth.Warm.time_run(size=64)", NotJudgedReason.TOO_SHORT, detail="2 commits"),
    NotJudged("sources.Time.time_many", NotJudgedReason.FAILING, COMMITS[29].hash, "no result since"),
)

_NOISE = (EvidenceRecord("no figure", {"error": "budget spent | `noise` 12 %", "disturbed": ""}),)


def _rounds(effect: float, lo: float, hi: float, decision: str) -> tuple[EvidenceRecord, ...]:
    limits = {"floor": math.log1p(0.03), "margin": math.log1p(0.03), "n": 8}
    return (EvidenceRecord("rounds", {"decision": decision, "effect": effect, "lo": lo, "hi": hi, **limits}),)


GATE = GateReport(
    base=COMMITS[10].short,
    head=COMMITS[11].short,
    outcome=Outcome.REGRESSED,
    verdicts=(
        Verdict(
            POLY_KEY.label,
            Outcome.UNCHANGED,
            0.004,
            -0.01,
            0.018,
            math.log1p(0.03),
            12,
            _rounds(0.004, -0.01, 0.018, "equivalent"),
        ),
        Verdict(
            key().label,
            Outcome.REGRESSED,
            math.log(0.0229 / 0.0139),
            0.46,
            0.54,
            math.log1p(0.03),
            8,
            (
                *_rounds(0.499, 0.46, 0.54, "slower"),
                EvidenceRecord("confirmation", {"agrees": True, "n": 3}),
            ),
            Cause.DTYPE,
            "nbbench gate --policy time --bench 'time_run' 000b0000 000c0000",
            base_value=0.0139,
            head_value=0.0229,
            unit="seconds",
        ),
        Verdict(BIG_KEY.label, Outcome.INCONCLUSIVE, None, None, None, 0.12, 20, _NOISE),
        Verdict(
            SOURCE_KEY.label,
            Outcome.IMPROVED,
            -0.35,
            -0.4,
            -0.3,
            0.05,
            8,
            _rounds(-0.35, -0.4, -0.3, "faster"),
            Cause.WORK,
        ),
    ),
    ledger=(
        diff_ledgers(ledger(per_pixel=1684.8), ledger(per_pixel=2412.5, upcast=727.7)).figures,
        diff_ledgers(ledger("tricubic-1000-float32"), ledger("tricubic-1000-float32")).figures,
    ),
    notes=(EvidenceRecord("pairs", {"pairs": 20, "repeated": {"other processes ran": 2}, "kept": 0}),),
    seed=7,
    elapsed_s=93.2,
    machine="runner",
    not_judged=NOT_JUDGED[1:],
)


def result(
    k: SeriesKey, at: int, value: float | None, unit: str = "seconds", samples: tuple[float, ...] = ()
) -> Result:
    status = Status.OK if value is not None else Status.FAILED
    return Result(k, COMMITS[at - 1].hash, status, value, unit, samples, duration_s=1.5)


RESULTS = (
    result(key(), 12, 0.0229, samples=(0.0226, 0.0229, 0.0234)),
    result(LEDGER_KEY, 12, 2412.5, "B/pixel", (2412.5,)),
    result(POLY_KEY, 12, 0.00311, samples=(0.0031, 0.00311, 0.00312)),
    result(BIG_KEY, 12, None),
)
BASELINE = (
    result(key(), 11, 0.0139, samples=(0.0138, 0.0139, 0.014)),
    result(LEDGER_KEY, 11, 1684.8, "B/pixel", (1684.8,)),
    result(POLY_KEY, 11, 0.0031, samples=(0.0031,)),
)

RECORDS = (
    ProcessRecord(
        commit=COMMITS[11].hash,
        environment="shared-py3.11",
        benchmark=BIG_KEY.benchmark,
        param_index=3,
        kind="run",
        started_at=NOW,
        wall_s=10.0,
        exit_code=1,
        others_cpu_s=6.0,
        steal_s=0.5,
        stderr_tail="Traceback ...\nMemoryError: cannot allocate\n",
    ),
)

LEDGER = Ledger(
    workload="at_perf_003[512,float32]",
    pixels=512 * 512,
    ops=1530,
    dispatched=1611,
    bytes=441_712_640,
    upcast_bytes=2 * 1024 * 1024,
    peak_live_bytes=33 * 1024 * 1024,
    bytes_by_dtype=(("float32", 400_000_000), ("float64", 41_712_640)),
    image_sum="1.25e6",
    image_digest="ab12",
    output_dtype="float32",
    lines=(LedgerLine("simulator.py", 90, "run", "aten::mul", "float32", 3, 3_145_728),),
)
