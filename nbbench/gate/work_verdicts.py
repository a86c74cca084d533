"""What exact work says of head against base, workload by workload; pure functions of two ledgers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nbbench import metrics, units
from nbbench.gate.acknowledged import Acknowledged, accepted_effect, covering
from nbbench.history.causes.facts import describe_work, work_record
from nbbench.metrics import Better, least_effect, unit_better
from nbbench.model import Cause, NotJudged, NotJudgedReason, Outcome
from nbbench.verdicts import Verdict
from nbbench.work.host_diff import HOST_CAUSES, HostDiff, HostMetric, host_series
from nbbench.work.ledger_diff import LedgerDiff, log_ratio

# More than this decides by itself; the ledger has no noise, so the limits are a matter of relevance,
# not of confidence.
LEDGER_TOLERANCE = least_effect("B/pixel")
OPS_TOLERANCE = least_effect("operations")
PEAK_TOLERANCE = least_effect("B (exact)")


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """The exact work of base and head by workload.

    `diffs` are of workloads that ran on both sides, `lost` of series that ran at base and cannot at head
    (with why); `not_judged` are all others. `accepted_images` names workloads whose new image is right.
    `host` is the host work that moved, `host_equal` the series of workloads of which none did.
    """

    diffs: tuple[LedgerDiff, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    not_judged: tuple[NotJudged, ...] = ()
    accepted_images: Collection[str] = ()
    host: tuple[HostDiff, ...] = ()
    host_equal: tuple[str, ...] = ()

    def incomparable(self, diff: LedgerDiff) -> bool:
        """Whether head computes another image that nobody said is right."""
        return diff.new_image and diff.workload not in self.accepted_images


def ledger_rows(diffs: Sequence[LedgerDiff]) -> tuple[dict[str, Any], ...]:
    """The exact part of the report: one row a workload."""
    return tuple(
        {
            "workload": d.workload,
            "base B/px": round(d.base.bytes_per_pixel, 3),
            "head B/px": round(d.head.bytes_per_pixel, 3),
            "bytes": units.format_change(d.effect),
            "base ops": d.base.ops,
            "head ops": d.head.ops,
            "upcast B/px": round(d.head.upcast_per_pixel - d.base.upcast_per_pixel, 3),
            "base peak": units.format_bytes(d.base.peak_live_bytes),
            "head peak": units.format_bytes(d.head.peak_live_bytes),
            "image": str(d.image),
        }
        for d in diffs
    )


def work_verdicts(facts: WorkFacts, acknowledged: Sequence[Acknowledged] = ()) -> list[Verdict]:
    """The verdicts on exact work: what cannot run any more, traffic, peak memory, host work."""
    found = [lost_verdict(series, reason) for series, reason in facts.lost.items()]
    for diff in facts.diffs:
        for verdict in filter(None, (traffic_verdict(diff), peak_verdict(diff), *count_verdicts(diff))):
            said = _accepted(verdict, acknowledged)
            found.append(_other_image(said, diff) if facts.incomparable(diff) else said)
    found += [_accepted(host_verdict(diff), acknowledged) for diff in facts.host]
    return [*found, *map(_equal_host, facts.host_equal)]


def host_verdict(diff: HostDiff) -> Verdict:
    """What one metric of host work says, in a phase in which it moved."""
    return _exact_verdict(
        host_series(diff.workload, diff.phase),
        Outcome.REGRESSED if diff.effect > 0 else Outcome.IMPROVED,
        (diff.before, diff.after),
        diff.effect,
        unit=diff.metric,
        floor=least_effect(diff.metric),
        sentence=diff.sentence(),
        cause=HOST_CAUSES.get(diff.metric, Cause.HOST),
    )


def _equal_host(series: str) -> Verdict:
    floor, said = least_effect(HostMetric.STEPS), "the same host work"
    return Verdict(series, Outcome.UNCHANGED, 0.0, None, None, floor, 0, said)


def traffic_verdict(diff: LedgerDiff) -> Verdict:
    """What bytes and operations of one workload say; the two are weighed by their cost.

    Its figures are those that decided: operations where bytes alone would not have.
    """
    worse = diff.effect > LEDGER_TOLERANCE or diff.ops_effect > OPS_TOLERANCE
    better = diff.effect < -LEDGER_TOLERANCE or diff.ops_effect < -OPS_TOLERANCE
    if worse and better:
        cost = diff.cost_effect
        worse, better = cost > LEDGER_TOLERANCE, cost < -LEDGER_TOLERANCE
    by_operations = (worse and diff.effect <= LEDGER_TOLERANCE) or (
        better and diff.effect >= -LEDGER_TOLERANCE
    )
    effect = diff.ops_effect if by_operations else diff.effect
    cause = Cause.IMAGE if diff.new_image else Cause.WORK
    if cause is Cause.WORK and (diff.upcasts or diff.retyped):
        cause = Cause.DTYPE
    said = describe_work(work_record(diff).figures)
    return _exact_verdict(
        f"ledger {diff.workload}",
        Outcome.REGRESSED if worse else Outcome.IMPROVED if better else Outcome.UNCHANGED,
        (diff.base.ops, diff.head.ops)
        if by_operations
        else (diff.base.bytes_per_pixel, diff.head.bytes_per_pixel),
        effect,
        unit="operations" if by_operations else "B/pixel",
        floor=OPS_TOLERANCE if by_operations else LEDGER_TOLERANCE,
        sentence="same operations, same bytes" if diff.equal else "; ".join(said),
        cause=cause,
    )


def peak_verdict(diff: LedgerDiff) -> Verdict | None:
    """What the largest sum of live tensors says; None where a ledger does not have it (H3)."""
    if diff.base.peak_live_bytes <= 0 or diff.head.peak_live_bytes <= 0:
        return None
    effect = log_ratio(diff.base.peak_live_bytes, diff.head.peak_live_bytes)
    worse, better = effect > PEAK_TOLERANCE, effect < -PEAK_TOLERANCE
    sizes = (
        f"{units.format_bytes(diff.base.peak_live_bytes)} → {units.format_bytes(diff.head.peak_live_bytes)}"
    )
    lines = [f"{path}:{line} {name}" for path, line, name in (diff.base.peak_line, diff.head.peak_line)]
    where = f"reached at {lines[1]}" + ("" if lines[0] == lines[1] else f", before at {lines[0]}")
    moved = f"{diff.workload}: peak memory {sizes} ({units.format_change(effect)}) {where}"
    return _exact_verdict(
        f"peak memory {diff.workload}",
        Outcome.REGRESSED if worse else Outcome.IMPROVED if better else Outcome.UNCHANGED,
        (diff.base.peak_live_bytes, diff.head.peak_live_bytes),
        effect,
        unit="B (exact)",
        floor=PEAK_TOLERANCE,
        sentence=moved if worse or better else "same peak of live tensors" if not effect else moved,
        cause=Cause.IMAGE if diff.new_image else Cause.WORK,
    )


def count_verdicts(diff: LedgerDiff) -> list[Verdict]:
    """What was counted besides, by the metrics' own directions and least effects."""
    found = []
    for name, before in diff.base.counts:
        unit, figure = metrics.LEDGER_METRICS.get(name, ("", None))
        after = figure(diff.head) if figure else None
        if after is None:
            continue
        effect, floor = log_ratio(before, after), least_effect(unit)
        worse = math.copysign(1, effect) == {Better.LOWER: 1, Better.HIGHER: -1}.get(unit_better(unit))
        moved = Outcome.REGRESSED if worse else Outcome.IMPROVED
        values = f"{units.format_value(before, unit)} → {units.format_value(after, unit)}"
        verdict = _exact_verdict(
            f"{name.removeprefix('track_').replace('_', ' ')} {diff.workload}",
            moved if abs(effect) > floor else Outcome.UNCHANGED,
            (before, after),
            effect,
            unit=unit,
            floor=floor,
            sentence=f"{diff.workload}: {values}" if effect else f"same {unit}",
            cause=Cause.IMAGE if diff.new_image else Cause.WORK,
        )
        found.append(verdict)
    return found


