"""The gate's decisions from exact figures and paired rounds; pure functions of what was measured.

Every metric of the registry is judged, by its own direction: exact figures by their own least effect, noisy
ones by what their rounds decided. What has no known direction has changed, and fails nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from nbbench.gate.acknowledged import TRAFFIC, Acknowledged, accepted_loss, covering, ledger_name
from nbbench.gate.rounds import CHECK_PAIRS, SeriesState
from nbbench.history.facts import SAME_WORK, work_record
from nbbench.host import HostMetric, host_cause, host_series
from nbbench.measure.pair import SIDES
from nbbench.metrics import LEDGER_METRICS, Metric, least_effect, metric_of
from nbbench.model import (
    Cause,
    EventDirection,
    EvidenceRecord,
    NotJudged,
    NotJudgedReason,
    Outcome,
    Phase,
    SeriesKey,
)
from nbbench.stats.paired import PairDecision, look_at_pairs
from nbbench.verdicts import Verdict
from nbbench.work.count_diff import HostDiff, OrderChange
from nbbench.work.ledger_diff import LedgerDiff, finite_or_none, log_ratio

_OF_DIRECTION = {
    EventDirection.REGRESSION: Outcome.REGRESSED,
    EventDirection.IMPROVEMENT: Outcome.IMPROVED,
    EventDirection.CHANGE: Outcome.CHANGED,
}
_OF_DECISION = {"slower": 1, "faster": -1, "equivalent": 0}
MOST_UNSEEN = math.log(1.5)
"""The largest loss that pairs may miss of a warm run with another value: counts alone do not answer it."""

EXIT_BY_OUTCOME: Mapping[Outcome, int] = {
    Outcome.REGRESSED: 3,
    Outcome.NOT_COMPARABLE: 4,
    Outcome.INCONCLUSIVE: 4,
    Outcome.ACKNOWLEDGED: 0,
    Outcome.CHANGED: 0,
    Outcome.IMPROVED: 0,
    Outcome.UNCHANGED: 0,
}
"""In the order in which they decide: the answer for the whole is the first that any series has."""


def exact_verdict(
    series: str,
    metric: Metric,
    before: float,
    after: float,
    *evidence: EvidenceRecord,
    counts: bool | None = None,
) -> Verdict:
    """What two exact figures say; `counts` is given where more than the metric's own limits decides."""
    effect = log_ratio(before, after)
    figures = {"before": before, "after": after, "unit": metric.unit}
    if counts is None:
        counts = abs(effect) > metric.least_effect and abs(after - before) >= metric.least_change
    return Verdict(
        series,
        _OF_DIRECTION[metric.direction(effect)] if counts else Outcome.UNCHANGED,
        finite_or_none(effect),
        floor=metric.least_effect,
        evidence=evidence or (EvidenceRecord("exact", figures),),
        base_value=before,
        head_value=after,
        unit=metric.unit,
    )


def workload_verdicts(
    diff: LedgerDiff, acknowledged: Sequence[Acknowledged] = (), *, image_accepted: bool = False
) -> list[Verdict]:
    """What the exact work of one workload says: bytes and operations together, and all else that is counted.

    A regression that somebody accepted, and that has not become worse, does not block. Less or the same
    work for another image is neither a gain nor a pass; more work stays a regression.
    """
    found = [_traffic(diff)]
    for name, (unit, figure) in LEDGER_METRICS.items():
        before, after = figure(diff.base), figure(diff.head)
        peak = name == "track_peak_live_bytes"
        if name in TRAFFIC or before is None or after is None or (peak and not (before and after)):
            continue
        said = (EvidenceRecord("peak", diff.figures),) if peak else ()
        found.append(exact_verdict(ledger_name(name, diff.workload), _metric(unit), before, after, *said))
    judged = []
    for one in found:
        if one.outcome is not Outcome.UNCHANGED and (diff.new_image or one.cause is None):
            one = replace(one, cause=Cause.IMAGE if diff.new_image else Cause.WORK)
        one = _unless_accepted(one, acknowledged)
        if diff.new_image and not image_accepted and one.outcome is not Outcome.REGRESSED:
            other = EvidenceRecord("other image", {"ratio": diff.image_ratio})
            evidence = (other, *one.evidence)
            one = replace(one, outcome=Outcome.NOT_COMPARABLE, cause=Cause.IMAGE, evidence=evidence)
        judged.append(one)
    return judged