def _exact_verdict(
    series: str,
    outcome: Outcome,
    values: tuple[float, float],
    effect: float,
    *,
    unit: str,
    floor: float,
    sentence: str,
    cause: Cause,
) -> Verdict:
    return Verdict(
        series=series,
        outcome=outcome,
        effect=effect if math.isfinite(effect) else None,
        effect_lo=None,
        effect_hi=None,
        floor=floor,
        rounds=0,
        sentence=sentence,
        cause=None if outcome is Outcome.UNCHANGED else cause,
        base_value=values[0],
        head_value=values[1],
        unit=unit,
    )


def lost_verdict(series: str, reason: str, reproduce: str = "", rounds: int = 0) -> Verdict:
    """What ran at base and cannot run at head: a user loses all of it."""
    why = reason.splitlines()[0] if reason else "no reason given"
    said = f"runs at base but not at head: {why}"
    return Verdict(series, Outcome.REGRESSED, None, None, None, 0.0, rounds, said, None, reproduce)


def without_base(series: str, base: str, head: str, *, skipped: bool) -> NotJudged:
    """Why what cannot run at base is not judged; `head` is its error there ('': it runs, or nobody tried).

    `skipped` says that no side failed: each that did not run lacks the feature.
    """
    said = f"at base: {base}; at head: {head}" if head else f"at base: {base}"
    return NotJudged(
        series,
        NotJudgedReason.SKIPPED if skipped else NotJudgedReason.FAILING,
        detail=f"at base and at head: {base}" if base == head else said,
    )


def _other_image(verdict: Verdict, diff: LedgerDiff) -> Verdict:
    """Less or the same work for another image is neither a gain nor a pass; more work stays a regression."""
    if verdict.outcome is Outcome.REGRESSED:
        return verdict
    sentence = f"another image (sum × {diff.image_ratio:.6g}), so not like for like: {verdict.sentence}"
    return replace(verdict, outcome=Outcome.NOT_COMPARABLE, sentence=sentence, cause=Cause.IMAGE)


def _accepted(verdict: Verdict, acknowledged: Sequence[Acknowledged]) -> Verdict:
    """A regression that somebody accepted, and that has not become worse, does not block."""
    if verdict.outcome is not Outcome.REGRESSED or verdict.effect is None:
        return verdict
    known = covering(acknowledged, verdict.series, verdict.unit)
    if not known or verdict.effect > accepted_effect(known, verdict.series, verdict.unit) + verdict.floor:
        return verdict
    sentence = f"{verdict.sentence}; acknowledged as {', '.join(one.name for one in known)}"
    return replace(verdict, outcome=Outcome.ACKNOWLEDGED, sentence=sentence)