def _traffic(diff: LedgerDiff) -> Verdict:
    """What bytes and operations say, by the one of the two that tells."""
    base, head, unit = diff.base, diff.head, diff.telling or "B/pixel"
    figures = {"B/pixel": (base.bytes_per_pixel, head.bytes_per_pixel), "operations": (base.ops, head.ops)}
    said = SAME_WORK if diff.equal else work_record(diff)
    name, counts = f"ledger {diff.workload}", bool(diff.telling)
    found = exact_verdict(name, _metric(unit), *figures[unit], said, counts=counts)
    return replace(found, cause=Cause.DTYPE) if counts and (diff.upcasts or diff.retyped) else found


def host_verdicts(
    moved: Sequence[HostDiff], equal: Sequence[str], acknowledged: Sequence[Acknowledged] = ()
) -> list[Verdict]:
    """What host work says: each metric of a phase that moved, and the series of which none did."""
    found = []
    for diff in moved:
        series, said = host_series(diff.workload, diff.phase), diff.record
        one = exact_verdict(series, _metric(diff.metric), diff.before, diff.after, said, counts=True)
        cause = host_cause(diff.metric)
        found.append(_unless_accepted(replace(one, cause=cause), acknowledged))
    same, floor = (EvidenceRecord("same host work"),), least_effect(HostMetric.STEPS)
    return found + [Verdict(name, Outcome.UNCHANGED, 0.0, floor=floor, evidence=same) for name in equal]


def order_verdicts(
    changes: Sequence[OrderChange], equal: Sequence[str], acknowledged: Sequence[Acknowledged] = ()
) -> list[Verdict]:
    """What the orders of growth say: each that changed, and the scales in which none did."""
    found = []
    for one in changes:
        name = ledger_name(one.quantity.metric, one.scale)
        verdict = exact_verdict(name, _metric("order"), one.before, one.after, one.record, counts=True)
        cause = Cause.HOST if one.quantity.of_host else Cause.WORK
        found.append(_unless_accepted(replace(verdict, cause=cause), acknowledged))
    same, floor = (EvidenceRecord("same orders"),), least_effect("order")
    names = (f"growth of {name}" for name in equal)
    return found + [Verdict(name, Outcome.UNCHANGED, 0.0, floor=floor, evidence=same) for name in names]


def _metric(unit: str) -> Metric:
    return metric_of(SeriesKey("", "", (), "", ""), unit)


def _unless_accepted(verdict: Verdict, acknowledged: Sequence[Acknowledged]) -> Verdict:
    known = covering(acknowledged, verdict.series, verdict.unit)
    if verdict.outcome is not Outcome.REGRESSED or not known:
        return verdict
    if verdict.effect is None:  # from nothing, or to nothing
        most = max(one.reached.get((verdict.series, verdict.unit), 0.0) for one in known)
        if verdict.base_value or verdict.head_value is None or verdict.head_value > most:
            return verdict
    elif abs(verdict.effect) > accepted_loss(known, verdict.series, verdict.unit) + verdict.floor:
        return verdict
    names = EvidenceRecord("acknowledged", {"names": [one.name for one in known]})
    return replace(verdict, outcome=Outcome.ACKNOWLEDGED, evidence=(*verdict.evidence, names))


def lost_verdict(series: str, reason: str, reproduce: str = "", rounds: int = 0) -> Verdict:
    """What ran at base and cannot run at head: a user loses all of it."""
    lost = EvidenceRecord("lost", {"reason": reason.partition("\n")[0]})
    return Verdict(series, Outcome.REGRESSED, rounds=rounds, evidence=(lost,), reproduce=reproduce)


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


def series_verdict(state: SeriesState, cause: Cause | None = None) -> Verdict | NotJudged:
    """The verdict on one measured series, or why there is none; `cause` is that of a regression."""
    if gone := _not_judged(state):
        return gone
    if "head" in state.skipped or (state.crashed == "head" and not state.log_ratios):
        return lost_verdict(state.label, state.errors["head"], state.reproduce, state.rounds)
    found = _measured_verdict(state, cause)
    crashes = {side: state.crashes[side] for side in SIDES if state.crashes[side]}
    if not crashes:
        return found
    reason = state.errors.get("head") or state.errors["base"]
    said = EvidenceRecord("crashed", {"crashes": crashes, "rounds": state.rounds, "reason": reason})
    found = replace(found, evidence=(said, *found.evidence))
    if state.crashed == "head":
        return replace(found, outcome=Outcome.REGRESSED, cause=None)
    if state.crashes["head"] and found.outcome is not Outcome.REGRESSED:
        return replace(found, outcome=Outcome.INCONCLUSIVE)
    return found


def time_cause(exact: Sequence[Verdict], diffs: Sequence[LedgerDiff]) -> Cause | None:
    """Why measured series became worse: exact work, or nothing that it knows of; None without exact work."""
    if cause := next((v.cause for v in exact if v.outcome is Outcome.REGRESSED), None):
        return cause
    return Cause.UNEXPLAINED if diffs and all(d.equal for d in diffs) else None


def _not_judged(state: SeriesState) -> NotJudged | None:
    """Why nothing can be said of a series: no round of it began, or base has no figure to compare with."""
    if not (state.log_ratios or state.rounds or state.errors or state.disturbed):
        return NotJudged(state.label, NotJudgedReason.NOT_MEASURED, detail="within the budget")
    skipped = "base" in state.skipped
    if not skipped and (not state.crashes["base"] or state.log_ratios):
        return None
    errors = state.errors["base"], state.errors.get("head", "")
    skipped = skipped and (not errors[1] or "head" in state.skipped)
    return without_base(state.label, *errors, skipped=skipped)


def _measured_verdict(state: SeriesState, cause: Cause | None) -> Verdict:
    """What the figures of a series say, accepted regressions counted in."""
    before, after = (median(state.values[side]) if state.values[side] else None for side in SIDES)
    if state.metric.exact and before is not None and after is not None:
        found = exact_verdict(state.label, state.metric, before, after)
        return replace(found, reproduce=state.reproduce, rounds=state.rounds)
    blank = Verdict(
        state.label,
        Outcome.INCONCLUSIVE,
        floor=state.floor,
        rounds=state.rounds,
        evidence=measured_evidence(state),
        reproduce=state.reproduce,
        base_value=before,
        head_value=after,
        unit=state.metric.unit,
    )
    found = blank if state.decision is None else _decided(state, state.decision, blank, cause)
    return _with_counted(state, found)


def _with_counted(state: SeriesState, found: Verdict) -> Verdict:
    """The verdict with what exact work says of the series: where nothing can have become slower, a loss of
    time that fresh processes did not confirm is none."""
    if state.counted is None or found.outcome not in (Outcome.INCONCLUSIVE, Outcome.UNCHANGED):
        return found
    look = look_at_pairs(state.log_ratios, state.margin)
    least = MOST_UNSEEN if state.metric.phase is Phase.WARM else math.inf
    shown = not look.slower and look.n >= CHECK_PAIRS // 2 and look.sees <= least
    if found.outcome is Outcome.INCONCLUSIVE and (
        state.counted.sure or (state.counted.settles and shown and not state.suspect)
    ):
        found = replace(found, outcome=Outcome.UNCHANGED)
    if found.outcome is Outcome.UNCHANGED and state.counted.settles:
        sees = look.sees if look.sees < math.log(10.0) else None  # who sees that little sees nothing
        figures = {"n": look.n, "effect": look.effect, "sees": sees, "slower": look.slower}
        checked = EvidenceRecord("checked", figures | {"disturbed": state.disturbed})
        return replace(found, evidence=(state.counted.record, checked))
    return replace(found, evidence=(state.counted.record, *found.evidence))


def measured_evidence(state: SeriesState) -> tuple[EvidenceRecord, ...]:
    """What the rounds of a noisy series showed, or why it has none that count."""
    if state.decision is None:
        why = {"error": next(iter(state.errors.values()), ""), "disturbed": state.disturbed}
        return (EvidenceRecord("no figure", why),)
    found = state.decision.estimate
    ends = (found.lo, found.hi) if state.sign > 0 else (-found.hi, -found.lo)
    figures = {
        "decision": state.decision.decision,
        "effect": state.sign * found.effect,
        "lo": finite_or_none(ends[0]),
        "hi": finite_or_none(ends[1]),
        "n": found.n,
        "floor": state.floor,
        "margin": state.margin,
    }
    return (EvidenceRecord("rounds", figures),)


def _decided(state: SeriesState, decision: PairDecision, blank: Verdict, cause: Cause | None) -> Verdict:
    """The verdict of a series whose rounds decided something, or were estimated at the end."""
    found, moved, evidence = decision.estimate, _OF_DECISION.get(decision.decision), list(blank.evidence)
    outcome = Outcome.INCONCLUSIVE if moved is None else Outcome.UNCHANGED
    if moved:
        outcome = _OF_DIRECTION[state.metric.direction(state.sign * moved)]
    if outcome is Outcome.REGRESSED:
        fresh = {"agrees": state.confirmed, "n": len(state.confirming)}
        evidence.append(EvidenceRecord("confirmation", fresh))
        outcome = outcome if state.confirmed else Outcome.INCONCLUSIVE
    loss, lo, hi = (finite_or_none(x + state.accepted) for x in (found.effect, found.lo, found.hi))
    if state.accepted:
        evidence.insert(0, EvidenceRecord("beyond accepted", {"effect": state.sign * state.accepted}))
        outcome = _against_accepted(outcome, lo, hi, state.floor)
    if state.sign < 0:
        loss, lo, hi = (None if x is None else -x for x in (loss, hi, lo))
    return replace(
        blank,
        outcome=outcome,
        effect=loss,
        effect_lo=lo,
        effect_hi=hi,
        rounds=found.n + len(state.confirming),
        evidence=tuple(evidence),
        cause=cause if outcome is Outcome.REGRESSED else None,
    )


def _against_accepted(outcome: Outcome, lo: float | None, hi: float | None, floor: float) -> Outcome:
    """The outcome with an accepted regression, where `outcome` counts from that and `lo` from base."""
    if outcome is Outcome.UNCHANGED:
        return Outcome.ACKNOWLEDGED
    if outcome is Outcome.IMPROVED and hi is not None and hi >= -floor:
        return Outcome.ACKNOWLEDGED if lo is not None and lo > floor else Outcome.UNCHANGED
    return outcome


def gate_outcome(verdicts: Sequence[Verdict], not_judged: Sequence[NotJudged] = ()) -> Outcome:
    """The answer for the whole; inconclusive where nothing was judged, or base or the budget lacks a series.

    A series that skips itself is counted and no more: it would keep every gate from passing.
    """
    there = {verdict.outcome for verdict in verdicts}
    if not verdicts or any(one.reason is not NotJudgedReason.SKIPPED for one in not_judged):
        there.add(Outcome.INCONCLUSIVE)
    return next(outcome for outcome in EXIT_BY_OUTCOME if outcome in there)
